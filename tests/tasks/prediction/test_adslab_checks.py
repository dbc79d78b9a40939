"""An adslab from a file passes the rules of a campaign's placements; a broken one is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bcc110, fcc100, fcc111, fcc211, hcp0001, surface
from ase.spacegroup import crystal

from tasks.errors import UserError
from tasks.prediction.adslab_file import adslab_from_file, slab_miller
from tasks.structures.formats import cif_text


def adslab(slab: Atoms | None = None, height: float = 1.85, bond: float = 1.15) -> Atoms:
    atoms = fcc111("Cu", (3, 3, 4), vacuum=8.0) if slab is None else slab.copy()
    top = atoms.positions[int(atoms.positions[:, 2].argmax())]
    atoms += Atoms("CO", [top + np.array([0, 0, h]) for h in (height, height + bond)])
    atoms.cell[2, 2] += 2.0 * (height + bond)
    atoms.pbc = True
    return atoms


def read(folder: Path, atoms: Atoms, adsorbate: str = "CO") -> Atoms:
    atoms.write(folder / "it.extxyz")
    return adslab_from_file(folder / "it.extxyz", adsorbate)


def turned(atoms: Atoms, axis: int) -> Atoms:
    """Return the atoms with the third cell vector and direction as number ``axis``."""
    order = np.roll([0, 1, 2], axis - 2)
    return Atoms(
        atoms.numbers, atoms.positions[:, order], cell=atoms.cell.array[order][:, order], pbc=True
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_vacuum_may_lie_along_any_vector(tmp_path: Path, axis: int) -> None:
    upright = read(tmp_path, adslab())
    found = read(tmp_path, turned(adslab(), axis))
    assert np.allclose(found.get_all_distances(mic=True), upright.get_all_distances(mic=True))
    assert found.get_tags().tolist() == upright.get_tags().tolist()


@pytest.mark.parametrize("shift_ang", [0.0, 7.0, 12.0, 20.0])
def test_the_slab_may_lie_across_the_border(tmp_path: Path, shift_ang: float) -> None:
    moved = adslab()
    moved.positions[:, 2] += shift_ang
    moved.wrap()
    assert np.ptp(read(tmp_path, moved).positions[:, 2]) == pytest.approx(9.25, abs=0.1)


def test_the_adsorbate_may_lie_below(tmp_path: Path) -> None:
    below = adslab()
    below.positions[:, 2] *= -1.0
    below.positions[:, 1] *= -1.0  # a turn, no mirror image
    assert read(tmp_path, below).positions[-1, 2] > read(tmp_path, below).positions[:-2, 2].max()


def test_a_direction_without_period_is_that_of_the_vacuum(tmp_path: Path) -> None:
    flat = turned(adslab(), 0)
    flat.pbc = (False, True, True)
    assert len(read(tmp_path, flat)) == 38


def test_skew_vectors_hide_no_vacuum(tmp_path: Path) -> None:
    skew = adslab()
    skew.set_cell(skew.cell.array + np.array([skew.cell[2], np.zeros(3), np.zeros(3)]))
    assert np.ptp(read(tmp_path, skew).positions[:, 2]) == pytest.approx(9.25, abs=0.1)


def test_ase_layer_tags_are_not_taken_for_an_adsorbate(tmp_path: Path) -> None:
    layered = adslab()
    assert set(layered.get_tags().tolist()) == {0, 1, 2, 3, 4}
    assert set(read(tmp_path, layered).get_chemical_symbols()[-2:]) == {"C", "O"}
    layered.set_tags(np.where(layered.numbers == 6, 2, 0))
    with pytest.raises(UserError, match="atoms of tag 2 are the adsorbate CO; here they are C"):
        read(tmp_path, layered)


def with_atom(symbol: str, x: float, y: float, z: float) -> Atoms:
    return adslab() + Atoms(symbol, [[x, y, z]])


def bulk_like() -> Atoms:
    atoms = adslab()
    atoms.cell[2, 2] = np.ptp(atoms.positions[:, 2]) + 2.0
    return atoms


def wire() -> Atoms:
    atoms = adslab()
    atoms.cell[1] *= 2.0
    return atoms


def isomer() -> Atoms:
    atoms = adslab(bond=1.3) + Atoms("H", [[0, 0, 0]])
    atoms.positions[-1] = atoms.positions[-2] + [0.8, 0.0, 0.55]
    return atoms


def both_sides() -> Atoms:
    atoms = adslab()
    low = atoms.positions[int(atoms.positions[:, 2].argmin())]
    return atoms + Atoms("CO", [low - [0, 0, 1.85], low - [0, 0, 3.0]])


@pytest.mark.parametrize(
    ("make", "adsorbate", "rule"),
    [
        (lambda: with_atom("H", 5.1, 2.95, 15.1), "CO", "1 H on this Cu36 is another adsorbate"),
        (lambda: with_atom("O", 5.1, 2.95, 6.9), "CO", "1 O on this Cu36 is another"),
        (both_sides, "CO", "keep one adsorbate"),
        (lambda: adslab(height=0.3), "CO", "overlaps the slab: two atoms at 0.1"),
        (lambda: adslab(height=9.9), "CO", "nothing touches the surface"),
        (lambda: adslab(bond=2.5), "CO", "one group of bonded atoms"),
        (lambda: adslab(bond=0.7), "CO", "atoms of the adsorbate overlap"),
        (isomer, "CHO", "the bonds of an adsorbate are those of its species: CHO has C-H, C-O"),
        (bulk_like, "CO", "at least 3 Å of vacuum"),
        (wire, "CO", "as a wire or a molecule has"),
        (adslab, "", "give --adsorbate CO"),
    ],
)
def test_an_impossible_adslab_is_refused(
    tmp_path: Path, make: Callable[[], Atoms], adsorbate: str, rule: str
) -> None:
    with pytest.raises(UserError, match=rule) as refused:
        read(tmp_path, make(), adsorbate)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("factor", [0.1, 1.0 / 0.529177])
def test_other_units_are_refused(tmp_path: Path, factor: float) -> None:
    atoms = adslab()
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)
    with pytest.raises(UserError, match=r"as if the file were in (nm|Bohr)"):
        read(tmp_path, atoms)


def rutile() -> Atoms:
    bulk = crystal(
        ["Ru", "O"], [(0, 0, 0), (0.3056, 0.3056, 0)], spacegroup=136,
        cellpar=[4.49, 4.49, 3.11, 90, 90, 90],
    )  # fmt: skip
    return surface(bulk, (1, 1, 0), 3, vacuum=8.0) * (2, 1, 1)


def hydride() -> Atoms:
    bulk = crystal(
        ["Pd", "H"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[4.09] * 3 + [90] * 3
    )
    return surface(bulk, (1, 0, 0), 3, vacuum=8.0) * (2, 2, 1)


def sulphide() -> Atoms:
    """One layer of MoS2: no sulphur atom lies inside."""
    atoms = Atoms("MoS2", [[0, 0, 8], [1.58, 0.912, 9.56], [1.58, 0.912, 6.44]])
    atoms.set_cell([[3.16, 0, 0], [-1.58, 2.737, 0], [0, 0, 16]])
    atoms.pbc = True
    return atoms * (3, 3, 1)


@pytest.mark.parametrize("make", [rutile, hydride, sulphide])
def test_a_compound_is_a_clean_slab(tmp_path: Path, make: Callable[[], Atoms]) -> None:
    atoms = make()
    atoms.set_tags(0)
    tagged = adslab(atoms, height=1.7)
    tagged.set_tags([0] * len(atoms) + [2, 2])
    assert (read(tmp_path, tagged).get_tags() == 2).sum() == 2


@pytest.mark.parametrize(
    ("slab", "miller"),
    [
        (fcc111("Cu", (3, 3, 2), vacuum=8.0), (1, 1, 1)),
        (fcc100("Pt", (3, 3, 3), vacuum=8.0), (1, 0, 0)),
        (fcc211("Cu", (3, 3, 4), vacuum=8.0), (2, 1, 1)),
        (bcc110("Fe", (3, 3, 4), vacuum=8.0), (1, 1, 0)),
        (hcp0001("Ru", (3, 3, 4), vacuum=8.0), (0, 0, 1)),
        (rutile(), (1, 1, 0)),
    ],
)
def test_the_index_is_checked_against_the_slab(slab: Atoms, miller: tuple[int, int, int]) -> None:
    slab.pbc = True
    slab.set_tags(0)
    assert slab_miller(slab, miller) == (miller, "")
    assert slab_miller(slab, None) == (miller, "")
    with pytest.raises(UserError, match="the Miller index is that of the slab's plane"):
        slab_miller(slab, (3, 2, 1))


def test_equal_planes_have_one_index() -> None:
    slab = fcc211("Cu", (3, 3, 4), vacuum=8.0)
    slab.pbc = True
    assert slab_miller(slab, (-1, 2, 1))[0] == (2, 1, 1)


def test_four_numbers_are_of_hexagonal_cells() -> None:
    cubic, hexagonal = fcc111("Cu", (3, 3, 3), vacuum=8.0), hcp0001("Ru", (3, 3, 4), vacuum=8.0)
    assert slab_miller(hexagonal, (0, 0, 1), has_four=True)[0] == (0, 0, 1)
    with pytest.raises(UserError, match="four Miller indices count by a hexagonal cell"):
        slab_miller(cubic, (1, 1, 1), has_four=True)


def test_an_index_that_cannot_be_checked_is_noted() -> None:
    slab = fcc111("Cu", (3, 3, 4), vacuum=8.0)
    slab.positions += np.random.default_rng(0).normal(0.0, 0.6, (36, 3))
    assert "taken as given" in slab_miller(slab, (1, 1, 1))[1]
    with pytest.raises(UserError, match="this slab needs its Miller index"):
        slab_miller(slab, None)


def test_a_cif_with_its_vacuum_along_a_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(cif_text(turned(adslab(), 0)))
    found = adslab_from_file(tmp_path / "a.cif", "CO")
    assert np.ptp(found.positions[:, 2]) == pytest.approx(9.25, abs=0.1)


def test_a_relaxed_adsorbate_may_lean_and_stretch(tmp_path: Path) -> None:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    add_adsorbate(atoms, Atoms("OH2", [[0, 0, 0], [0.76, 0, 0.5], [-0.76, 0, 0.5]]), 2.35, "ontop")
    assert (read(tmp_path, atoms, "H2O").get_tags() == 2).sum() == 3
