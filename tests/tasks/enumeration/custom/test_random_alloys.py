from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from tasks.enumeration import (
    FileSpec,
    FormulaSpec,
    PlacementSpec,
    RandomAlloySpec,
    SlabSpec,
    cells_of,
    enumerate_surfaces,
    resolve_bulks,
)
from tasks.enumeration.custom.random_alloys import random_alloy, site_counts, warren_cowley
from tasks.errors import UserError
from tasks.structures.identity import content_id

NI_PT = RandomAlloySpec((("Ni", 0.25), ("Pt", 0.75)), "fcc", (2, 2, 2))
HALVES = (("Ni", 0.5), ("Pt", 0.5))


def test_the_pairs_of_a_special_quasirandom_structure_are_those_of_the_random_alloy() -> None:
    atoms, source = random_alloy(NI_PT)
    assert atoms.get_chemical_formula() == "Ni8Pt24"
    assert np.abs(warren_cowley(atoms)).max() < 1e-12
    assert "special quasirandom structure, a = 3.828 Å by Vegard's rule" in source


def test_one_seed_gives_one_arrangement_on_every_machine() -> None:
    atoms, _ = random_alloy(replace(NI_PT, method="seeded", seed=4))
    assert content_id("order", *atoms.numbers.tolist())[:12] == "a8fde449786a"


def test_seeds_and_numbers_give_other_crystals() -> None:
    specs = [
        NI_PT,
        replace(NI_PT, seed=1),
        replace(NI_PT, number=1),
        replace(NI_PT, method="seeded"),
    ]
    bulks, refused = resolve_bulks(specs)
    assert len({bulk.bulk_id for bulk in bulks}) == len(bulks) == 4
    assert refused == []


@pytest.mark.parametrize(
    ("prototype", "cells", "atoms"), [("bcc", (3, 2, 2), 24), ("hcp", (2, 2, 2), 16)]
)
def test_prototypes_have_their_own_cells(
    prototype: str, cells: tuple[int, int, int], atoms: int
) -> None:
    made, _ = random_alloy(RandomAlloySpec(HALVES, prototype, cells, "seeded"))
    assert len(made) == atoms
    assert np.bincount(made.numbers)[[28, 78]].tolist() == [atoms // 2, atoms // 2]


def test_a_number_of_atoms_makes_the_most_cube_like_cell() -> None:
    assert cells_of("fcc", 32) == (2, 2, 2)
    assert cells_of("bcc", 36) == (3, 3, 2)
    with pytest.raises(UserError, match="multiple of 4"):
        cells_of("fcc", 30)


def test_shares_are_whole_numbers_of_atoms() -> None:
    assert site_counts((("A", 0.333), ("B", 0.667)), 36) == [12, 24]
    with pytest.raises(UserError, match=r"nearest are A: 0\.3125, B: 0\.6875"):
        site_counts((("A", 0.3), ("B", 0.7)), 32)


def test_miller_indices_of_a_random_alloy_are_those_of_its_prototype() -> None:
    """In cells of 2 x 1 x 1 the plane (1 1 1) of the lattice is (2 1 1) of the cell."""
    (bulk,), _ = resolve_bulks([RandomAlloySpec(HALVES, "fcc", (2, 1, 1), "seeded")])
    spec = SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0, min_in_plane_ang=4.0)
    cut = enumerate_surfaces(bulk, spec, [], PlacementSpec())
    assert {counted.slab.miller for counted in cut.slabs} == {(1, 1, 1)}
    a = bulk.parent.cell.lengths()[0] if bulk.parent else 0.0
    heights = np.unique(cut.slabs[0].slab.atoms.positions[:, 2].round(3))
    assert np.allclose(np.diff(heights), a / np.sqrt(3.0), atol=1e-3)


