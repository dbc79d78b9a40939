"""Compare what the examples give with what they gave before: candidates, energies, ranks, labels.

    cd benchmarks/reference
    python results.py check                   run the examples, compare with the stored tables
    python results.py check --against COMMIT  compare with that commit, run on this machine
    python results.py renew --why TEXT        print what changed, then store new tables

The stored tables are those of the commit that ``about.json`` beside this file names; it also says
why they were renewed. Another processor sums in another order, which moves energies by 1e-6 eV, and
by 2e-5 eV after three rounds of fine-tuning, sigma by 1.2e-4 eV: they are compared within 5e-4 eV.
``--against`` runs both sides on one machine and compares within 1e-9 eV. ``--tolerance`` states
another limit.

Ids, states and groups must be equal, and ranks but for candidates that the tolerance makes equal.
It takes minutes on two cores.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]

# One database for each: a checkpoint that one example promotes must not serve the next.
EXAMPLES: Mapping[str, Sequence[Sequence[str]]] = {
    "co-oh-beef": (("screen", "examples/co-oh-beef.yaml"),),
    "laptop-emt": (
        ("screen", "examples/laptop-emt.yaml"),
        ("verify", "laptop-emt", "--limit", "50"),
    ),
    "loop-emt": (("loop", "examples/loop-emt.yaml", "--rounds", "3"),),
}

# Each row is found again by its first columns, the key: so many are counted. Ids are cut to 16 of
# their 64 digits, which tell a million rows apart and keep the files small.
TABLES: Mapping[str, tuple[int, str]] = {
    "funnel": (3, "SELECT stage, state, reason, count FROM funnel"),
    "item": (2, "SELECT stage, substr(item_id, 1, 16) AS item, state, reason FROM campaign_item"),
    "prediction": (
        2,
        """SELECT substr(candidate_id, 1, 16) AS candidate, parent_sha256 IS NULL AS shipped,
        energy_ev, sigma_ev, in_domain
        FROM prediction JOIN checkpoint ON checkpoint.sha256 = prediction.checkpoint_sha256""",
    ),
    "pair": (
        2,
        """SELECT substr(slab_id, 1, 16) AS slab, adsorbate,
        substr(candidate_id, 1, 16) AS candidate, n_placements, energy_ev, sigma_ev
        FROM pair_minimum""",
    ),
    "rank": (
        1,
        """SELECT substr(candidate_id, 1, 16) AS candidate, rank, rank_group, energy_ev, sigma_ev,
        probability FROM rank""",
    ),
    "queue": (2, "SELECT substr(item, 1, 16) AS item, level, kind, state, why FROM queue"),
    "label": (
        2,
        """SELECT substr(candidate_id, 1, 16) AS candidate, level, energy_ev, flags, trainable
        FROM label""",
    ),
}


OTHER_MACHINE_EV = 5e-4
ONE_MACHINE_EV = 1e-9
_NTH = "of its key"
_LEAST_SIGMA_EV = 1e-3


def main() -> None:
    """Run the examples, compare, and store new tables where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("check", "renew"))
    parser.add_argument(
        "--against", metavar="COMMIT", help="run this commit too and compare with it"
    )
    parser.add_argument("--tolerance", type=float, help="eV")
    parser.add_argument("--why", help="why results changed; stored with them")
    parser.add_argument("--source", metavar="COMMIT", help="renew from this commit, not this tree")
    parser.add_argument("--examples", nargs="+", choices=list(EXAMPLES), default=list(EXAMPLES))
    stated = parser.parse_args()
    if stated.action == "renew" and not stated.why:
        parser.error("renew needs --why TEXT: the reason is stored beside the tables")
    now = all_results(stated.source, stated.examples)
    if stated.against:
        before = all_results(stated.against, stated.examples)
    else:
        before = {name: stored_tables(name) for name in stated.examples}
    of_machines = ONE_MACHINE_EV if stated.against else OTHER_MACHINE_EV
    tolerance = of_machines if stated.tolerance is None else stated.tolerance
    changed = False
    for name in stated.examples:
        for line in differences(before[name], now[name], tolerance):
            changed = True
            print(f"{name}: {line}")
    if stated.action == "renew":
        store(now, stated.why, stated.source or "HEAD")
    elif not changed:
        rows = sum(len(table) for tables in now.values() for table in tables.values())
        print(f"the same: {rows} rows of {', '.join(stated.examples)}, within {tolerance} eV")
    sys.exit(1 if changed and stated.action == "check" else 0)


