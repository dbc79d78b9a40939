"""Tables of ``engines.py``: energies, the order of the metals, time, memory ("-": not computed)."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from scipy.stats import spearmanr

from tasks.verification.engines import EngineError, engine_for
from tasks.yaml_text import read_yaml

PUBLISHED = Path(__file__).parent / "published_adsorption.yaml"
REFERENCE, PBE = "published", "PBE"
FAST, DENSE = "gpaw-pbe-fast", "gpaw-pbe-dense"
_ALIKE_EV = 0.05  # published metals nearer than this have no order

Energies = dict[tuple[str, str], float]  # (adsorbate, metal) -> eV


@dataclass(frozen=True)
class Results:
    """Computed energies of each level, and published ones, by functional."""

    found: dict[str, dict[tuple[str, str], dict[str, Any]]]
    published: dict[tuple[str, str], dict[str, list[float]]]

    def with_functional(self, chosen: Callable[[str], bool]) -> dict[tuple[str, str], list[float]]:
        """Return the published energies with the chosen functionals."""
        values_by_pair = {
            pair: [value for name, values in by.items() if chosen(name) for value in values]
            for pair, by in self.published.items()
        }
        return {pair: values for pair, values in values_by_pair.items() if values}

    def energies(self, level: str) -> Energies:
        """Return the energies of a level that passed the checks, or the published means.

        Means are without PBE, which binds more strongly and is not published for every pair.
        """
        if level == REFERENCE:
            return means(self.with_functional(lambda name: name != PBE))
        kept = self.found.get(level, {})
        return {pair: row["energy_ev"] for pair, row in kept.items() if not faults(row)}


def print_tables(runs: Path, levels: Sequence[str]) -> None:
    """Print all tables of what is under ``runs``, as Markdown."""
    results = read(runs, levels)
    metals = sorted_metals(results)
    print_energies(results, levels, metals)
    print_orders(results, levels, metals)
    print_same_functional(results, levels, metals)
    print_offsets(results, levels)
    print_deviation(results)
    print_costs(results, levels)
    for name, source in read_yaml(PUBLISHED.read_text())[1]["sources"].items():
        print(f"- {name}: {source['functional']}; {source['where']}")


def read(runs: Path, levels: Sequence[str]) -> Results:
    """Return all results under ``runs`` and the published energies."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for level in levels:
        for file in sorted((runs / level).glob("*-*.json")):
            metal, adsorbate = file.stem.split("-")
            if adsorbate != "lattice":
                found.setdefault(level, {})[adsorbate, metal] = json.loads(file.read_text())
    stored = read_yaml(PUBLISHED.read_text())[1]
    published: dict[tuple[str, str], dict[str, list[float]]] = {}
    for adsorbate, metals in stored["energies"].items():
        for metal, values in metals.items():
            by_functional = published.setdefault((adsorbate, metal), {})
            for source, value in values.items():
                functional = stored["sources"][source]["functional"]
                by_functional.setdefault(functional, []).append(value)
    return Results(found, published)


def sorted_metals(results: Results) -> list[str]:
    """Return the metals that any engine computed, in the order of the published table."""
    computed = {metal for rows in results.found.values() for _, metal in rows}
    return [m for m in dict.fromkeys(metal for _, metal in results.published) if m in computed]


def faults(row: dict[str, Any]) -> list[str]:
    """Return why a label does not count, by the flags of the product."""
    unconverged = [] if row["converged"] == "True" else ["forces not converged"]
    return [*row["flags"], *unconverged]


def print_energies(results: Results, levels: Sequence[str], metals: Sequence[str]) -> None:
    """Print each adsorption energy beside the published range."""
    print_row("adsorbate", "metal", "published (eV)", f"published, {PBE}", *levels)
    print_row(*["---"] * (4 + len(levels)))
    both = [results.with_functional(chosen) for chosen in (lambda n: n != PBE, lambda n: n == PBE)]
    for pair in pairs(results, metals):
        values = [span(published.get(pair, [])) for published in both]
        cells = [cell(results.found.get(level, {}).get(pair)) for level in levels]
        print_row(*pair, *values, *cells)
    print("\n* a check raised a flag: the label does not count\n")


def print_orders(results: Results, levels: Sequence[str], metals: Sequence[str]) -> None:
    """Print which metal binds most, engine by engine, and how far that is the published order."""
    print_row("adsorbate", "engine", "order, strongest first", "pairs right", "rank corr.", "signs")
    print_row(*["---"] * 6)
    for adsorbate in dict.fromkeys(a for a, _ in pairs(results, metals)):
        for level in (REFERENCE, *levels):
            mine = of(results.energies(level), adsorbate, metals)
            truth = of(results.energies(REFERENCE), adsorbate, mine)
            if len(mine) < 2:
                print_row(adsorbate, level, "-", "-", "-", "-")
                continue
            order = " < ".join(sorted(mine, key=lambda metal: mine[metal]))
            same = ("", "", "") if level == REFERENCE else agreement(mine, truth)
            print_row(adsorbate, level, order, *same)
    print(f"\npairs whose published means differ by less than {_ALIKE_EV} eV are not counted\n")


