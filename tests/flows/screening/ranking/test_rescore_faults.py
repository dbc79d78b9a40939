"""A re-scoring or rollback that breaks off anywhere leaves one ranking, and goes on to the end."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from flows.cluster.workers import ClusterPlan
from flows.learning.promotion import promote_by_hand, roll_back_model
from flows.records.checkpoints import serving_checkpoint
from flows.records.from_rows import stored_adsorbates
from flows.screening.flow import Runtime
from flows.screening.ranking.rescore import Rescoring, RescoringRequest, RescoringResult, rescore
from flows.screening.scoring import store_predictions
from model.prediction.predictor import load_predictor
from screening_db.database.engine import Database, open_database
from screening_db.learning.serving import promotions, serving_sha256
from screening_db.learning.stale import is_stale, model_of_campaign, stale_predictions
from screening_db.queries.campaigns import funnel_counts
from screening_db.records import ranking
from tasks.prediction.predict import predict_again

pytestmark = [pytest.mark.slow, pytest.mark.full]

CONTROL = Runtime(ClusterPlan(workers=1))
RANKING = ("rank", "campaign_item", "queue", "campaign")


class BrokenOffError(Exception):
    """Stands for a kill."""


def rows(db: Database, *names: str) -> list[Any]:
    with db.read() as session:
        return [sorted(map(str, session.execute(text(f"select * from {name}")))) for name in names]


def predict_here(run: Rescoring, _: Runtime, stop_after: int | None = None) -> None:
    """Do what the flow does, without Prefect and Dask; break off after so many chunks."""
    predictor = load_predictor(run.checkpoint.location)
    for number, (chunk_id, slabs) in enumerate(run.chunks.items()):
        if number == stop_after:
            raise BrokenOffError
        names = {c.adsorbate for slab in slabs for c in slab.candidates}
        order = RescoringRequest(stored_adsorbates(run.database, names), run.campaign.level)
        scored = predict_again(slabs, order.adsorbates, level=order.level, predictor=predictor)
        store_predictions(run.store, chunk_id, scored)


def rescore_here(db: Database, *, stop_after: int | None = None, **named: Any) -> RescoringResult:
    return rescore(
        db, "tiny", CONTROL, predict=partial(predict_here, stop_after=stop_after), **named
    )


@pytest.fixture
def opened(screened: tuple[Any, Any], tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Return a function that opens a copy of the screened campaign's database."""
    made: list[Database] = []

    def copy() -> Database:
        folder = tmp_path / str(len(made))
        shutil.copytree(screened[0].folder / "runs", folder)
        made.append(open_database(folder / "screening.db"))
        return made[-1]

    yield copy
    for db in made:
        db.close()


@pytest.fixture
def undisturbed(
    opened: Callable[[], Database], checkpoint: Path, other_checkpoint: Path
) -> Database:
    """Return a database whose campaign was re-scored in one go, after a promotion."""
    db = opened()
    promote_by_hand(db, str(checkpoint), str(other_checkpoint), force=True)
    done = rescore_here(db, chunk_placements=3)
    assert done.predicted > 3
    assert done.ranked
    return db


def promoted(opened: Callable[[], Database], checkpoint: Path, other_checkpoint: Path) -> Database:
    db = opened()
    promote_by_hand(db, str(checkpoint), str(other_checkpoint), force=True)
    return db


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_run_that_broke_off_between_chunks_predicts_the_missing_ones(
    chunks: int,
    opened: Callable[[], Database],
    undisturbed: Database,
    checkpoint: Path,
    other_checkpoint: Path,
) -> None:
    db = promoted(opened, checkpoint, other_checkpoint)
    before = rows(db, *RANKING)
    all_stale = stale_predictions(db, "tiny")
    with pytest.raises(BrokenOffError):
        rescore_here(db, chunk_placements=3, stop_after=chunks)
    assert rows(db, *RANKING) == before
    left = stale_predictions(db, "tiny")
    assert len(left) == len(all_stale) if chunks == 0 else len(left) < len(all_stale)
    assert rescore_here(db, chunk_placements=3).predicted == len(left)
    assert rows(db, *RANKING, "prediction") == rows(undisturbed, *RANKING, "prediction")


@pytest.mark.parametrize("part", ["_replace_ranks", "_requeue", "_set_states"])
def test_a_ranking_that_broke_off_leaves_no_trace(
    part: str,
    opened: Callable[[], Database],
    undisturbed: Database,
    checkpoint: Path,
    other_checkpoint: Path,
) -> None:
    db = promoted(opened, checkpoint, other_checkpoint)
    before = rows(db, *RANKING)

    def after(inner: Callable[..., None]) -> Callable[..., None]:
        def broken(*arguments: Any) -> None:
            inner(*arguments)
            raise BrokenOffError

        return broken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, part, after(getattr(ranking, part)))
        with pytest.raises(BrokenOffError):
            rescore_here(db, chunk_placements=3)
    assert rows(db, *RANKING) == before
    assert stale_predictions(db, "tiny") == []
    assert is_stale(db, "tiny", serving_checkpoint(db, model_of_campaign(db, "tiny")).sha256)
    done = rescore_here(db)
    assert (done.predicted, done.ranked) == (0, True)
    assert rows(db, *RANKING, "prediction") == rows(undisturbed, *RANKING, "prediction")
    assert not rescore_here(db).ranked


def test_a_rollback_that_breaks_off_leaves_the_same_checkpoint_serving(
    undisturbed: Database, checkpoint: Path, screened: tuple[Any, Any]
) -> None:
    db, model = undisturbed, str(checkpoint)
    before = rows(db, *RANKING, "promotion")
    with pytest.MonkeyPatch.context() as patch:

        def broken(*_: Any) -> None:
            raise BrokenOffError

        patch.setattr(ranking, "_set_states", broken)
        with pytest.raises(BrokenOffError):
            roll_back_model(db, model)
    assert rows(db, *RANKING, "promotion") == before
    done = roll_back_model(db, model)
    assert done.restored == ("tiny",)
    assert serving_sha256(db, model) == done.now
    first = open_database(screened[0].database)
    assert rows(db, *RANKING) == rows(first, *RANKING)
    first.close()
    assert [line.why for line in promotions(db, model)] == ["by hand", "rollback"]


def test_as_many_adslabs_wait_for_the_next_round_as_requested(undisturbed: Database) -> None:
    for calculations in (2, 0, 3):
        rescore_here(undisturbed, calculations=calculations)
        states = {row.state: row.count for row in funnel_counts(undisturbed, "tiny")}
        assert states.get("queued", 0) == calculations
        assert len(rows(undisturbed, "queue")[0]) == calculations
