from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.synthetic import rows as made_up
from support.synthetic import table

from model.contract import LevelEnergy
from model.data import rows
from model.data.kept_rows import REPLAY, write_compact_rows
from model.data.rows import read_rows
from model.data.splits import dataset_id, split
from model.errors import ModelError


def test_a_row_without_structure_is_a_configuration_of_text_alone(tmp_path: Path) -> None:
    pq.write_table(table(made_up("text")[:2]), tmp_path / "t.parquet")
    configuration = read_rows(tmp_path / "t.parquet")[0].configuration()
    assert configuration.numbers_N.shape == (0,)
    assert configuration.positions_N3.shape == (0, 3)
    assert configuration.cell_33.shape == (3, 3)
    assert configuration.text.startswith("O</s>Cu3Cu (1 1 1)</s>[O Cu atop")


def test_a_clean_slab_has_atoms_and_no_adsorbate_among_them(tmp_path: Path) -> None:
    pq.write_table(table(made_up("clean")[:1]), tmp_path / "t.parquet")
    configuration = read_rows(tmp_path / "t.parquet")[0].configuration()
    assert configuration.tags_N.tolist() == [0] * 4 + [1] * 4
    assert configuration.text == "O</s>Cu3Cu (1 1 1)</s>[]"


@pytest.mark.parametrize(
    ("extra", "group"),
    [({"group": ["g"]}, "g"), ({"bulk": ["CuPt"]}, "CuPt"), ({}, "clean0")],
)
def test_tables_without_groups_are_read_too(
    tmp_path: Path, extra: dict[str, list[str]], group: str
) -> None:
    pq.write_table(table(made_up("clean")[:1], **extra), tmp_path / "t.parquet")
    assert read_rows(tmp_path / "t.parquet")[0].group == group


def test_a_table_that_states_too_many_values_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(table(made_up("text")), tmp_path / "t.parquet")
    monkeypatch.setattr(rows, "MOST_TABLE_VALUES", 10)
    with pytest.raises(ModelError, match=r"at most 10 values, .*t\.parquet states"):
        read_rows(tmp_path / "t.parquet")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + b"\xff" * 200 + b"PAR1")
    with pytest.raises(ModelError, match="is not a Parquet training table"):
        read_rows(tmp_path / "t.parquet")


def test_a_table_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(table(made_up("clean")[:1]).drop_columns(["text"]), tmp_path / "t.parquet")
    with pytest.raises(ModelError, match="lacks the columns text"):
        read_rows(tmp_path / "t.parquet")


def test_a_label_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    pq.write_table(table([replace(made_up("text")[0], energy_ev=np.nan)]), tmp_path / "t.parquet")
    with pytest.raises(ModelError, match=r"row text0 .* not finite"):
        read_rows(tmp_path / "t.parquet")


def test_by_surface_no_surface_is_on_both_sides() -> None:
    train, held_out, _ = split(made_up("adslab"), report_fold=4, by="surface")
    assert held_out
    assert {row.group for row in train}.isdisjoint(row.group for row in held_out)


def test_by_surface_every_set_gives_its_share() -> None:
    rows = made_up("adslab") + made_up("text")
    _, held_out, _ = split(rows, report_fold=4, by="surface")
    counts = {name: sum(row.set == name for row in held_out) for name in ("adslab", "text")}
    # A fifth of 180 rows, and whole surfaces only: these sets are small.
    assert all(36 <= count < 54 for count in counts.values())


def test_a_set_on_one_surface_keeps_it_to_train_on() -> None:
    rows = [replace(row, group="one") for row in made_up("clean")]
    train, held_out, _ = split(rows, report_fold=4, by="surface")
    assert train
    assert not held_out


def test_by_pair_both_views_of_a_pair_stay_together() -> None:
    rows = made_up("adslab")
    ends = [replace(row, uid=f"{row.uid}#end", kind="relaxed") for row in rows]
    train, held_out, reported = split(rows + ends, report_fold=4)
    assert {row.pair for row in train}.isdisjoint(row.pair for row in held_out)
    assert {row.kind for row in held_out + reported} == {"unrelaxed"}
    assert {row.fold for row in reported} == {4}


def with_energies(row: rows.Row, *energies: LevelEnergy) -> rows.Row:
    return replace(row, energies=energies)


def test_kept_rows_keep_energies_at_other_levels(tmp_path: Path) -> None:
    one, other = made_up("adslab")[:2]
    kept = [with_energies(one, LevelEnergy("diep", "ab", -1.25)), other]
    write_compact_rows(tmp_path / REPLAY, kept)
    again = read_rows(tmp_path / REPLAY)
    assert [row.energies for row in again] == [row.energies for row in kept]
    assert again[0].configuration().energies_ev == {"diep": -1.25}


@pytest.mark.parametrize(
    ("energies", "said"),
    [
        ([LevelEnergy("diep", "ab", float("inf"))], "its hash and a number, row text0"),
        ([LevelEnergy("diep", "", -1.0)], "its hash and a number, row text0"),
        ([LevelEnergy("d", "ab", -1.0), LevelEnergy("d", "cd", -1.0)], "one energy at each level"),
    ],
)
def test_an_energy_at_another_level_that_says_nothing_is_refused(
    tmp_path: Path, energies: list[LevelEnergy], said: str
) -> None:
    write_compact_rows(tmp_path / REPLAY, [with_energies(made_up("text")[0], *energies)])
    with pytest.raises(ModelError, match=said):
        read_rows(tmp_path / REPLAY)


def test_other_energies_of_a_potential_are_another_data_set() -> None:
    row = made_up("text")[0]
    ids = {
        dataset_id([with_energies(row, LevelEnergy("diep", level_hash, energy_ev))])
        for level_hash, energy_ev in (("ab", -1.0), ("cd", -1.0), ("ab", -1.1))
    }
    assert len(ids | {dataset_id([row])}) == 4
