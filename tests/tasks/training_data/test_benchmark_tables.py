import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms
from ase.io import write

from model.data.rows import TABLE_SCHEMA, read_rows
from model.text.configuration_text import parse_text
from tasks.errors import UserError
from tasks.structures.standard_frame import clean_frame, standard_frame
from tasks.training_data import benchmark_tables as command
from tasks.training_data.assemble import assemble_table, set_rows
from tasks.training_data.assemble import main as assemble_main
from tasks.training_data.benchmark_tables import PUBLISHED
from tasks.training_data.sources import BENCHMARKS, SETS, SetSpec, sets_by_name

TEXT = "CO</s>Cu3Pt (1 1 0)</s>[C Cu atop [Cu Cu Pt C]]"


def spec(name: str) -> SetSpec:
    return sets_by_name([name], (*SETS, *BENCHMARKS))[0]


def clean(symbols: str = "Cu3Pt") -> Atoms:
    """Return a clean slab whose top layer has relaxed unevenly."""
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.symbols = symbols * (12 // len(Atoms(symbols)))
    slab.set_constraint(FixAtoms(indices=range(8)))
    slab.positions[-1, 2] += 0.6
    slab.set_tags(0)
    return slab


def above(slab: Atoms, height_ang: float) -> Atoms:
    """Return a slab with an oxygen atom over its highest corner."""
    x, y, z = slab.positions.max(axis=0).tolist()
    return slab + Atoms("O", positions=[(x, y, z + height_ang)])


def store(path: Path, frames: list[Atoms]) -> None:
    plain = path.with_suffix("")
    write(plain, frames, format="extxyz")
    with lzma.open(path, "wt") as file:
        file.write(plain.read_text())


def write_alloys(folder: Path) -> None:
    frames = []
    for number, (surface, slab) in enumerate((("Cu3Pt", clean()), ("CuPt", clean("CuPt")))):
        slab.info.update(
            uid=f"alloy/{number}",
            adsorbate="CO",
            surface=surface,
            facet="(111)/(101)",
            e_ads=-0.5,
            fold=number,
        )
        frames.append(slab)
    store(folder / spec("alloy_gmae").file, frames)


def write_texts(folder: Path) -> None:
    record = {
        "uid": "text/0",
        "surface": "Cu3Pt",
        "facet": "(1 1 0)",
        "e_ads": 0.25,
        "fold": 3,
        "text": TEXT,
        "pred_a": 0.5,
        "pred_b": float("nan"),
    }
    pq.write_table(pa.Table.from_pylist([record]), folder / spec("oc20_text").file)


def test_the_top_layer_of_a_clean_slab_is_tagged_however_it_relaxed() -> None:
    framed = clean_frame(clean())
    assert framed.get_tags().tolist() == [0] * 8 + [1] * 4


def test_a_clean_slab_that_hangs_is_turned_with_its_held_atoms_down() -> None:
    hanging = clean()
    hanging.rotate(180.0, (1.0, 0.3, 0.0), rotate_cell=True)
    framed = clean_frame(hanging)
    assert framed.positions[:8, 2].max() < framed.positions[8:, 2].min()
    np.testing.assert_allclose(
        framed.get_all_distances(mic=True), clean_frame(clean()).get_all_distances(mic=True)
    )


def test_a_clean_slab_without_held_atoms_is_refused() -> None:
    slab = clean()
    slab.set_constraint()
    with pytest.raises(UserError, match="held atoms below and free atoms above"):
        clean_frame(slab)


def test_layers_of_unequal_size_are_refused() -> None:
    slab = clean()
    del slab[[0]]
    with pytest.raises(UserError, match="equally many atoms, got 3 in the lowest one of 11"):
        clean_frame(slab)


def test_a_tag_tells_the_adsorbate_where_the_slab_holds_its_elements() -> None:
    nitride = fcc111("Cu", (2, 2, 2), vacuum=8.0)
    nitride.symbols = "CuN" * 4
    atoms = above(nitride, 1.2)
    atoms.set_tags([0] * 8 + [1])
    framed = standard_frame(atoms, 1)
    assert framed.get_chemical_formula() == "Cu4N4O"
    assert np.flatnonzero(framed.get_tags() == 2).tolist() == [8]
    with pytest.raises(UserError, match=r"adsorbate \(tag 7\) atoms"):
        standard_frame(atoms, 7)


def test_alloys_enter_as_clean_slabs_named_with_their_own_facet(tmp_path: Path) -> None:
    write_alloys(tmp_path)
    rows, report = set_rows(tmp_path, spec("alloy_gmae"))
    assert [row.text for row in rows] == ["CO</s>Cu3Pt (1 1 1)</s>[]", "CO</s>CuPt (1 0 1)</s>[]"]
    assert [row.kind for row in rows] == ["clean", "clean"]
    assert [row.group for row in rows] == ["Cu3Pt", "CuPt"]
    assert (report.frames, report.rows) == (2, 2)


def test_texts_enter_verbatim_and_without_a_structure(tmp_path: Path) -> None:
    write_texts(tmp_path)
    (row,), _ = set_rows(tmp_path, spec("oc20_text"))
    assert row.text == TEXT
    assert (row.kind, row.level, row.bulk, row.miller) == ("text", "rpbe-oc20", "Cu3Pt", (1, 1, 0))
    assert row.numbers == row.positions == row.cell == row.tags == ()


def test_the_command_writes_tables_that_a_model_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_alloys(tmp_path)
    write_texts(tmp_path)
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    command.main([*arguments, "--sets", "alloy_gmae", "oc20_text"])
    said = capsys.readouterr().out
    assert "alloy_gmae: 2 of 2 frames, 2 rows\n  no licence" in said
    assert "1 published predictions" in said
    for name, count in (("alloy_gmae", 2), ("oc20_text", 1)):
        rows = read_rows(tmp_path / "out" / f"{name}.parquet")
        assert len(rows) == count
        assert all(parse_text(row.configuration().text).adsorbate == "CO" for row in rows)


def test_published_predictions_name_the_rows_they_are_of(tmp_path: Path) -> None:
    write_texts(tmp_path)
    list(command.benchmark_tables(tmp_path, ["oc20_text"], tmp_path / "out"))
    records = pq.read_table(tmp_path / "out" / PUBLISHED).to_pylist()
    assert records == [{"uid": "text/0#text", "model": "a", "energy_ev": 0.5}]


def test_a_set_without_a_licence_does_not_enter_what_ships(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "train.parquet"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--sets", "fg", "gaspy_oh"]
    with pytest.raises(SystemExit, match="2"):
        assemble_main(arguments)
    line = capsys.readouterr().err
    assert line.startswith("sabatier: a table for checkpoints that ship holds licensed sets only")
    assert "gaspy_oh states no licence" in line
    assert "tasks.training_data.benchmark_tables" in line
    assert not out.exists()


def test_every_set_that_ships_by_default_has_a_licence() -> None:
    assert all(one.ships for one in SETS)
    assert not spec("hea_orr").ships
    assert spec("oc20_text").ships


def test_each_set_is_a_level_of_its_own() -> None:
    levels = [one.level for one in (*SETS, *BENCHMARKS)]
    assert len(set(levels)) == len(levels)


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sets are fg, .*; got oc22"):
        list(command.benchmark_tables(tmp_path, ["oc22"], tmp_path))


def test_initial_frames_bring_their_relaxed_ends(tmp_path: Path) -> None:
    fg = spec("fg")
    start = above(clean(), 1.4)
    start.info.update(uid="fg/0", adsorbate="O", surface="Cu", facet="(111)", e_ads=-1.0, fold=2)
    end = start.copy()
    end.positions[-1, 2] -= 0.2
    store(tmp_path / fg.file, [start])
    store(tmp_path / fg.ends, [end])
    rows, report = set_rows(tmp_path, fg)
    assert [row.kind for row in rows] == ["initial", "relaxed"]
    assert len({row.pair for row in rows}) == 1
    assert rows[0].positions[-1] - rows[1].positions[-1] == pytest.approx(0.2, abs=1e-6)
    assert report.frames == 1


def test_parts_written_before_there_were_groups_join_the_table(tmp_path: Path) -> None:
    write_texts(tmp_path)
    (row,), _ = set_rows(tmp_path, spec("oc20_text"))
    old = pa.Table.from_pylist([replace(row, group="").__dict__], schema=TABLE_SCHEMA)
    pq.write_table(old.drop_columns(["group"]), tmp_path / "part-0.parquet")
    list(assemble_table(tmp_path, tmp_path, tmp_path / "out.parquet", ["oc20_text"]))
    groups = pq.read_table(tmp_path / "out.parquet")["group"].to_pylist()
    assert groups == ["Cu3Pt", "Cu3Pt"]
