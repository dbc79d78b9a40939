"""Time enumeration on twelve metals, Miller index up to 1.

    python benchmarks/speed/enumeration.py

Prints milliseconds a slab (cut, tag, constrain; and find its sites) and a placement (place and
check; and write text and arrays). Catlas takes 2,288 ms a slab and 43 ms a configuration.
"""

import argparse
from collections.abc import Callable
from time import process_time
from typing import TypeVar

from model.contract import BOND_RULES
from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.prediction.featurise import featurise_all, site_name

METALS = ("Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Rh", "Ir", "Al", "Fe", "W", "Ru")
ADSORBATES = ("H", "O", "OH", "CO", "CH3", "CHO", "HCOO", "CH3CH2OH")

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result of ``work`` and its CPU milliseconds (busy machines keep them)."""
    start = process_time()
    result = work()
    return result, (process_time() - start) * 1e3


def main() -> None:
    """Enumerate everything once to warm up, then with the clock."""
    argparse.ArgumentParser(description="Time enumeration.").parse_args()
    enumerate_all()
    print("\n".join(enumerate_all()))


def enumerate_all() -> list[str]:
    """Return what each stage cost."""
    bulks, _ = resolve_bulks([FormulaSpec(symbol) for symbol in METALS])
    species = [adsorbate(name) for name in ADSORBATES]
    spec = PlacementSpec(rotations=4, random=5)
    slabs, cut_ms = timed(lambda: [s for b in bulks for s in enumerate_slabs(b, SlabSpec())[0]])
    sites, site_ms = timed(lambda: [surface_sites(slab) for slab in slabs])
    jobs = [(slab, seen, a) for slab, seen in zip(slabs, sites, strict=True) for a in species]
    placed, place_ms = timed(lambda: [enumerate_placements(*job, spec)[0] for job in jobs])
    texts = [(p, slab, seen) for p, (slab, seen, _) in zip(placed, jobs, strict=True)]
    text_ms = {
        rule: timed(lambda: [featurise_all(p, s, "emt", rule, seen) for p, s, seen in texts])[1]  # noqa: B023
        for rule in BOND_RULES
    }
    _, name_ms = timed(
        lambda: [site_name(a, slab, seen.landscape) for p, slab, seen in texts for a in p]
    )
    n = sum(map(len, placed))
    atoms = sum(len(slab.atoms) for slab in slabs) / len(slabs)
    return [
        f"{len(slabs)} slabs of {atoms:.0f} atoms: {cut_ms / len(slabs):.2f} ms a slab",
        f"sites: {site_ms / len(slabs):.2f} ms a slab",
        f"{n} placements: {place_ms / n:.3f} ms each; text and arrays by the rule "
        + ", ".join(f"{rule} {spent / n:.3f} ms" for rule, spent in text_ms.items())
        + f"; name of the site where the rule is radii {name_ms / n:.3f} ms",
    ]


if __name__ == "__main__":
    main()
