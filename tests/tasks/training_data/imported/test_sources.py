"""Each kind of source gives the same energies, and each row is in or has its reason."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from support.labels import own_labels as make

from tasks.errors import UserError
from tasks.levels import level
from tasks.training_data.imported.reconstruction import (
    ReadLabels,
    StatedSurface,
    read_labels_of,
    stated_miller,
)
from tasks.training_data.imported.sources import read_label_sources
from tasks.training_data.imported.stated_references import StatedReferences

TOTAL = StatedReferences("total")
ADSORPTION = StatedReferences("adsorption", molecules="CO, H2O, H2")


def read(
    path: Path, references: StatedReferences = TOTAL, surface: StatedSurface | None = None
) -> ReadLabels:
    content = read_label_sources([str(path)])
    return read_labels_of(content, level("emt"), references, surface or StatedSurface())


def reason(found: ReadLabels, row: str) -> str:
    return next(each.reason for each in found.refused if each.item == row)


def check_energies(found: ReadLabels) -> None:
    energies = {label.species.name: label.energy_ev for label in found.labels}
    assert energies == pytest.approx(make.ENERGIES_EV, abs=1e-6)
    assert all(label.trainable for label in found.labels)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("frames.extxyz", make.write_extxyz),
        ("rows.db", make.write_database),
        ("outputs", make.write_outputs),
        ("hub", make.write_catalysis_hub),
    ],
)
def test_total_energies_of_each_source_are_counted_from_slab_and_gas(
    tmp_path: Path, name: str, write: Callable[[Path], Path]
) -> None:
    found = read(write(tmp_path / name))
    check_energies(found)
    assert len(found.references) == 4
    assert found.rows == len(found.labels) + 4 + len(found.refused)


def test_a_table_of_adsorption_energies_is_read_with_its_structures(tmp_path: Path) -> None:
    found = read(make.write_table(tmp_path / "labels.csv"), ADSORPTION)
    check_energies(found)
    assert (found.rows, found.refused) == (3, ())


def test_the_placement_that_a_screening_begins_with_is_recovered(tmp_path: Path) -> None:
    found = read(make.write_table(tmp_path / "labels.csv"), ADSORPTION)
    for label, placed in zip(found.labels, make.placements(), strict=True):
        moved_N3 = label.relaxed.positions - label.start.positions
        in_slab_N = label.start.get_tags() != 2
        assert np.abs(moved_N3[in_slab_N]).max() < 0.01
        assert moved_N3[~in_slab_N][:, 2] == pytest.approx(make.UP_ANG, abs=0.01)
        assert label.slab.miller == (1, 1, 1)
        assert label.species.name == placed.adsorbate


def test_a_start_of_a_campaign_keeps_the_ids_of_the_campaign(tmp_path: Path) -> None:
    placed = make.placements()[0]
    (tmp_path / "structures").mkdir()
    write(tmp_path / "structures" / "start.traj", placed.atoms)
    table = make.write_table(
        tmp_path / "labels.csv", {0: {"start": "structures/start.traj"}, 1: {"start": ""}}
    )
    label = read(table, ADSORPTION).labels[0]
    assert label.candidate_id == placed.candidate_id
    assert label.slab.slab_id == make.own_slab().slab_id


def test_every_row_has_its_reason(tmp_path: Path) -> None:
    table = make.write_table(
        tmp_path / "labels.csv",
        {
            0: {"energy_ev": "nan", "level": ""},
            1: {"energy_ev": "-95.0"},
            2: {"level": "vasp-oc20"},
        },
    )
    with table.open("a") as file:
        file.write("structures/none.traj,-1.0,O,\nstructures/O.traj,-1.0,Xx,\n")
        file.write("structures/O.traj,-1.0,N,\nstructures/O.traj,,O,\nstructures/O.traj,-1\n")
    found = read(table, ADSORPTION)
    assert (len(found.labels), found.rows) == (0, 8)
    assert "energy_ev is finite, got nan" in reason(found, "labels.csv:2")
    assert "if it is in kJ/mol" in reason(found, "labels.csv:3")
    assert "this row is of vasp-oc20" in reason(found, "labels.csv:4")
    assert "no such file" in reason(found, "labels.csv:5")
    assert reason(found, "labels.csv:6").startswith("adsorbate: ")
    assert reason(found, "labels.csv:7").startswith("adsorbate: ")
    assert reason(found, "labels.csv:8").startswith("energy: none")
    assert reason(found, "labels.csv:9").startswith("columns: ")


@pytest.mark.parametrize(
    ("stated", "miller"),
    [("211", (2, 1, 1)), ("(0001)", (0, 0, 1)), ("1 -1 0", (1, -1, 0)), ("(111)", (1, 1, 1))],
)
def test_a_facet_is_read_as_people_write_it(stated: str, miller: tuple[int, int, int]) -> None:
    assert stated_miller(stated) == miller


def test_another_plane_than_the_slabs_is_refused(tmp_path: Path) -> None:
    rows = {0: {"miller": "100"}, 1: {"miller": "(111)"}, 2: {"miller": "top"}}
    found = read(make.write_table(tmp_path / "labels.csv", rows), ADSORPTION)
    assert [label.slab.miller for label in found.labels] == [(1, 1, 1)]
    assert "this slab is (1 1 1)" in reason(found, "labels.csv:2")
    assert reason(found, "labels.csv:4").startswith("plane: a Miller index is")


def test_a_bulk_that_is_not_the_slabs_is_refused(tmp_path: Path) -> None:
    rows = {0: {"bulk": "Ag#Cu"}, 1: {"bulk": "Cu3Pt"}, 2: {"bulk": "Cu4"}}
    found = read(make.write_table(tmp_path / "labels.csv", rows), ADSORPTION)
    assert [label.slab.bulk_formula for label in found.labels] == ["Cu"]
    assert reason(found, "labels.csv:2").startswith("bulk: a formula is")
    assert reason(found, "labels.csv:3").startswith("bulk: ")


def lifted(placed_index: int, up_ang: float, energy_ev: float) -> Atoms:
    return make.with_energy(make.relaxed(make.placements()[placed_index], up_ang), energy_ev)


def test_anomalies_are_named(tmp_path: Path) -> None:
    broken = make.relaxed(make.placements()[2])
    broken.positions[-1] += (1.5, 1.5, -1.2)
    frames = [lifted(0, 2.5, -1.5), make.with_energy(broken, -0.6), lifted(1, 0.1, -0.3)]
    for atoms, name, fmax in zip(frames, make.ENERGIES_EV, (0.01, 0.01, 0.5), strict=True):
        atoms.info = {"adsorbate": name, "fmax_ev_ang": fmax}
    frames[1].info["adsorbate"], frames[2].info["adsorbate"] = "CO", "H"
    write(tmp_path / "frames.extxyz", frames)
    found = read(tmp_path / "frames.extxyz", ADSORPTION)
    assert reason(found, "frames.extxyz#0").startswith("desorbed: ")
    assert "make 2: C, O" in reason(found, "frames.extxyz#1")
    (unconverged,) = found.labels
    assert [flag.name for flag in unconverged.flags] == ["ions_not_converged"]
    assert not unconverged.trainable


@pytest.mark.parametrize(("name", "energy_ev"), [("emt", -1.5), ("qe-pbe", -1.6)])
def test_a_calculation_gives_the_energy_that_its_level_is_made_of(
    tmp_path: Path, name: str, energy_ev: float
) -> None:
    adslab = make.adslabs()[0]
    adslab.calc.results["free_energy"] = adslab.calc.results["energy"] - 0.1
    (tmp_path / "runs").mkdir()
    slab = make.clean_slab()
    slab.calc.results["free_energy"] = slab.calc.results["energy"]
    write(tmp_path / "runs" / "slab.traj", slab)
    write(tmp_path / "runs" / "adslab.traj", adslab)
    content = read_label_sources([str(tmp_path / "runs")])
    found = read_labels_of(content, level(name), StatedReferences("total", make.GAS_EV))
    assert [label.energy_ev for label in found.labels] == [pytest.approx(energy_ev)]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (StatedReferences("adsorption"), "give --reference 'CO, H2O, H2, N2'"),
        (StatedReferences("adsorption", molecules="CH4, H2O, H2"), "references never meet"),
        (StatedReferences("adsorption", molecules="molecule"), "references never meet"),
        (StatedReferences("total", molecules="CO"), "--gas H2=-6.77"),
    ],
)
def test_references_are_those_of_the_level(
    tmp_path: Path, stated: StatedReferences, message: str
) -> None:
    path = make.write_extxyz(tmp_path / "frames.extxyz")
    with pytest.raises(UserError, match=message):
        read(path, stated)


def test_an_adsorbate_whose_gas_energy_is_missing_is_refused(tmp_path: Path) -> None:
    frames = [*make.adslabs(), make.clean_slab()]
    path = make.write_extxyz(tmp_path / "frames.extxyz", frames)
    found = read(path, StatedReferences("total", {"CO": -14.8}))
    assert [label.species.name for label in found.labels] == ["CO"]
    assert "no gas energy for H2, H2O, needed for O" in reason(found, "frames.extxyz#0")


def test_an_element_without_a_reference_is_refused(tmp_path: Path) -> None:
    sulphur = make.relaxed(make.placements()[0])
    sulphur.numbers[-1] = 16
    sulphur.info = {"adsorbate": "S", "energy_ev": -1.5}
    write(tmp_path / "frames.extxyz", sulphur)
    found = read(tmp_path / "frames.extxyz", ADSORPTION)
    assert "holds S, which has no gas reference" in reason(found, "frames.extxyz")


def test_an_adslab_without_its_clean_slab_is_refused(tmp_path: Path) -> None:
    path = make.write_extxyz(tmp_path / "frames.extxyz", [*make.adslabs(), *make.gases()])
    found = read(path)
    assert (len(found.labels), len(found.refused)) == (0, 3)
    assert "give its atoms tag 2" in reason(found, "frames.extxyz#0")
    named = read(path, surface=StatedSurface("O"))
    assert reason(named, "frames.extxyz#0").startswith("slab: no clean Cu")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", "<!DOCTYPE html><html>", "begins as a web page"),
        ("labels.csv", "structure,energy_kj_mol\na.cif,-95\n", "energies are in eV"),
        ("labels.csv", "structure,energy_ev,site\na.cif,-1,top\n", "labels.csv has site as well"),
        ("labels.csv", "file,value\na.cif,-1\n", "lacks structure, energy_ev"),
        ("labels.csv", "structure,energy_ev\n", "at least one row"),
        ("labels.db", "structure,energy_ev\n", "no database of ASE"),
        ("labels.md", "# labels\n", "no label is in"),
        ("frames.extxyz", "", "the file is empty; mend it"),
    ],
)
def test_a_file_that_is_no_source_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        read_label_sources([str(tmp_path / name)])
    assert "\n" not in str(refused.value)


def test_a_database_of_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as opened:
        opened.execute("CREATE TABLE candidate (id TEXT)")
    before = other.read_bytes()
    with pytest.raises(UserError, match="it has no table systems"):
        read_label_sources([str(other)])
    assert other.read_bytes() == before


def test_a_huge_table_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    huge = tmp_path / "labels.csv"
    with huge.open("wb") as file:
        file.truncate(70 * 2**20)
    with pytest.raises(UserError, match="at most 64 MiB"):
        read_label_sources([str(huge)])
    database = tmp_path / "rows.db"
    database.write_bytes(b"SQLite format 3\0")
    with database.open("r+b") as file:
        file.truncate(70 * 2**20)
    with pytest.raises(UserError, match="at most 64 MiB"):
        read_label_sources([str(database)])
    with pytest.raises(UserError, match="does not exist"):
        read_label_sources([str(tmp_path / "none.csv")])
    with pytest.raises(UserError, match="matches none"):
        read_label_sources([str(tmp_path / "*" / "OUTCAR")])