def agreement(mine: dict[str, float], truth: dict[str, float]) -> tuple[str, str, str]:
    """Return pairs in the right order, the rank correlation and the signs that are right."""
    metals = sorted(mine)
    ordered = [
        (a, b)
        for i, a in enumerate(metals)
        for b in metals[i + 1 :]
        if abs(truth[a] - truth[b]) >= _ALIKE_EV
    ]
    right = sum((mine[a] < mine[b]) == (truth[a] < truth[b]) for a, b in ordered)
    signs = sum((mine[m] < 0) == (truth[m] < 0) for m in metals)
    correlation = "-"
    if len(metals) > 2:
        rho = spearmanr([mine[m] for m in metals], [truth[m] for m in metals]).statistic
        correlation = f"{rho:+.2f}"
    return f"{right} of {len(ordered)}", correlation, f"{signs} of {len(metals)}"


def print_same_functional(results: Results, levels: Sequence[str], metals: Sequence[str]) -> None:
    """Print how far each level is from the mean of what is published with its functional."""
    from engines import find_level

    for level in levels:
        functional, found = find_level(level).functional, results.energies(level)
        published = means(results.with_functional(functional.__eq__))
        gaps = {
            pair: found[pair] - published[pair]
            for pair in pairs(results, metals)
            if pair in found and pair in published
        }
        if gaps:
            listed = ", ".join(f"{a} on {m} {gap:+.2f}" for (a, m), gap in gaps.items())
            sizes = [abs(gap) for gap in gaps.values()]
            print(f"{level} minus published {functional} (eV): {listed};", end=" ")
            print(f"mean size {fmean(sizes):.2f}, largest {max(sizes):.2f}\n")


def print_offsets(results: Results, levels: Sequence[str]) -> None:
    """Print how far each level is from the published means, and about its offset of an adsorbate.

    The offset is the mean gap over the metals, so the rest says how well metals are told apart.
    """
    published = results.energies(REFERENCE)
    for level in levels:
        gaps: dict[str, list[float]] = {}
        for (adsorbate, metal), energy in results.energies(level).items():
            if (adsorbate, metal) in published:
                gaps.setdefault(adsorbate, []).append(energy - published[adsorbate, metal])
        if gaps:
            mae = fmean(abs(gap) for of_one in gaps.values() for gap in of_one)
            listed = ", ".join(
                f"{adsorbate} {fmean(abs(gap - fmean(of_one)) for gap in of_one):.2f} "
                f"about {fmean(of_one):+.2f} ({len(of_one)})"
                for adsorbate, of_one in sorted(gaps.items())
            )
            print(f"{level} against the published means (eV): MAE {mae:.2f}; {listed}\n")


def print_deviation(results: Results) -> None:
    """Print how far the fast preset is from the same functional at denser settings."""
    fast, dense = results.energies(FAST), results.energies(DENSE)
    both = sorted(fast.keys() & dense.keys())
    if not both:
        print(f"{FAST} against {DENSE}: -\n")
        return
    gaps = {pair: fast[pair] - dense[pair] for pair in both}
    listed = ", ".join(f"{a} on {m} {gap:+.2f}" for (a, m), gap in gaps.items())
    worst = max(map(abs, gaps.values()))
    print(f"{FAST} minus {DENSE} (eV): {listed}; largest {worst:.2f}\n")


def print_costs(results: Results, levels: Sequence[str]) -> None:
    """Print time and memory of an adslab, over all that each engine computed."""
    costs = "CPU s an adslab (median, range)"
    print_row("level", "hash", "engine", "adslabs", costs, "peak memory (MB)")
    print_row(*["---"] * 6)
    for level in levels:
        rows = list(results.found.get(level, {}).values())
        if not rows:
            print_row(level, "-", missing(level), "-", "-", "-")
            continue
        seconds = [row["adslab_cpu_s"] for row in rows]
        shown = f"{median(seconds):.3g} ({min(seconds):.3g} to {max(seconds):.3g})"
        of_level = ", ".join(sorted({row["level_hash"][:8] for row in rows}))
        by = ", ".join(sorted({row["engine"] for row in rows}))
        memory = f"{max(row['peak_mb'] for row in rows):.0f}"
        print_row(level, of_level, by, str(len(rows)), shown, memory)
    print()


def missing(level: str) -> str:
    """Return why a level has no results: its engine is not here, or nothing was run."""
    from engines import find_level, locations

    try:
        engine_for(find_level(level), locations=locations())
    except EngineError as failure:
        return failure.kind.value.replace("_", " ")
    return "-"


def pairs(results: Results, metals: Sequence[str]) -> list[tuple[str, str]]:
    """Return adsorbates and metals that are published, metals in their order."""
    adsorbates = dict.fromkeys(a for a, _ in results.published)
    return [(a, m) for a in adsorbates for m in metals if (a, m) in results.published]


def means(published: dict[tuple[str, str], list[float]]) -> Energies:
    """Return the mean of each list."""
    return {pair: fmean(values) for pair, values in published.items()}


def of(energies: Energies, adsorbate: str, metals: Iterable[str]) -> dict[str, float]:
    """Return the energies of one adsorbate by metal."""
    return {m: energies[adsorbate, m] for m in metals if (adsorbate, m) in energies}


def span(values: Sequence[float]) -> str:
    """Return one value, or a range of several."""
    if not values:
        return "-"
    low, high = f"{min(values):+.2f}", f"{max(values):+.2f}"
    return low if low == high else f"{low} to {high}"


def cell(row: dict[str, Any] | None) -> str:
    """Return an energy, starred where the label does not count."""
    return "-" if row is None else f"{row['energy_ev']:+.2f}{'*' if faults(row) else ''}"


def print_row(*cells: str) -> None:
    """Print one line of a Markdown table."""
    print("| " + " | ".join(cells) + " |")