def test_cuts_beyond_the_limit_are_refused_with_the_reason() -> None:
    (bulk,), _ = resolve_bulks([NI_PT])
    spec = SlabSpec(millers=((1, 1, 1),), max_cuts=1)
    cut = enumerate_surfaces(bulk, spec, [], PlacementSpec())
    assert len(cut.slabs) == 1
    assert [r.reason for r in cut.refused] == [
        f"too many cuts of one plane: number {n}, max_cuts = 1 allowed" for n in (2, 3, 4)
    ]


def test_a_composition_sums_to_one() -> None:
    with pytest.raises(UserError, match="shares that sum to 1"):
        RandomAlloySpec((("Ni", 0.5), ("Pt", 0.6)), "fcc", (2, 2, 2))


@pytest.mark.parametrize("shares", [(-0.5, 1.5), (0.0, 1.0), (float("nan"), 0.5)])
def test_each_share_is_above_zero(shares: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="a share of a random alloy is above 0 and at most 1"):
        RandomAlloySpec((("Ni", shares[0]), ("Pt", shares[1])), "fcc", (2, 2, 2))


def test_the_size_is_bounded_before_anything_is_built() -> None:
    with pytest.raises(UserError, match="at most 256 atoms, got 4,000,000,000,000,000,000"):
        RandomAlloySpec(HALVES, "fcc", (10**6, 10**6, 10**6))
    with pytest.raises(UserError, match="at most 256 atoms, got 100,000,000,000"):
        cells_of("fcc", 10**11)


def test_a_plane_beyond_the_bound_of_miller_indices_is_refused_alone() -> None:
    """In cells of 21 x 1 x 1 the plane (1 1 1) of the lattice is (21 1 1) of the cell."""
    (bulk,), _ = resolve_bulks([RandomAlloySpec(HALVES, "fcc", (21, 1, 1), "seeded")])
    spec = SlabSpec(millers=((0, 0, 1), (1, 1, 1)), min_thickness_ang=4.0, min_in_plane_ang=0.0)
    cut = enumerate_surfaces(bulk, spec, [], PlacementSpec())
    assert {counted.slab.miller for counted in cut.slabs} == {(0, 0, 1)}
    assert len(cut.refused) == 1
    assert "in its own cell a Miller index has numbers from -20 to 20" in cut.refused[0].reason


def test_draws_that_are_one_crystal_are_one_bulk() -> None:
    """Two and two atoms on the four sites of fcc are L1_0, whichever they are."""
    draws = [RandomAlloySpec(HALVES, "fcc", (1, 1, 1), number=number) for number in range(20)]
    bulks, refused = resolve_bulks([FormulaSpec("NiPt", "L1_0"), *draws])
    assert [bulk.formula for bulk in bulks] == ["NiPt"]
    assert len(refused) == 20
    assert all(r.reason.startswith("the same crystal as L1_0 NiPt") for r in refused)
    assert refused[0].item == "random alloy Ni 0.5 Pt 0.5 fcc 1x1x1 sqs 0.0"


@pytest.mark.parametrize("noise_ang", [0.0, 0.005])
@pytest.mark.parametrize("file_first", [True, False])
def test_a_random_alloy_and_its_file_are_one_bulk(
    file_first: bool, noise_ang: float, tmp_path: Path
) -> None:
    atoms, _ = random_alloy(NI_PT)
    atoms.rattle(noise_ang, seed=1)
    file = FileSpec(str(tmp_path / "alloy.cif"))
    write(file.path, atoms)
    bulks, refused = resolve_bulks([file, NI_PT] if file_first else [NI_PT, file])
    assert [bulk.formula for bulk in bulks] == ["NiPt3"]
    assert refused[0].reason.startswith("the same crystal as ")
    spec = SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0, min_in_plane_ang=4.0)
    cut = enumerate_surfaces(bulks[0], spec, [], PlacementSpec())
    steps = np.diff(np.sort(cut.slabs[0].slab.atoms.positions[:, 2]))
    assert np.allclose(steps[steps > 0.5], 3.828 / np.sqrt(3.0), atol=0.05)
