"""Bulks come from formulas, files and databases; what cannot be had is named with its reason."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.build import fcc111
from ase.io import write
from support.enumeration.crystals import CRYSTALS, random_writing

from tasks.enumeration import (
    Bulk,
    BulkSpec,
    FileSpec,
    FormulaSpec,
    MaterialsProjectSpec,
    SlabSpec,
    alloy_specs,
    enumerate_slabs,
    resolve_bulks,
)
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.errors import UserError
from tasks.structures.identity import bulk_id

DISORDERED = """data_CuAu
_cell_length_a 3.8
_cell_length_b 3.8
_cell_length_c 3.8
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 0.5
Au1 Au 0 0 0 0.5
"""


def one(spec: BulkSpec) -> Bulk:
    (bulk,), refused = resolve_bulks([spec])
    assert refused == []
    return bulk


def why(spec: BulkSpec) -> str:
    bulks, (refused,) = resolve_bulks([spec])
    assert bulks == []
    assert refused.stage == "bulk"
    return refused.reason


@pytest.mark.parametrize(
    ("symbol", "atoms", "a"), [("Cu", 4, 3.61), ("Fe", 2, 2.87), ("Ru", 2, 2.70), ("Si", 8, 5.43)]
)
def test_elements_take_their_ground_state(symbol: str, atoms: int, a: float) -> None:
    bulk = one(FormulaSpec(symbol))
    assert (bulk.formula, len(bulk.atoms)) == (symbol, atoms)
    assert bulk.atoms.cell.lengths()[0] == pytest.approx(a)
    assert bulk.atoms.pbc.all()


def test_another_prototype_keeps_the_volume_per_atom() -> None:
    fcc, bcc, hcp = (one(FormulaSpec("Cu", p)) for p in ("fcc", "bcc", "hcp"))
    volumes = [bulk.atoms.get_volume() / len(bulk.atoms) for bulk in (fcc, bcc, hcp)]
    assert volumes == pytest.approx([volumes[0]] * 3)


@pytest.mark.parametrize(
    ("formula", "prototype", "atoms"),
    [("Cu3Pt", "L1_2", 4), ("Pt3Ni", "L1_2", 4), ("NiAl", "B2", 2), ("CuAu", "L1_0", 4)],
)
def test_alloys_follow_vegards_rule_and_say_so(formula: str, prototype: str, atoms: int) -> None:
    bulk = one(FormulaSpec(formula, prototype))
    assert len(bulk.atoms) == atoms
    assert "Vegard" in bulk.source
    shares = {s: list(bulk.atoms.symbols).count(s) / atoms for s in set(bulk.atoms.symbols)}
    expected = sum(
        share * ase_bulk(symbol).get_volume() / len(ase_bulk(symbol))
        for symbol, share in shares.items()
    )
    assert bulk.atoms.get_volume() / atoms == pytest.approx(expected)


def test_nearest_neighbours_in_l1_2_and_b2_are_as_in_the_prototype() -> None:
    l1_2 = one(FormulaSpec("Cu3Pt", "L1_2")).atoms
    distances = l1_2.get_all_distances(mic=True)
    assert distances[distances > 0].min() == pytest.approx(l1_2.cell.lengths()[0] / np.sqrt(2))
    b2 = one(FormulaSpec("NiAl", "B2")).atoms
    assert b2.get_distance(0, 1, mic=True) == pytest.approx(b2.cell.lengths()[0] * np.sqrt(3) / 2)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (FormulaSpec("Ga"), "Ga is orthorhombic"),
        (FormulaSpec("Xx"), "element symbols"),
        (FormulaSpec("H"), "no crystal"),
        (FormulaSpec("Cu3Pt"), "needs a prototype"),
        (FormulaSpec("Cu3Pt", "B2"), "AB alloys of two elements, got Cu3Pt"),
        (FormulaSpec("CuPt", "L1_2"), "A3B alloys of two elements, got CuPt"),
        (FormulaSpec("Cu3Pt", "D0_22"), "L1_2, B2, L1_0, got D0_22"),
        (FormulaSpec("Cu", "L1_2"), "element's prototype"),
        (FormulaSpec("CuGa", "B2"), "none is known for Ga"),
        (FileSpec("nowhere.cif"), "no such file"),
        (FileSpec("nowhere/*.cif"), "no file matches"),
    ],
)
def test_what_cannot_be_built_says_why(spec: BulkSpec, reason: str) -> None:
    assert reason in why(spec)


def test_alloy_specs_are_all_ordered_pairs() -> None:
    specs = alloy_specs(["Cu", "Pt", "Ni"], ["L1_2", "B2", "fcc"])
    formulas = [spec.formula for spec in specs if isinstance(spec, FormulaSpec)]
    assert formulas[:6] == ["Cu3Pt", "Cu3Ni", "Pt3Cu", "Pt3Ni", "Ni3Cu", "Ni3Pt"]
    assert sorted(formulas[6:9]) == ["CuNi", "CuPt", "NiPt"]
    assert formulas[9:] == ["Cu", "Pt", "Ni"]


def test_files_of_every_kind_are_read_as_conventional_cells(tmp_path: Path) -> None:
    primitive = ase_bulk("Cu")
    write(tmp_path / "a.cif", primitive)
    write(tmp_path / "POSCAR_ag", ase_bulk("Ag"), format="vasp")
    write(tmp_path / "many.extxyz", [ase_bulk("Au"), ase_bulk("Pt", cubic=True)])
    (tmp_path / "notes.txt").write_text("not a structure")
    bulks, refused = resolve_bulks([FileSpec(str(tmp_path))])
    assert refused == []
    assert [bulk.formula for bulk in bulks] == ["Ag", "Cu", "Au", "Pt"]
    assert [len(bulk.atoms) for bulk in bulks] == [4, 4, 4, 4]
    assert bulks[2].source.endswith("many.extxyz@0")


def test_a_file_and_a_formula_of_one_crystal_are_one_bulk(tmp_path: Path) -> None:
    write(tmp_path / "cu.cif", ase_bulk("Cu", cubic=True))
    bulks, refused = resolve_bulks([FormulaSpec("Cu"), FileSpec(str(tmp_path / "*.cif"))])
    assert len(bulks) == 1
    assert "the same crystal" in refused[0].reason


def test_bad_files_are_refused_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "good.cif", ase_bulk("Cu"))
    (tmp_path / "empty.cif").touch()
    (tmp_path / "broken.cif").write_text("this is no CIF")
    (tmp_path / "disordered.cif").write_text(DISORDERED)
    write(tmp_path / "molecule.xyz", Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]))
    write(tmp_path / "slab.extxyz", fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True))
    write(
        tmp_path / "overlap.extxyz",
        Atoms("Cu2", [[0, 0, 0], [0.1, 0, 0]], cell=[3, 3, 3], pbc=True),
    )
    bulks, refused = resolve_bulks([FileSpec(str(tmp_path))])
    assert [bulk.formula for bulk in bulks] == ["Cu"]
    reasons = {Path(item.item).name: item.reason for item in refused}
    assert "empty" in reasons["empty.cif"]
    assert "cannot be read" in reasons["broken.cif"]
    assert "partial occupancy" in reasons["disordered.cif"]
    assert "cell of three vectors" in reasons["molecule.xyz"]
    assert "empty layer" in reasons["slab.extxyz"]
    assert "nearer than" in reasons["overlap.extxyz"]
    assert all("\n" not in reason for reason in reasons.values())


def test_an_existing_file_is_meant_before_any_glob(tmp_path: Path) -> None:
    write(tmp_path / "plain.cif", ase_bulk("Cu"))
    for name in ("Cu[conv].cif", "a*b?.cif", "cu@1.cif"):
        (tmp_path / name).write_bytes((tmp_path / "plain.cif").read_bytes())
        assert one(FileSpec(str(tmp_path / name))).formula == "Cu"
    bulks, _ = resolve_bulks([FileSpec(str(tmp_path / "[p]lain.cif"))])
    assert len(bulks) == 1


def test_a_glob_may_lie_in_a_folder_with_brackets(tmp_path: Path) -> None:
    folder = tmp_path / "run[1]"
    folder.mkdir()
    write(folder / "cu.cif", ase_bulk("Cu"))
    assert one(FileSpec(str(folder / "*.cif"))).source == str(folder / "cu.cif")


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.cif").symlink_to(tmp_path / "nothing")
    assert "no such file" in why(FileSpec(str(tmp_path)))


def test_blocks_of_a_cif_are_bulks_or_refusals_by_name(tmp_path: Path) -> None:
    full = DISORDERED.replace("0.5\nAu1 Au 0 0 0 0.5", "1\nAu1 Au 0.5 0.5 0.5 1")
    two = DISORDERED.replace("data_CuAu", "data_mixed") + full
    (tmp_path / "two.cif").write_text(two)
    bulks, refused = resolve_bulks([FileSpec(str(tmp_path / "two.cif"))])
    assert [bulk.source for bulk in bulks] == [f"{tmp_path}/two.cif@CuAu"]
    assert [item.item for item in refused] == [f"{tmp_path}/two.cif@mixed"]


def test_a_box_that_is_not_periodic_is_no_bulk(tmp_path: Path) -> None:
    copper = ase_bulk("Cu", cubic=True)
    copper.pbc = [True, True, False]
    write(tmp_path / "cu.extxyz", copper)
    assert "periodic in three directions" in why(FileSpec(str(tmp_path / "cu.extxyz")))


def test_magnetic_moments_do_not_reach_the_bulk(tmp_path: Path) -> None:
    iron = ase_bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    write(tmp_path / "fe.extxyz", iron)
    (bulk,), _ = resolve_bulks([FileSpec(str(tmp_path / "fe.extxyz"))])
    assert len(bulk.atoms) == 2
    assert not bulk.atoms.has("initial_magmoms")
    assert bulk.source.endswith("fe.extxyz (without its magnetic moments)")


def test_the_materials_project_needs_a_key() -> None:
    with pytest.raises(UserError, match="MP_API_KEY"):
        resolve_bulks([MaterialsProjectSpec("mp-30")])


@pytest.mark.parametrize("name", CRYSTALS)
def test_writings_with_noise_are_one_bulk(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(23)
    written = [random_writing(CRYSTALS[name], rng, noise_ang=0.005) for _ in range(4)]
    write(tmp_path / "many.extxyz", written)
    (bulk,), refused = resolve_bulks([FileSpec(str(tmp_path / "many.extxyz"))])
    assert len(refused) == 3
    assert len(bulk.axes) == 4


def test_every_prototype_is_written_in_the_standard_form() -> None:
    specs = [FormulaSpec(symbol) for symbol in ("Cu", "Fe", "Ru", "Si")]
    specs += [FormulaSpec("Pt3Ni", "L1_2"), FormulaSpec("NiAl", "B2"), FormulaSpec("CuAu", "L1_0")]
    for spec in specs:
        made = one(spec)
        assert bulk_from_atoms(made.atoms, "again").bulk_id == made.bulk_id


def test_a_stored_crystal_keeps_its_id_and_atoms(tmp_path: Path) -> None:
    """An older version stored zincblende with zinc at the origin, so under another id."""
    atoms = CRYSTALS["zincblende"]
    stored = Bulk(bulk_id(atoms), "ZnS", "old.cif", atoms)
    write(tmp_path / "new.extxyz", random_writing(atoms, np.random.default_rng(1), 0.005))
    specs: list[BulkSpec] = [FileSpec(str(tmp_path / "new.extxyz"))]
    (fresh,), _ = resolve_bulks(specs)
    (found,), refused = resolve_bulks(specs, known={"ZnS": [stored]}.__getitem__)
    assert refused == []
    assert fresh.bulk_id != stored.bulk_id
    assert (found.bulk_id, found.other_ids) == (stored.bulk_id, (fresh.bulk_id,))
    before, after = (
        [slab.slab_id for slab in enumerate_slabs(bulk, SlabSpec(max_miller=1))[0]]
        for bulk in (stored, found)
    )
    assert before == after
