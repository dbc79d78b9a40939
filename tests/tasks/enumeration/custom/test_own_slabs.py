"""Slabs from files: whichever way one is written, it is one slab, or it is refused by name."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bcc110, bulk, fcc111, fcc211, hcp0001
from ase.constraints import FixAtoms
from ase.io import write

from tasks.enumeration import OwnSlab, OwnSlabSpec, SlabSpec, read_own_slabs
from tasks.errors import Refusal
from tasks.structures.identity import fixed_mask, slab_id

pytestmark = pytest.mark.medium
SPEC = SlabSpec(min_in_plane_ang=4.0, vacuum_ang=10.0)


def own(folder: Path, *slabs: Atoms, **stated: object) -> tuple[list[OwnSlab], list[Refusal]]:
    for number, slab in enumerate(slabs):
        slab.pbc = True
        write(folder / f"{number}.extxyz", slab)
    return read_own_slabs([OwnSlabSpec(str(folder), **stated)], SPEC)  # type: ignore[arg-type]


def copper(layers: int = 4, a: float | None = None) -> Atoms:
    slab: Atoms = fcc111("Cu", (1, 1, layers), a=a, vacuum=8.0, periodic=True)
    return slab


def platinum_on_copper() -> Atoms:
    slab = copper()
    slab.symbols[int(np.argmin(slab.positions[:, 2]))] = "Pt"
    return slab


def rewritten(slab: Atoms, way: int, noise_ang: float = 0.0) -> Atoms:
    """Return a slab shifted and in another order, orientation, cell or repeat."""
    rng = np.random.default_rng(way)
    atoms: Atoms = slab.copy()
    if noise_ang:
        atoms.rattle(noise_ang, seed=way)
    atoms = atoms[rng.permutation(len(atoms))]
    atoms.positions += 5 * rng.random(3)
    if way % 2:
        atoms.rotate(360 * rng.random(), rng.random(3), rotate_cell=True)
    if way % 3 == 1:
        atoms.set_cell(atoms.cell.array[[1, 2, 0]], scale_atoms=False)
    if way % 3 == 2:
        atoms = atoms.repeat((1, 2, 1))
    atoms.wrap()
    return atoms


@pytest.mark.parametrize(
    ("slab", "miller"),
    [
        (copper(), (1, 1, 1)),
        (fcc211("Pt", (3, 1, 4), vacuum=8.0), (2, 1, 1)),
        (bcc110("Fe", (1, 1, 4), vacuum=8.0), (1, 1, 0)),
        (hcp0001("Ru", (1, 1, 5), vacuum=8.0), (0, 0, 1)),
    ],
    ids=["Cu(111)", "Pt(211)", "Fe(110)", "Ru(001)"],
)
@pytest.mark.parametrize("noise_ang", [0.0, 0.005])
def test_a_slab_is_one_however_it_is_written(
    slab: Atoms, miller: tuple[int, int, int], noise_ang: float, tmp_path: Path
) -> None:
    slabs, refused = own(tmp_path, *(rewritten(slab, way, noise_ang) for way in range(6)))
    assert [each.slab.miller for each in slabs] == [miller]
    assert {r.reason for r in refused} == {f"the same slab as: {tmp_path / '0.extxyz'}"}
    assert len(refused) == 5


def test_exact_writings_have_one_id(tmp_path: Path) -> None:
    found = set()
    for way in range(6):
        folder = tmp_path / str(way)
        folder.mkdir()
        (made,), _ = own(folder, rewritten(platinum_on_copper(), way))
        found.add(made.slab.slab_id)
        assert made.slab.slab_id == slab_id(made.slab.atoms)
    assert len(found) == 1


def test_a_slab_stands_in_the_frame_of_cut_slabs(tmp_path: Path) -> None:
    (made,), _ = own(tmp_path, rewritten(copper(), 1))
    cell, z_N = made.slab.atoms.cell.array, made.slab.atoms.positions[:, 2]
    assert np.allclose([cell[0, 1], cell[0, 2], cell[1, 2], cell[2, 0], cell[2, 1]], 0.0)
    assert np.isclose(cell[2, 2] - np.ptp(z_N), 10.0)
    assert np.linalg.norm(cell[:2], axis=1).min() >= 4.0
    assert (made.slab.atoms.get_tags() == (z_N > z_N.max() - 0.1)).all()
    assert (fixed_mask(made.slab.atoms) == (z_N < z_N.mean())).all()
    assert (made.slab.bulk_id, made.slab.bulk_formula, made.note) == ("", "Cu", "")


def test_layer_tags_of_ase_are_not_believed(tmp_path: Path) -> None:
    slab = copper(layers=3)
    assert set(slab.get_tags()) == {1, 2, 3}
    (made,), _ = own(tmp_path, slab)
    assert set(made.slab.atoms.get_tags()) == {0, 1}


def test_tags_that_follow_the_height_but_number_no_layers_are_noted(tmp_path: Path) -> None:
    """Tag 2 on the lowest of four layers may be meant as an adsorbate's."""
    slab = copper()
    slab.set_tags([2, 1, 1, 1])
    (made,), _ = own(tmp_path, slab)
    assert made.note.startswith("tags 1 to 2 of the file are not believed")


