"""Compare the site that a placement aims at with the site that its text names, by both bond rules.

    python benchmarks/accuracy/site_names.py

Slabs of the metals and alloys of ``examples/co-oh-beef.yaml`` with Al, Fe, Mo, W, Zn and Cd, Miller
index up to 1, under adsorbates with one binding atom. A placement over one, two, or three and more
atoms is expected to touch as many. Also counts brackets without any slab neighbour.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.contract import BOND_RULES, BondRule
from model.text.configuration_text import SITE_KINDS, site_kind
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
from tasks.prediction.featurise import slab_contacts

METALS = (
    *("Ag", "Au", "Co", "Cu", "Ir", "Ni", "Pd", "Pt", "Rh", "Ru"),
    *("Al", "Fe", "Mo", "W", "Zn", "Cd"),
)
ALLOYS = (
    *(("Cu3Pt", "L1_2"), ("CuPt3", "L1_2"), ("Ni3Pt", "L1_2"), ("NiPt3", "L1_2")),
    *(("Co3Pt", "L1_2"), ("Ag3Pd", "L1_2"), ("Au3Cu", "L1_2"), ("AuCu3", "L1_2")),
    *(("CuAu", "L1_0"), ("NiPt", "L1_0"), ("CoPt", "L1_0"), ("CuPd", "B2"), ("RhCu", "B2")),
)
ADSORBATES = ("H", "C", "N", "O", "OH", "CO", "CH3")
NO_CONTACT = "none"
_LAYER_ANG = 0.3


@dataclass(frozen=True)
class NamedSite:
    """One placement: the kind aimed at, and by each rule the kind named and its contacts."""

    bulk: str
    miller: str
    adsorbate: str
    aimed: str
    is_flat: bool  # all atoms of the site are in the topmost layer
    named: dict[BondRule, str]
    contacts: dict[BondRule, int]
    lonely: dict[BondRule, int]  # contacts without a neighbour in the slab


def named_sites() -> Iterator[NamedSite]:
    """Yield every placement on every slab."""
    specs = [FormulaSpec(metal) for metal in METALS] + [FormulaSpec(*each) for each in ALLOYS]
    for bulk in resolve_bulks(specs)[0]:
        for slab in enumerate_slabs(bulk, SlabSpec(min_thickness_ang=5.0))[0]:
            sites = surface_sites(slab)
            for name in ADSORBATES:
                species = adsorbate(name)
                placed, _ = enumerate_placements(slab, sites, species, PlacementSpec(rotations=1))
                for adslab in placed:
                    touched = {
                        rule: slab_contacts(adslab.atoms, len(slab.atoms), sites.landscape, rule)[
                            species.binding[0]
                        ]
                        for rule in BOND_RULES
                    }
                    site = adslab.placement.site
                    heights = slab.atoms.positions[list(site.slab_atoms), 2]
                    yield NamedSite(
                        bulk.formula,
                        " ".join(map(str, slab.miller)),
                        name,
                        site.kind,
                        bool(heights.min() > slab.atoms.positions[:, 2].max() - _LAYER_ANG),
                        {r: site_kind(len(c)) if c else NO_CONTACT for r, c in touched.items()},
                        {r: len(c) for r, c in touched.items()},
                        {
                            r: sum(len(sites.neighbours[r][j]) == 0 for j in c)
                            for r, c in touched.items()
                        },
                    )


def table(found: list[NamedSite], rule: BondRule) -> list[str]:
    """Return the rows of a Markdown table: aimed at, named."""
    counts = Counter((each.aimed, each.named[rule]) for each in found)
    names = (*SITE_KINDS, NO_CONTACT)
    lines = [f"| {rule}: aimed | {' | '.join(names)} | as aimed |", "|---" * (len(names) + 2) + "|"]
    for aimed in SITE_KINDS:
        row = [counts[aimed, name] for name in names]
        share = 100 * counts[aimed, aimed] / max(1, sum(row))
        lines.append(f"| {aimed} | {' | '.join(map(str, row))} | {share:.1f} % |")
    return lines


def main() -> None:
    """Print both tables, where names differ from aims, and contacts without neighbours."""
    parser = argparse.ArgumentParser(description="Sites aimed at and sites named.")
    parser.add_argument("--list", action="store_true", help="print what is not named as aimed")
    options = parser.parse_args()
    found = list(named_sites())
    print(f"{len(found)} placements of {len({(f.bulk, f.miller) for f in found})} surfaces")
    for rule in BOND_RULES:
        print("\n".join(table([f for f in found if f.is_flat], rule)))
        print("\n".join(table([f for f in found if not f.is_flat], rule)))
        contacts = np.array([[f.contacts[rule], f.lonely[rule]] for f in found]).sum(axis=0)
        print(f"{contacts[1]} of {contacts[0]} contacts have no neighbour in the slab\n")
    if options.list:
        missed = [f for f in found if f.is_flat and f.aimed != f.named["scaled"]]
        kinds = Counter(
            (f.bulk, f.miller, f.aimed, f.named["scaled"], f.contacts["scaled"], f.adsorbate)
            for f in missed
        )
        print("\n".join(f"{' '.join(map(str, key))}: {n}" for key, n in sorted(kinds.items())))


if __name__ == "__main__":
    main()
