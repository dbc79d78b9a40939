"""Slabs and sites beside pymatgen's: each difference has its reason, and nothing is missed."""

import numpy as np
import pytest
from ase.build import bulk as ase_bulk
from support.enumeration.beside_pymatgen import sites_of, terminations
from support.enumeration.crystals import CRYSTALS

from tasks.enumeration import (
    Bulk,
    FormulaSpec,
    SlabSpec,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.bulks import bulk_from_atoms

pytestmark = pytest.mark.medium
CUT_ANG = SlabSpec().cut_tolerance_ang
SAME = "as many"
BOTH_FACES = "one slab of pymatgen's shows one face above and another below; each is a slab here"
BOTH_SIDES = (
    "the two sides of a polar plane differ; pymatgen gives one and leaves turning it to the user"
)
DIAGONAL = "a square has one fourfold hollow; pymatgen splits it and calls its diagonal a bridge"
IMAGES = "the surface has a mirror plane that a wide cell hides; pymatgen counts images apart"
SECOND_LAYER = "open atoms and rests of the second layer; pymatgen looks at surface atoms alone"
BURIED = "pymatgen joins all surface atoms, with cerium that oxygen above it covers"

PROTOTYPES = {"Cu3Pt": "L1_2", "NiAl": "B2", "TiAl": "L1_0"}


def bulk_of(name: str) -> Bulk:
    if name == "fluorite":
        return bulk_from_atoms(ase_bulk("CeO2", "fluorite", a=5.411, cubic=True), name)
    if name in CRYSTALS:
        return bulk_from_atoms(CRYSTALS[name], name)
    return resolve_bulks([FormulaSpec(name, PROTOTYPES.get(name))])[0][0]


@pytest.mark.parametrize(
    ("name", "miller", "ours", "theirs", "reason"),
    [
        ("Cu", (1, 1, 1), 1, 1, SAME),
        ("Fe", (1, 1, 0), 1, 1, SAME),
        ("Ru", (1, 0, 0), 2, 2, SAME),
        ("Ru", (1, 0, 1), 2, 2, SAME),
        ("Cu3Pt", (1, 1, 1), 1, 1, SAME),
        ("Cu3Pt", (1, 0, 0), 2, 1, BOTH_FACES),
        ("NiAl", (1, 1, 1), 2, 1, BOTH_FACES),
        ("TiAl", (1, 1, 0), 2, 1, BOTH_FACES),
        ("rock salt", (1, 0, 0), 1, 1, SAME),
        ("rock salt", (1, 1, 1), 2, 1, BOTH_FACES),
        ("rutile", (1, 1, 0), 3, 2, BOTH_FACES),
        ("rutile", (1, 0, 0), 3, 2, BOTH_FACES),
        ("zincblende", (1, 1, 1), 4, 2, BOTH_SIDES),
        ("zincblende", (1, 1, 0), 1, 1, SAME),
    ],
)
def test_slabs_beside_pymatgens(
    name: str, miller: tuple[int, int, int], ours: int, theirs: int, reason: str
) -> None:
    found = terminations(bulk_of(name), miller, CUT_ANG)
    assert (found.ours, found.pymatgen) == (ours, theirs), reason
    assert (found.equivalent, found.missed) == (0, 0)


@pytest.mark.parametrize(
    ("name", "miller", "index", "ours", "theirs", "reason"),
    [
        ("Cu", (1, 1, 1), 0, (1, 1, 2), (1, 1, 2), SAME),
        ("Cu", (1, 0, 0), 0, (1, 1, 1), (1, 2, 1), DIAGONAL),
        ("Cu", (1, 1, 0), 0, (2, 3, 2), (2, 3, 2), SAME),
        ("Cu3Pt", (1, 1, 1), 0, (2, 3, 4), (2, 3, 4), SAME),
        ("NiAl", (1, 1, 1), 0, (3, 3, 1), (3, 3, 1), SAME),
        ("Ru", (1, 0, 1), 0, (2, 4, 3), (2, 6, 6), IMAGES),
        ("Ru", (1, 0, 1), 1, (3, 6, 5), (3, 9, 6), IMAGES),
        ("rock salt", (1, 0, 0), 0, (2, 1, 1), (2, 2, 2), DIAGONAL),
        ("rutile", (1, 1, 0), 1, (3, 2, 2), (2, 4, 2), SECOND_LAYER),
        ("zincblende", (1, 0, 0), 0, (3, 0, 1), (1, 3, 1), SECOND_LAYER),
        ("zincblende", (1, 1, 1), 0, (1, 1, 2), (1, 1, 2), SAME),
        ("fluorite", (1, 1, 1), 2, (2, 1, 2), (3, 8, 10), BURIED),
    ],
)
def test_sites_beside_pymatgens(
    name: str,
    miller: tuple[int, int, int],
    index: int,
    ours: tuple[int, int, int],
    theirs: tuple[int, int, int],
    reason: str,
) -> None:
    spec = SlabSpec(millers=(miller,), miller_axes="conventional")
    found = sites_of(enumerate_slabs(bulk_of(name), spec)[0][index])
    assert (found.ours, found.pymatgen) == (ours, theirs), reason
    assert (found.equivalent, found.missed) == (0, 0)


def test_a_wide_cell_has_the_sites_of_a_narrow_one() -> None:
    # Three by two cells of this centred plane have no mirror plane, the surface has.
    counts = []
    for width in (0.0, 8.0):
        spec = SlabSpec(millers=((1, 0, 1),), miller_axes="conventional", min_in_plane_ang=width)
        slabs = enumerate_slabs(bulk_of("Ru"), spec)[0]
        counts.append([len(surface_sites(slab).sites) for slab in slabs])
        assert all(site.mirror_deg is not None for site in surface_sites(slabs[0]).sites[:2])
    assert np.array_equal(*counts)
