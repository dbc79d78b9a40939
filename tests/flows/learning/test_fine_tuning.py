"""A fine-tuning is named by what goes in, judged once, and serves only if the gate lets it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text
from support.stored_rows import new_database

from flows.config.campaign import Learning
from flows.learning.fine_tuning import (
    FineTuningInputs,
    FineTuningResult,
    fine_tune_on_labels,
    run_fine_tuning,
)
from flows.records.checkpoints import serving_checkpoint
from model.checkpoint import QE_CATALYTIC, Checkpoint, seal
from model.data.rows import Row
from model.errors import ModelError
from model.fine_tuning.gate import GateVerdict
from model.training.recipes import TuneRecipe
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.serving import promotions, serving_sha256
from screening_db.queries.campaigns import find_campaign
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import record_checkpoint, record_level
from screening_db.tables.screening import CampaignRow, CheckpointRow, LevelOfTheoryRow
from tasks.errors import UserError
from tasks.training_data.from_labels import TrainingSet


def sealed(folder: Path, dataset: str) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(f'{{"dataset": "{dataset}", "method": "heads"}}')
    return seal(folder, QE_CATALYTIC)


@dataclass
class FakeTraining:
    """Stands for a training and a gate that take minutes: done at once, and counted."""

    accepts: bool = True
    fault: str = ""
    trained: list[Path] = field(default_factory=list)

    def train(
        self, parent: str, rows: Sequence[Row], folder: Path, *_: object, **__: object
    ) -> Checkpoint:
        if self.fault:
            raise ModelError(self.fault)
        self.trained.append(folder)
        return sealed(folder / "checkpoint", "labels")

    def judge(self, *_: object, **__: object) -> GateVerdict:
        return GateVerdict(self.accepts, () if self.accepts else ("it is worse",), {"errors": {}})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return sealed(tmp_path / "base", "").folder


@pytest.fixture
def db(tmp_path: Path, base: Path) -> Iterator[Database]:
    """Give a campaign that uses the model in ``base``, and is verified where it is predicted."""
    made = new_database(tmp_path / "learn.db")
    for name in ("emt", "other"):
        level = LevelOfTheoryRow(
            name=name, level_hash=name, engine="emt", functional="", settings={}, reference={}
        )
        record_level(made, level)
    first = CheckpointRow(
        sha256=sealed(base, "").sha256, name=str(base), kind=QE_CATALYTIC, card={}
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
def fake() -> FakeTraining:
    return FakeTraining()


@dataclass
class Tuner:
    """Fine-tunes the model in ``base`` on 40 labels, as often as it is called."""

    db: Database
    model: str
    models: Path
    fake: FakeTraining

    def __call__(self) -> FineTuningResult:
        inputs = FineTuningInputs(
            campaign=find_campaign(self.db, "mine"),
            model=self.model,
            parent=serving_checkpoint(self.db, self.model),
            labels=TrainingSet((), "labels", "emt", "emt", 40, {}, ()),
            recipe=TuneRecipe(method="heads"),
        )
        folder = self.models / inputs.tuning.id[:16]
        return run_fine_tuning(
            self.db, inputs, folder, train=self.fake.train, judge=self.fake.judge
        )

    @property
    def serving(self) -> str | None:
        return serving_sha256(self.db, self.model)


@pytest.fixture
def tuner(db: Database, base: Path, tmp_path: Path, fake: FakeTraining) -> Tuner:
    return Tuner(db, str(base), tmp_path / "models", fake)


def test_a_candidate_that_the_gate_accepts_serves(tuner: Tuner) -> None:
    done = tuner()
    assert done.accepted
    assert tuner.serving == done.serving
    (row,) = fine_tunings(tuner.db)
    assert (row.state, row.checkpoint_sha256, row.n_labels) == ("accepted", done.serving, 40)


def test_a_candidate_that_the_gate_refuses_is_kept_with_its_numbers_and_does_not_serve(
    tuner: Tuner,
) -> None:
    tuner.fake.accepts = False
    assert not tuner().accepted
    assert tuner.serving is None
    (row,) = fine_tunings(tuner.db)
    assert row.state == "rejected"
    assert row.report["reasons"] == ["it is worse"]


def test_killed_before_its_promotion_it_is_promoted_by_the_next_call_and_not_trained_again(
    tuner: Tuner,
) -> None:
    with tuner.db.write() as session:
        session.execute(
            text(
                "CREATE TRIGGER killed BEFORE INSERT ON promotion "
                "BEGIN SELECT RAISE(ABORT, 'killed'); END"
            )
        )
    with pytest.raises(DatabaseError, match="killed"):
        tuner()
    assert tuner.serving is None  # the parent serves until the candidate does
    with tuner.db.write() as session:
        session.execute(text("DROP TRIGGER killed"))
    done = tuner()
    assert tuner.serving == done.serving
    assert len(tuner.fake.trained) == 1
    assert len(promotions(tuner.db, tuner.model)) == 1


def test_the_serving_checkpoint_is_not_trained_again_on_its_own_labels(tuner: Tuner) -> None:
    first, again = tuner(), tuner()
    assert (again.serving, again.verdict) == (first.serving, first.verdict)
    assert len(tuner.fake.trained) == 1


def test_a_refused_candidate_is_not_trained_again_on_the_same_labels(tuner: Tuner) -> None:
    tuner.fake.accepts = False
    assert tuner() == tuner()
    assert len(tuner.fake.trained) == 1


def test_a_failed_training_is_recorded_and_may_be_tried_again(tuner: Tuner) -> None:
    tuner.fake.fault = "fine-tuning needs at least 25 labels to learn from, got 3"
    with pytest.raises(ModelError, match="at least 25 labels"):
        tuner()
    (row,) = fine_tunings(tuner.db)
    assert (row.state, row.checkpoint_sha256) == ("failed", None)
    tuner.fake.fault = ""
    assert tuner().accepted


def test_labels_of_another_level_than_the_predictions_are_refused(
    db: Database, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="a model learns the level it predicts at"):
        fine_tune_on_labels(db, find_campaign(db, "two-levels"), str(base), Learning(), tmp_path)
    assert fine_tunings(db) == []
