"""One form of a crystal, however it was written, and what tells two crystals apart."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from support.enumeration.crystals import CRYSTALS, random_writing

from tasks.structures.identity import bulk_id
from tasks.structures.standard_crystal import (
    CrystalMatch,
    match_crystals,
    primitive_crystal,
    standard_crystal,
)
from tasks.structures.symmetrise import symmetrise

TOLERANCE_ANG = 0.05


def match(one: Atoms, other: Atoms) -> CrystalMatch | None:
    forms = [standard_crystal(atoms).atoms for atoms in (one, other)]
    return match_crystals(*map(primitive_crystal, forms), TOLERANCE_ANG)


def mirrored(atoms: Atoms) -> Atoms:
    image = atoms.copy()
    image.set_cell(atoms.cell.array * [-1, 1, 1], scale_atoms=True)
    return image


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_crystal_has_one_form_however_it_is_written(name: str) -> None:
    rng = np.random.default_rng(7)
    written = [random_writing(CRYSTALS[name], rng) for _ in range(6)]
    assert len({bulk_id(standard_crystal(atoms).atoms) for atoms in written}) == 1


@pytest.mark.parametrize("name", CRYSTALS)
def test_noise_below_the_tolerance_leaves_the_same_crystal(name: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(3):
        found = match(CRYSTALS[name], random_writing(CRYSTALS[name], rng, noise_ang=0.005))
        assert found is not None
        assert found.displacement_ang < 0.03


def test_a_miller_index_follows_its_plane() -> None:
    """Planes keep their distance: 1 over the length of h a* + k b* + l c*."""
    rng = np.random.default_rng(3)
    for atoms in CRYSTALS.values():
        written = random_writing(atoms, rng)
        standard = standard_crystal(written)
        rows_33 = np.array(standard.miller_33)
        ratios = []
        for miller in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, -1)):
            before = np.linalg.norm(np.linalg.inv(written.cell.array) @ miller)
            after = np.linalg.norm(np.linalg.inv(standard.atoms.cell.array) @ rows_33 @ miller)
            ratios.append(after / before)
        assert ratios == pytest.approx([ratios[0]] * 4)


def test_an_index_of_an_orthorhombic_file_is_that_of_the_sorted_axes() -> None:
    atoms = Atoms("CuPd", scaled_positions=[(0, 0, 0), (0.5,) * 3], cell=[6, 4, 3], pbc=True)
    standard = standard_crystal(atoms)
    assert standard.atoms.cell.lengths() == pytest.approx([3, 4, 6])
    assert np.abs(np.array(standard.miller_33) @ (1, 0, 0)).tolist() == [0, 0, 1]


def test_a_chiral_crystal_and_its_mirror_image_are_two() -> None:
    quartz, image = CRYSTALS["quartz"], mirrored(CRYSTALS["quartz"])
    assert bulk_id(standard_crystal(quartz).atoms) != bulk_id(standard_crystal(image).atoms)
    assert match(quartz, image) is None
    rutile = CRYSTALS["rutile"]
    assert bulk_id(standard_crystal(rutile).atoms) == bulk_id(
        standard_crystal(mirrored(rutile)).atoms
    )


def test_two_lattice_constants_are_two_crystals() -> None:
    assert match(bulk("Cu", a=3.61), bulk("Cu", a=3.62)) is None


def test_symmetry_is_found_within_the_tolerance_and_said() -> None:
    rng = np.random.default_rng(5)
    for name, number in (("copper", 225), ("rock salt", 225), ("rutile", 136), ("Pnma", 62)):
        atoms = CRYSTALS[name].copy()
        atoms.positions += rng.normal(0, 0.01, atoms.positions.shape)
        found = symmetrise(atoms).symmetry
        assert (found.number, found.strict_number) == (number, 1)
        assert "within 0.05 Å, atoms moved by up to 0.0" in found.word()
        assert symmetrise(CRYSTALS[name]).symmetry.word() == ""


def test_a_distortion_beyond_the_tolerance_is_kept() -> None:
    cell = Atoms(
        "BaTiO3",
        scaled_positions=[(0, 0, 0), (0.5,) * 3, (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
        cell=[4, 4, 4],
        pbc=True,
    )
    assert symmetrise(cell).symmetry.number == 221
    cell.positions[1, 2] += 0.12  # of which 0.10 from the other four, on average
    assert symmetrise(cell).symmetry.number == 99
    assert symmetrise(cell, 0.13).symmetry.number == 221
    long = bulk("Cu", cubic=True)
    long.set_cell(long.cell.array * [1, 1, 1.03], scale_atoms=True)
    assert symmetrise(long).symmetry.number == 139
