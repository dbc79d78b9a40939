"""Checkpoints and levels are compared with the labels of a campaign, imported ones too."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support import stored_rows as rows
from support.labels import own_labels as make
from support.labels.differences import labelled, learnt

from flows.errors import CampaignError
from flows.learning.fit import start_fit
from flows.learning.own_labels import store_labels
from flows.records.to_rows import level_row
from model.contract import LevelEnergy
from model.errors import ModelError
from model.prediction.difference import Potential
from screening_db.database.engine import open_database
from screening_db.errors import NoDatabaseError
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import record_checkpoint, record_level
from tasks.levels import level
from tasks.training_data.imported.reconstruction import read_labels_of
from tasks.training_data.imported.sources import read_label_sources
from tasks.training_data.imported.stated_references import StatedReferences

CONFIG = {
    "name": "first",
    "bulks": {"elements": ["Cu"]},
    "adsorbates": ["O", "H", "CO"],
    "target": {"O": {"window": [-2.0, -1.2]}},
    "level": "emt",
    "model": "baseline",
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Give a database with a campaign and no labels."""
    path = tmp_path / "fit.db"
    db = open_database(path)
    record_level(db, level_row(level("emt")))
    record_checkpoint(db, rows.checkpoint())
    record_campaign(db, rows.campaign(config=json.dumps(CONFIG)))
    db.close()
    return path


def add_labels(database: Path, table: Path, name: str) -> None:
    stated = StatedReferences("adsorption", molecules="CO, H2O, H2")
    labels = read_labels_of(read_label_sources([str(table)]), level(name), stated)
    db = open_database(database, create=False)
    results = store_labels(db, labels, level(name), "mine", 0.05)
    db.close()
    assert [each.state for each in results] == ["stored"] * 3


@pytest.mark.medium
def test_imported_labels_are_compared_with_a_checkpoint_and_a_level(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    add_labels(database, table, "emt")
    moved = {i: {"energy_ev": str(e + 0.2)} for i, e in enumerate(make.ENERGIES_EV.values())}
    add_labels(database, make.write_table(tmp_path / "other.csv", moved), "diep-r2scan")
    fits = {fit.name: fit for fit in start_fit("first", ["baseline"], str(database))}
    potential = fits["level diep-r2scan"]
    assert (potential.labels, potential.mae.value) == (3, pytest.approx(0.2))
    (name,) = [each for each in fits if each.startswith("baseline ")]
    assert fits[name].labels == 3
    assert fits[name].mae.value > 0
    said = capsys.readouterr().out
    assert "3 labels at emt, 3 imported" in said
    assert "are needed to say which to trust" in said


def test_a_campaign_without_labels_is_one_line(database: Path) -> None:
    with pytest.raises(CampaignError, match="sabatier import labels"):
        start_fit("first", [], str(database))


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDatabaseError, match=r"none\.db"):
        start_fit("first", [], str(tmp_path / "none.db"))


@pytest.mark.medium
def test_a_checkpoint_that_cannot_be_loaded_is_left_out(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_labels(database, make.write_table(tmp_path / "labels.csv"), "emt")
    with pytest.raises(CampaignError, match="no checkpoint and no other level"):
        start_fit("first", ["nowhere"], str(database))
    assert "left out: nowhere" in caplog.text


@pytest.mark.medium
def test_a_difference_is_judged_by_the_labels_that_were_relaxed(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_labels(database, make.write_table(tmp_path / "labels.csv"), "emt")
    potential = level("diep-r2scan")
    start = LevelEnergy(potential.name, potential.level_hash, 0.0)
    train = [
        replace(row, level="emt", energies=(replace(start, energy_ev=row.energy_ev),))
        for row in labelled()
    ]
    on = (Potential(potential.name, potential.level_hash),)
    learnt(tmp_path / "difference", train, on=on)
    with pytest.raises(CampaignError, match="no checkpoint and no other level"):
        start_fit("first", [str(tmp_path / "difference")], str(database))
    assert "which none of the labels has" in caplog.text
    add_labels(database, make.write_table(tmp_path / "other.csv"), potential.name)
    fits = {
        fit.name: fit for fit in start_fit("first", [str(tmp_path / "difference")], str(database))
    }
    (name,) = [each for each in fits if "difference" in each]
    assert fits[name].labels == 3
    assert fits[name].mae.value == pytest.approx(0.0, abs=0.02)


@pytest.mark.medium
def test_one_level_or_checkpoint_that_fails_leaves_the_others(
    tmp_path: Path,
    database: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    for name in ("emt", "diep-r2scan", "vasp-oc20"):
        add_labels(database, table, name)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("update label set level_hash = ? where level = 'vasp-oc20'", ["f" * 64])
        opened.execute("pragma foreign_keys = off")
        opened.execute(
            "update level_of_theory set name = 'lost', functional = 'x' where name = 'diep-r2scan'"
        )
        opened.execute("update label set level = 'lost' where level = 'diep-r2scan'")

    def fail(*_: object) -> None:
        raise ModelError("it does not answer")

    monkeypatch.setattr("model.prediction.baseline.BaselinePredictor.predict", fail)
    with pytest.raises(CampaignError, match="no checkpoint and no other level"):
        start_fit("first", ["baseline"], str(database))
    assert "left out: baseline: it does not answer" in caplog.text
    assert "left out: level lost: level lost was recorded with hash" in caplog.text