def test_an_adsorbate_is_counted_as_the_file_writes_it(tmp_path: Path) -> None:
    """The slab is repeated to the width of the campaign; the file has one atom."""
    slab = copper()
    add_adsorbate(slab, "H", 1.5, "ontop")
    _, (refusal,) = own(tmp_path, slab)
    assert "1 H in HCu4 lie outside only" in refusal.reason


def test_stated_tags_and_fixed_atoms_are_kept(tmp_path: Path) -> None:
    slab = copper()
    slab.set_tags([0, 0, 1, 1])
    slab.set_constraint(FixAtoms([0]))
    (made,), _ = own(tmp_path, slab)
    layers = len(made.slab.atoms) // 4
    assert made.slab.atoms.get_tags().sum() == 2 * layers
    assert fixed_mask(made.slab.atoms).sum() == layers


@pytest.mark.parametrize(("side", "top"), [("top", {"Cu"}), ("bottom", {"Pt"})])
def test_the_working_side_is_up(side: str, top: set[str], tmp_path: Path) -> None:
    (made,), _ = own(tmp_path, platinum_on_copper(), side=side)
    z_N = made.slab.atoms.positions[:, 2]
    assert set(made.slab.atoms.symbols[z_N > z_N.max() - 0.1]) == top
    assert made.slab.side == side


def test_both_sides_of_a_symmetric_slab_are_one(tmp_path: Path) -> None:
    slabs, refused = own(tmp_path, copper(), side="both")
    assert (len(slabs), len(refused)) == (1, 1)
    others, _ = own(tmp_path, platinum_on_copper(), side="both")
    assert [each.slab.side for each in others] == ["top", "bottom"]


def test_an_index_that_nobody_knows_is_none_and_noted(tmp_path: Path) -> None:
    odd = copper(3).repeat((2, 2, 1))
    odd.rattle(0.2, seed=3)
    (made,), _ = own(tmp_path, odd)
    assert made.slab.miller == (0, 0, 0)
    assert made.note.startswith("no Miller index, so texts say (0 0 0): ")


def test_a_stated_bulk_is_named_in_texts(tmp_path: Path) -> None:
    (made,), _ = own(tmp_path, platinum_on_copper(), bulk="Cu", miller=(1, 1, 1))
    assert made.slab.bulk_formula == "Cu"


def with_oxygen() -> Atoms:
    slab = copper().repeat((2, 2, 1))
    add_adsorbate(slab, "O", 1.2, "fcc")
    slab.set_tags(0)
    return slab


@pytest.mark.parametrize(
    ("slab", "stated", "reason"),
    [
        (bulk("Cu", cubic=True), {}, "at least 3 Å of vacuum along one cell vector"),
        (with_oxygen(), {}, "a slab is clean, its other side too: 1 O in Cu16O"),
        (copper(a=2.0), {}, "atoms of the slab overlap: Cu and Cu at 0.54"),
        (copper(), {"miller": (1, 0, 0)}, r"this slab is \(1 1 1\) of .*, got \(1 0 0\)"),
        (copper(), {"bulk": "Pt"}, "Pt has Pt, which Cu"),
    ],
    ids=["no vacuum", "adsorbate", "overlapping", "another plane", "another bulk"],
)
def test_what_is_no_clean_slab_is_refused_with_the_reason(
    slab: Atoms, stated: dict[str, object], reason: str, tmp_path: Path
) -> None:
    slabs, refused = own(tmp_path, slab, **stated)
    assert slabs == []
    assert [r.stage for r in refused] == ["slab"]
    assert re.search(reason, refused[0].reason), refused[0].reason


def test_fixed_surface_atoms_are_refused(tmp_path: Path) -> None:
    slab = copper()
    slab.set_constraint(FixAtoms([2, 3]))
    _, refused = own(tmp_path, slab)
    assert "surface atoms are free" in refused[0].reason


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    slabs, refused = read_own_slabs([OwnSlabSpec(str(tmp_path / "none.cif"))], SPEC)
    assert (slabs, [r.reason for r in refused]) == ([], ["no such file"])
