"""A fine-tuning is named by what goes in, judged once, and serves only if the gate lets it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.databases import new_database

from flows.config.campaign import Learning
from flows.learning import fine_tuning as module
from flows.learning.fine_tuning import fine_tune_on_labels
from model.checkpoint import QE_CATALYTIC, Checkpoint, seal
from model.data.rows import Row
from model.errors import ModelError
from model.fine_tuning.gate import GateVerdict
from screening_db.database.engine import Database
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.serving import promotions, serving_sha256
from screening_db.queries.campaigns import find_campaign
from screening_db.records.campaigns import record_campaign
from screening_db.records.enumeration import record_level
from screening_db.records.predictions import record_checkpoint
from screening_db.tables.screening import CampaignRow, CheckpointRow, LevelOfTheoryRow
from tasks.errors import UserError
from tasks.training_data.from_labels import TrainingSet


class KilledError(Exception):
    pass


def sealed(folder: Path, dataset: str) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(f'{{"dataset": "{dataset}", "method": "heads"}}')
    return seal(folder, QE_CATALYTIC)


@dataclass
class Work:
    """What learning calls that takes minutes, done at once and counted."""

    accepts: bool = True
    killed_before_promotion: bool = False
    trained: list[Path] = field(default_factory=list)

    def fine_tune(
        self, parent: str, rows: Sequence[Row], folder: Path, *_: object, **__: object
    ) -> Checkpoint:
        self.trained.append(folder)
        return sealed(folder / "checkpoint", "labels")

    def judge(self, *_: object, **__: object) -> GateVerdict:
        return GateVerdict(self.accepts, () if self.accepts else ("it is worse",), {"errors": {}})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return sealed(tmp_path / "base", "").folder


@pytest.fixture
def db(tmp_path: Path, place: Path) -> Iterator[Database]:
    """Give a campaign that uses the model in ``place``, and is verified where it is predicted."""
    made = new_database(tmp_path / "learn.db")
    for name in ("emt", "other"):
        level = LevelOfTheoryRow(
            name=name, level_hash=name, engine="emt", functional="", settings={}, reference={}
        )
        record_level(made, level)
    first = CheckpointRow(
        sha256=sealed(place, "").sha256, name=str(place), kind=QE_CATALYTIC, card={}
    )
    record_checkpoint(made, first)
    for name, verified in (("mine", None), ("two-levels", "other")):
        row = CampaignRow(
            name=name,
            config_sha256=name,
            config="",
            level="emt",
            checkpoint_sha256=first.sha256,
            seed=0,
            verification_level=verified,
        )
        record_campaign(made, row)
    yield made
    made.close()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    done = Work()
    labels = TrainingSet((), "labels", "emt", "emt", 40, {}, ())
    monkeypatch.setattr(module, "campaign_training_set", lambda *_: labels)
    monkeypatch.setattr(
        module, "record_outside_checkpoint", lambda *_: None
    )  # the fixture recorded it
    monkeypatch.setattr(module, "fine_tune", done.fine_tune)
    monkeypatch.setattr(module, "judge_candidate", done.judge)
    promote = module.promote

    def once_killed(*given: object, **named: object) -> None:
        if done.killed_before_promotion:
            done.killed_before_promotion = False
            raise KilledError
        promote(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "promote", once_killed)
    return done


def learnt(
    db: Database, place: Path, tmp_path: Path, campaign: str = "mine"
) -> module.FineTuningResult:
    row = find_campaign(db, campaign)
    return fine_tune_on_labels(db, row, str(place), Learning(), tmp_path / "models")


def test_what_the_gate_accepts_serves(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    done = learnt(db, place, tmp_path)
    assert done.accepted
    assert serving_sha256(db, str(place)) == done.serving
    (row,) = fine_tunings(db)
    assert (row.state, row.checkpoint_sha256, row.n_labels) == ("accepted", done.serving, 40)


def test_what_the_gate_refuses_is_kept_with_its_numbers_and_does_not_serve(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    work.accepts = False
    done = learnt(db, place, tmp_path)
    assert not done.accepted
    assert serving_sha256(db, str(place)) is None
    (row,) = fine_tunings(db)
    assert row.state == "rejected"
    assert row.report["reasons"] == ["it is worse"]


def test_killed_before_its_promotion_it_is_promoted_by_the_next_call_and_not_trained_again(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    work.killed_before_promotion = True
    with pytest.raises(KilledError):
        learnt(db, place, tmp_path)
    assert serving_sha256(db, str(place)) is None  # the parent serves until the candidate does
    done = learnt(db, place, tmp_path)
    assert serving_sha256(db, str(place)) == done.serving
    assert len(work.trained) == 1
    assert len(promotions(db, str(place))) == 1


def test_labels_that_it_knows_teach_the_serving_checkpoint_nothing_again(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    first = learnt(db, place, tmp_path)
    again = learnt(db, place, tmp_path)
    assert (again.serving, again.verdict) == (first.serving, first.verdict)
    assert len(work.trained) == 1


def test_a_refused_candidate_is_not_trained_again_on_the_same_labels(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    work.accepts = False
    assert learnt(db, place, tmp_path) == learnt(db, place, tmp_path)
    assert len(work.trained) == 1


def test_a_training_that_cannot_be_is_recorded_as_failed_and_may_be_tried_again(
    db: Database, place: Path, tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Checkpoint:
        raise ModelError("fine-tuning needs at least 25 labels to learn from, got 3")

    with monkeypatch.context() as patch:
        patch.setattr(module, "fine_tune", refuse)
        with pytest.raises(ModelError, match="at least 25 labels"):
            learnt(db, place, tmp_path)
    (row,) = fine_tunings(db)
    assert (row.state, row.checkpoint_sha256) == ("failed", None)
    assert learnt(db, place, tmp_path).accepted


def test_labels_of_another_level_than_the_predictions_teach_nothing(
    db: Database, place: Path, tmp_path: Path, work: Work
) -> None:
    with pytest.raises(UserError, match="a model learns the level it predicts at"):
        learnt(db, place, tmp_path, "two-levels")
    assert fine_tunings(db) == []