def all_results(commit: str | None, examples: Sequence[str]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the tables of each example, run at a commit or, without one, in this tree."""
    with checkout(commit) if commit else nullcontext(REPOSITORY) as root:
        return {name: results_of(root, name) for name in examples}


def results_of(root: Path, example: str) -> dict[str, pd.DataFrame]:
    """Return the tables that an example leaves, run with the code in ``root``."""
    with tempfile.TemporaryDirectory(prefix="sabatier-reference-") as folder:
        database = Path(folder) / "reference.db"
        for command in EXAMPLES[example]:
            run(root, [*command, "--database", str(database)])
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return {
                name: pd.read_sql_query(query, connection) for name, (_, query) in TABLES.items()
            }


def run(root: Path, command: Sequence[str]) -> None:
    """Run a command of the Sabatier in ``root``, whatever is installed."""
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["sabatier"].split(":")
    code = f"from {module} import {function}; {function}()"
    print("sabatier", *command, f"({root})", file=sys.stderr)
    ended = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(
            f"sabatier {' '.join(command)} ended with {ended.returncode}: {ended.stderr}"
        )


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out beside the repository for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="sabatier-commit-") as folder:
        there = Path(folder) / "tree"
        git = ["git", "-C", str(REPOSITORY), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(there), commit], check=True)
        try:
            yield there
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True)


def _numbered(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Number the rows that share a key by their values: each fine-tuned checkpoint has a row."""
    ordered = table.sort_values(list(table.columns))  # the key comes first
    return ordered.assign(**{_NTH: ordered.groupby(list(keys), dropna=False).cumcount()})


def differences(
    before: Mapping[str, pd.DataFrame], now: Mapping[str, pd.DataFrame], tolerance_ev: float
) -> list[str]:
    """Return a line for each table and column that differs, with how many rows and by how much.

    Args:
        before: The stored tables by name.
        now: The present tables by name, with the same columns.
        tolerance_ev: How far numbers may differ; keys and text must be equal. A probability may
            differ by what such a change of its energy and sigma makes, and ranks of candidates
            whose probabilities are equal to that may be exchanged.

    Returns:
        The lines; none where nothing differs.
    """
    lines = []
    for name, (n_keys, _) in TABLES.items():
        old, new = before[name], now[name]
        if old.empty and not len(old.columns):
            lines.append(f"{name}: nothing is stored, {len(new)} rows are new")
            continue
        keys = list(new.columns[:n_keys])
        old, new = _numbered(old[new.columns], keys), _numbered(new, keys)
        both = old.merge(new, on=[*keys, _NTH], how="outer", suffixes=("", " now"), indicator=True)
        gone = int((both["_merge"] == "left_only").sum())
        added = int((both["_merge"] == "right_only").sum())
        if gone or added:
            lines.append(f"{name}: {gone} rows are gone, {added} are new")
        both = both[both["_merge"] == "both"]
        for column in old.columns.drop([*keys, _NTH]):
            was, is_now = both[column], both[f"{column} now"]
            differ = was.ne(is_now) & ~(was.isna() & is_now.isna())
            if column == "rank":
                differ &= ~_exchanged(both, tolerance_ev)
            elif pd.api.types.is_float_dtype(was):
                distance = (was - is_now).abs()
                limit = _of_probability(both, tolerance_ev) if column == "probability" else None
                differ &= ~(distance <= (tolerance_ev if limit is None else limit))
                most = f", by {distance[differ].max():.3g} at most" if differ.any() else ""
            else:
                most = ""
            if differ.any():
                first = both.loc[differ, keys].iloc[0].to_dict()
                lines.append(
                    f"{name}: {column} differs in {differ.sum()} rows{most}; first {first}"
                )
    return lines


def _of_probability(ranked: pd.DataFrame, tolerance_ev: float) -> pd.Series:
    """Return how far the probability of each row may move if its energy and sigma do.

    A normal distribution's probability of a window moves by less than this: its density is at most
    0.4 / sigma at each end, and a change of sigma moves it by 0.25 / sigma at most.
    """
    return 2.0 * tolerance_ev / ranked["sigma_ev"].clip(lower=_LEAST_SIGMA_EV)


def _exchanged(ranked: pd.DataFrame, tolerance_ev: float) -> pd.Series:
    """Return which rows stand where another of the same probability stood before."""
    limit = _of_probability(ranked, tolerance_ev)
    stood = pd.DataFrame({"probability": ranked["probability"], "limit": limit})
    stood = stood.set_axis(ranked["rank"]).reindex(ranked["rank now"]).set_axis(ranked.index)
    return (ranked["probability"] - stood["probability"]).abs() <= limit + stood["limit"]


def stored_tables(example: str) -> dict[str, pd.DataFrame]:
    """Return the tables that are kept for an example; empty ones where none are."""
    files = {name: HERE / f"{example}-{name}.parquet" for name in TABLES}
    return {n: pd.read_parquet(f) if f.exists() else pd.DataFrame() for n, f in files.items()}


def store(results: Mapping[str, Mapping[str, pd.DataFrame]], why: str, commit: str) -> None:
    """Keep tables, with the commit that they come from, the machine and the reason."""
    for example, tables in results.items():
        for name, table in tables.items():
            table.to_parquet(HERE / f"{example}-{name}.parquet", compression="zstd", index=False)
    git = ["git", "-C", str(REPOSITORY), "rev-parse", commit]
    about = {
        "commit": subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip(),
        "machine": f"{platform.machine()}, {processor()}",
        "why": why,
    }
    (HERE / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def processor() -> str:
    """Return the name of the processor where the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


if __name__ == "__main__":
    main()
