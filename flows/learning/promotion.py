"""Choose by hand which checkpoint serves a model, and go back to the one before."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from flows.errors import CampaignError
from flows.records.checkpoints import (
    LocatedCheckpoint,
    locate_checkpoint,
    record_outside_checkpoint,
)
from flows.screening.ranking.rerank import new_ranking
from model.checkpoint import MANIFEST, embedded_names, open_checkpoint
from screening_db.database import Database, campaign_lock
from screening_db.learning.serving import (
    find_checkpoint,
    previous_checkpoint,
    promote,
    roll_back,
    serving_sha256,
)
from screening_db.learning.stale import model_of_campaign, stale_predictions
from screening_db.queries import all_campaigns
from screening_db.tables import CampaignRow

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Rollback:
    """The result of a rollback."""

    now: str  # SHA-256
    before: str
    restored: tuple[str, ...]  # campaigns


def promote_by_hand(db: Database, model: str, wanted: str, *, force: bool) -> str:
    """Let a checkpoint serve that a person names by hash, by folder or as embedded.

    Raises:
        CampaignError: its folder is gone, or the model is not an embedded one.
        DatabaseError: it may not serve this model.
    """
    now = serving_sha256(db, model)
    sha256 = _named(db, model, wanted)
    served = locate_checkpoint(db, sha256)
    if now is None:
        now = _first(db, model)
    promote(db, model, served.sha256, "by hand", {}, expected=now, force=force)
    return sha256


def roll_back_model(db: Database, model: str) -> Rollback:
    """Let the checkpoint serve that served before, with the rankings that it had made.

    Nothing is predicted: a campaign of which it has yet to predict something keeps its ranking.

    Raises:
        CampaignError: the checkpoint's folder is gone.
        DatabaseError: nothing served before, or a campaign of the model is being screened.
    """
    now = serving_sha256(db, model)
    target = locate_checkpoint(db, previous_checkpoint(db, model)).sha256
    with ExitStack() as held:
        rankings = []
        for row in _ranked_otherwise(db, model, target):
            held.enter_context(campaign_lock(db, row.name))
            rankings.append(new_ranking(db, row, target))
        roll_back(db, model, expected=now, rankings=rankings)
    return Rollback(target, now or "", tuple(r.campaign for r in rankings))


def _ranked_otherwise(db: Database, model: str, target: str) -> list[CampaignRow]:
    """Return the campaigns of a model that another checkpoint ranks, and ``target`` could."""
    return [
        row
        for row in all_campaigns(db)
        if row.status == "finished"
        and row.checkpoint_sha256 != target
        and model_of_campaign(db, row.name) == model
        and not stale_predictions(db, row.name, target)
    ]


def _named(db: Database, model: str, wanted: str) -> str:
    """Return the hash of the checkpoint that a person means; one from outside is recorded."""
    if wanted == EMBEDDED:
        if model not in embedded_names():
            raise CampaignError(
                f"embedded models are {', '.join(embedded_names())}, got {model!r}; name a "
                "checkpoint by its hash or folder"
            )
        return _from_outside(db, model, model)
    if (Path(wanted) / MANIFEST).is_file():
        return _from_outside(db, model, str(Path(wanted).absolute()))
    return find_checkpoint(db, wanted).sha256


def _first(db: Database, model: str) -> str | None:
    """Return the checkpoint that serves before any promotion, recorded for a rollback."""
    if model in embedded_names() or (Path(model) / MANIFEST).is_file():
        return _from_outside(db, model, model)
    return None


def _from_outside(db: Database, model: str, location: str) -> str:
    at = LocatedCheckpoint(location, open_checkpoint(location).sha256)
    record_outside_checkpoint(db, model, at)
    return at.sha256
