"""Imported labels are stored once, beside those computed here, and are trained on like them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import ase.io
import pytest
from sqlalchemy import text
from support import stored_rows as rows
from support.labels import own_labels as make
from support.stored_rows import new_database

from flows.learning.own_labels import (
    ImportRequest,
    RowReport,
    start_import,
    store_labels,
)
from flows.records.from_rows import stored_slabs
from model.contract import BondRule, Configuration, Domain, Prediction
from screening_db.database.engine import Database, open_database
from screening_db.errors import DatabaseError
from screening_db.learning.imported_labels import imported_notes
from screening_db.learning.labels import training_labels
from screening_db.queries import candidates_by_id
from screening_db.queries.labels import find_label
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import record_checkpoint, record_chunk, record_level
from screening_db.tables.screening import LevelOfTheoryRow
from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import level
from tasks.prediction.featurise import configuration_text
from tasks.prediction.predict import predict_again
from tasks.training_data.from_labels import training_rows
from tasks.training_data.imported.reconstruction import ReadLabels, read_labels_of
from tasks.training_data.imported.sources import read_label_sources
from tasks.training_data.imported.stated_references import StatedReferences

EMT = level("emt")
ADSORPTION = StatedReferences("adsorption", molecules="CO, H2O, H2")


class FixedPredictor:
    """Predicts one energy for all."""

    checkpoint_sha256 = "c" * 64
    bond_rule: BondRule = "radii"
    domain = Domain({})

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        return [
            Prediction(c.candidate_id, c.level, self.checkpoint_sha256, -1.0, 0.1, 0.0, 0.0, True)
            for c in configurations
        ]


def request(tmp_path: Path, source: Path, **changed: object) -> ImportRequest:
    stated: dict[str, object] = {
        "sources": [str(source)],
        "level": "emt",
        "energies": "adsorption",
        "reference": "CO, H2O, H2",
        "database": str(tmp_path / "labels.db"),
    }
    return ImportRequest(**{**stated, **changed})  # type: ignore[arg-type]  # as the fields are


def states(rows: list[RowReport]) -> list[str]:
    return [row.state for row in rows]


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    db = open_database(path, create=False)
    names = ("slab", "stored_candidate", "pair", "label", "calculation", "adsorbate")
    with db.read() as session:
        found = {
            name: [tuple(row) for row in session.execute(text(f"select * from {name}"))]
            for name in names
        }
    db.close()
    return found


@pytest.mark.medium
def test_importing_twice_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    assert states(start_import(request(tmp_path, table))) == ["stored"] * 3
    before = content(tmp_path / "labels.db")
    assert "labels that are trained on" in capsys.readouterr().out
    assert states(start_import(request(tmp_path, table))) == ["known"] * 3
    assert content(tmp_path / "labels.db") == before
    assert [len(before[name]) for name in ("label", "calculation", "pair")] == [3, 3, 3]


@pytest.mark.medium
def test_each_row_is_counted_once_and_named_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = make.write_extxyz(tmp_path / "frames.extxyz")
    with frames.open("a") as file:
        file.write('1\nLattice="9 0 0 0 9 0 0 0 9" energy=1.0\nXq 0 0 0\n')
    report = tmp_path / "rows.csv"
    asked = request(tmp_path, frames, energies="total", reference="", report=report)
    rows = start_import(asked)
    assert sorted(states(rows)) == ["reference"] * 4 + ["refused"] + ["stored"] * 3
    assert len(report.read_text().splitlines()) == 9
    assert "1 refused: structure" in capsys.readouterr().out


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "learn.db")
    yield made
    made.close()


def read(path: Path) -> ReadLabels:
    return read_labels_of(read_label_sources([str(path)]), EMT, ADSORPTION)


def test_imported_labels_train_like_computed_ones_and_say_their_source(
    tmp_path: Path, db: Database
) -> None:
    labels = read(make.write_table(tmp_path / "labels.csv"))
    store_labels(db, labels, EMT, "from the cluster", 0.05)
    found = training_labels(db, "emt", EMT.level_hash)
    rows = training_rows(found, EMT.level_hash, "radii")
    assert (rows.n_labels, rows.excluded, len(rows.imported)) == (3, (), 3)
    energies = {row.adsorbate: row.energy_ev for row in rows.rows}
    assert energies == pytest.approx(make.ENERGIES_EV)
    assert {row.kind for row in rows.rows} == {"unrelaxed", "relaxed"}
    assert all(label.source.startswith("from the cluster, labels.csv:") for label in found.taken)
    notes = imported_notes(db, "emt")
    assert set(notes) == {label.candidate_id for label in found.taken}


def stored_first(db: Database, table: Path) -> tuple[ReadLabels, list[str]]:
    labels = read(table)
    store_labels(db, labels, EMT, "mine", 0.05)
    return labels, [label.candidate_id for label in labels.labels]


def test_an_import_before_its_campaign_is_predicted_by_another_checkpoint(
    tmp_path: Path, db: Database
) -> None:
    labels, ids = stored_first(db, make.write_table(tmp_path / "labels.csv"))
    predictor = FixedPredictor()
    adsorbates = {name: adsorbate(name) for name in make.ENERGIES_EV}
    scored = predict_again(stored_slabs(db, ids, {}), adsorbates, level="emt", predictor=predictor)
    texts = {one.candidate_id: one.text for one in scored}
    assert texts == {
        label.candidate_id: configuration_text(
            label.start, label.species.name, "Cu", (1, 1, 1), "radii"
        )
        for label in labels.labels
    }


def test_a_screening_that_places_an_imported_candidate_gives_its_recipe(
    tmp_path: Path, db: Database
) -> None:
    _, (first, *_) = stored_first(db, make.write_table(tmp_path / "labels.csv"))
    record_checkpoint(db, rows.checkpoint())
    record_campaign(db, rows.campaign())
    (old,) = candidates_by_id(db, [first]).values()
    made = rows.candidate(first, old.pair_id, old.slab_id, adsorbate="O")
    record_chunk(db, "first", "chunk", [made], [], [])
    (now,) = candidates_by_id(db, [first]).values()
    assert (now.recipe, now.site) == (made.recipe, "bridge Cu-Pt")
    assert now.structure == old.structure
    record_chunk(
        db, "first", "again", [rows.candidate(first, old.pair_id, old.slab_id, site="-")], [], []
    )
    (kept,) = candidates_by_id(db, [first]).values()
    assert kept.site == "bridge Cu-Pt"


def test_a_row_that_is_not_converged_and_has_no_forces_is_flagged(
    tmp_path: Path, db: Database
) -> None:
    table = make.write_table(
        tmp_path / "labels.csv", {0: {"converged": "no"}, 1: {"converged": ""}}
    )
    for path in (tmp_path / "structures").glob("*.traj"):
        atoms = ase.io.read(path)
        atoms.calc = None
        ase.io.write(path, atoms)
    _, (first, *_) = stored_first(db, table)
    label = find_label(db, first, "emt")
    assert label is not None
    assert (label.trainable, label.flag_numbers) == (False, {"ions_not_converged": [None, 0.05]})


@pytest.mark.medium
def test_labels_that_contradict_each_other_are_both_kept_and_both_named(
    tmp_path: Path, db: Database
) -> None:
    first = read(make.write_table(tmp_path / "first.csv"))
    changed = {0: {"energy_ev": "-1.3"}, 1: {"energy_ev": "-0.31"}}
    second = read(make.write_table(tmp_path / "second.csv", changed))
    store_labels(db, first, EMT, "first", 0.05)
    results = store_labels(db, second, EMT, "second", 0.05)
    assert [each.state for each in results] == ["contradicted", "duplicate", "known"]
    assert results[0].other.startswith("first, first.csv:2: -1.500 eV")
    kept = find_label(db, first.labels[0].candidate_id, "emt")
    assert kept is not None
    assert (kept.energy_ev, kept.trainable, kept.flags) == (-1.5, False, ["contradicted"])
    with db.read() as session:
        notes = session.execute(
            text("select note from calculation where item = :id order by attempt"),
            {"id": kept.candidate_id},
        ).scalars()
        assert [note.partition(" eV")[0] for note in notes] == [
            "first, first.csv:2: -1.500",
            "second, second.csv:2: -1.300",
        ]


@pytest.mark.medium
def test_contradictions_within_one_source_name_both_rows(tmp_path: Path, db: Database) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    with table.open("a") as file:
        file.write("structures/O.traj,-1.2,O\n")
    results = store_labels(db, read(table), EMT, "mine", 0.05)
    assert [each.state for each in results] == ["contradicted", "stored", "stored", "contradicted"]
    assert "labels.csv:5" in results[0].other
    assert "labels.csv:2" in results[3].other
    assert len(training_labels(db, "emt", EMT.level_hash).taken) == 2


def test_a_level_with_another_hash_is_refused(tmp_path: Path, db: Database) -> None:
    record_level(
        db,
        LevelOfTheoryRow(
            name="emt", level_hash="e" * 64, engine="emt", functional="", settings={}, reference={}
        ),
    )
    labels = read(make.write_table(tmp_path / "labels.csv"))
    with pytest.raises(DatabaseError, match="one name and one hash"):
        store_labels(db, labels, EMT, "mine", 0.05)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"level": "pbe-of-mine"}, "no level of theory is called 'pbe-of-mine'"),
        ({"level": "none.yaml"}, "none.yaml cannot be read"),
        ({"reference": ""}, "give --reference"),
        ({"energies": "total", "reference": "", "gas": ["H2"]}, "given as H2=-6.77"),
        ({"energies": "total", "reference": "", "gas": ["H2=-6", "H2=-7"]}, "has two"),
        ({"report": Path("nowhere/rows.csv")}, "a folder that exists"),
    ],
)
def test_a_bad_request_is_one_line(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    with pytest.raises(UserError, match=message) as refused:
        start_import(request(tmp_path, table, **changed))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "labels.db").exists()
