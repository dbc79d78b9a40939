"""Which checkpoint serves a model in this database: the last line of a log that only grows.

A *model* is the name that campaign files give. Where nothing was promoted, the checkpoint of that
name serves that is embedded, or lies in the folder that is the name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, select, text
from sqlalchemy.orm import Session

from screening_db.database import Database, database_time, lock_key, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.records.ranking import CampaignRanking, replace_ranking_in
from screening_db.tables import (
    CampaignRow,
    CheckpointRow,
    FineTuningRow,
    PromotionReason,
    PromotionRow,
)

_OURS = 8_253_320  # any number that is ours: the first half of PostgreSQL's key
_SHORT = 12


@repeated_after_outage
def serving_sha256(db: Database, model: str) -> str | None:
    """Return the hash of the checkpoint that was promoted last, None where none ever was."""
    with db.read() as session:
        return _serving(session, model)


@repeated_after_outage
def promotions(db: Database, model: str) -> list[PromotionRow]:
    """Return the log of a model, the first promotion first."""
    with db.read() as session:
        return _log(session, model)


@repeated_after_outage
def recorded_checkpoints(db: Database, model: str | None = None) -> list[CheckpointRow]:
    """Return the checkpoints recorded for a model or for all, parents before their children."""
    query = select(CheckpointRow).order_by(CheckpointRow.model, CheckpointRow.sha256)
    if model is not None:
        query = query.where(CheckpointRow.model == model)
    with db.read() as session:
        return _parents_first(list(session.scalars(query)))


@repeated_after_outage
def find_checkpoint(db: Database, sha256: str) -> CheckpointRow:
    """Return one checkpoint by its hash or the beginning of it.

    Raises:
        DatabaseError: there is none, or several begin so.
    """
    begins = CheckpointRow.sha256.startswith(sha256, autoescape=True)
    with db.read() as session:
        found = list(session.scalars(select(CheckpointRow).where(begins).limit(2)))
    if len(found) != 1:
        how_many = "several checkpoints begin" if found else "no checkpoint begins"
        raise DatabaseError(
            f"{how_many} with {sha256!r} in {db.where}; see them with: sabatier model list"
        )
    return found[0]


@repeated_after_outage
def promote(
    db: Database,
    model: str,
    checkpoint_sha256: str,
    why: PromotionReason,
    report: Mapping[str, Any],
    *,
    expected: str | None,
    force: bool = False,
) -> None:
    """Let a checkpoint serve a model from now on; one that serves already is unchanged.

    Args:
        db: The database.
        model: The model, by the name that campaign files give.
        checkpoint_sha256: The checkpoint, which is recorded already.
        why: Who promotes it.
        report: The numbers that the promotion rests on.
        expected: The checkpoint that the promoter took to be serving: None, or the first one of the
            model, where nothing was promoted before.
        force: Let a person promote one that the gate has rejected or never judged.

    Raises:
        DatabaseError: another checkpoint serves than was expected, or this one may not.
    """
    with db.write() as session:
        _lock(session, model)
        now = _serving(session, model)
        if now == checkpoint_sha256:
            return
        _refuse_unfit(session, model, checkpoint_sha256, why, force=force)
        previous = _previous(session, model, checkpoint_sha256, now, expected)
        _append(session, model, checkpoint_sha256, previous, why, report)


@repeated_after_outage
def previous_checkpoint(db: Database, model: str) -> str:
    """Return the hash of the checkpoint that ``roll_back`` would let serve.

    Raises:
        DatabaseError: no other one is recorded to have served before.
    """
    with db.read() as session:
        return _before(session, model)


@repeated_after_outage
def roll_back(
    db: Database,
    model: str,
    *,
    expected: str | None = None,
    rankings: Sequence[CampaignRanking] = (),
) -> str:
    """Let the checkpoint serve again that served before; twice goes back two.

    Args:
        db: The database.
        model: The model, by the name that campaign files give.
        expected: Where given, the checkpoint that must be serving for the rollback to happen.
        rankings: Rankings of campaigns, restored in the same transaction.

    Returns:
        The hash of the checkpoint that serves now.

    Raises:
        DatabaseError: nothing served before, or another checkpoint serves than was expected.
    """
    with db.write() as session:
        _lock(session, model)
        now = _serving(session, model)
        if expected is not None and now != expected:
            raise _moved(model, expected, now)
        target = _before(session, model)
        _append(session, model, target, now, "rollback", {})
        for ranking in rankings:
            replace_ranking_in(session, ranking)
    return target


def _lock(session: Session, model: str) -> None:
    """Let one process at a time promote; on SQLite a write transaction does."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(:ours, :key)"),
            {"ours": _OURS, "key": lock_key(model)},
        )


def _log(session: Session, model: str) -> list[PromotionRow]:
    query = select(PromotionRow).where(PromotionRow.model == model).order_by(PromotionRow.number)
    return list(session.scalars(query))


def _serving(session: Session, model: str) -> str | None:
    query = (
        select(PromotionRow.checkpoint_sha256)
        .where(PromotionRow.model == model)
        .order_by(PromotionRow.number.desc())
        .limit(1)
    )
    return session.scalar(query)


def _append(
    session: Session,
    model: str,
    sha256: str,
    previous: str | None,
    why: PromotionReason,
    report: Mapping[str, Any],
) -> None:
    session.add(
        PromotionRow(
            model=model,
            number=len(_log(session, model)) + 1,
            checkpoint_sha256=sha256,
            previous_sha256=previous,
            why=why,
            report=dict(report),
            at=database_time(session),
        )
    )
    session.flush()


def _previous(
    session: Session, model: str, sha256: str, now: str | None, expected: str | None
) -> str | None:
    """Return the checkpoint that a promotion replaces; it must be the one that was expected."""
    if now is not None:
        if now != expected:
            raise _moved(model, expected, now)
        return now
    if expected is not None:
        if not _is_first(session, model, expected):
            raise _moved(model, expected, None)
        return expected if expected != sha256 else None
    promoted = session.get(CheckpointRow, sha256)
    return promoted.parent_sha256 if promoted else None


def _is_first(session: Session, model: str, sha256: str) -> bool:
    """Tell whether a checkpoint is one that serves a model where none was promoted."""
    row = session.get(CheckpointRow, sha256)
    return row is not None and row.model == model and row.parent_sha256 is None


def _before(session: Session, model: str) -> str:
    """Return the checkpoint that served before the present one; rolled back ones do not count."""
    log = _log(session, model)
    served: list[str | None] = [line.previous_sha256 for line in log[:1]]
    for line in log:
        if line.why == "rollback":
            served.pop()
        else:
            served.append(line.checkpoint_sha256)
    target = served[-2] if len(served) > 1 else None
    if target is None:
        now = f"{log[-1].checkpoint_sha256[:_SHORT]} serves" if log else "nothing was promoted"
        raise DatabaseError(
            f"a rollback goes to the checkpoint that served before, and none is recorded for model "
            f"{model} ({now}); name one with: sabatier model promote {model} CHECKPOINT"
        )
    return target


def _refuse_unfit(
    session: Session, model: str, sha256: str, why: PromotionReason, *, force: bool
) -> None:
    """Raise where a checkpoint may not serve a model."""
    row = session.get(CheckpointRow, sha256)
    if row is None:
        raise DatabaseError(
            f"what serves is recorded first, and checkpoint {sha256[:_SHORT]} is not in this "
            "database; see those that are with: sabatier model list"
        )
    if force and why == "by hand":
        return
    if row.model != model:
        fault = f"it belongs to model {row.model}"
    else:
        fault = _unjudged(session, sha256, why)
    if fault:
        raise DatabaseError(
            f"a checkpoint serves model {model} once the gate has accepted it; "
            f"{sha256[:_SHORT]} may not: {fault}; choose another one, or promote it by hand with "
            "--force"
        )


def _unjudged(session: Session, sha256: str, why: PromotionReason) -> str:
    """Return why the gate does not let a checkpoint serve; empty where it does.

    A person may go back to what a campaign was screened with, or to what has served before.
    """
    states = set(
        session.scalars(
            select(FineTuningRow.state).where(FineTuningRow.checkpoint_sha256 == sha256)
        )
    )
    if "accepted" in states or (why == "by hand" and _has_served(session, sha256)):
        return ""
    if "rejected" in states:
        return "the gate rejected it"
    return "the gate never judged it"


def _has_served(session: Session, sha256: str) -> bool:
    screened: ColumnElement[bool] = exists().where(CampaignRow.screened_with == sha256)
    served: ColumnElement[bool] = exists().where(
        (PromotionRow.checkpoint_sha256 == sha256) | (PromotionRow.previous_sha256 == sha256)
    )
    return bool(session.scalar(select(screened | served)))


def _moved(model: str, expected: str | None, now: str | None) -> DatabaseError:
    return DatabaseError(
        f"model {model} is served by {_named(now)}, not by {_named(expected)} as was expected: "
        f"another process changed it in between; look with: sabatier model list {model}, and try "
        "again"
    )


def _named(sha256: str | None) -> str:
    return "its first checkpoint" if sha256 is None else sha256[:_SHORT]


def _parents_first(rows: list[CheckpointRow]) -> list[CheckpointRow]:
    """Order checkpoints so that each comes after the one that it was fine-tuned from."""
    by_parent: dict[str | None, list[CheckpointRow]] = {}
    recorded = {row.sha256 for row in rows}
    for row in rows:
        parent = row.parent_sha256 if row.parent_sha256 in recorded else None
        by_parent.setdefault(parent, []).append(row)
    ordered: list[CheckpointRow] = []
    waiting = by_parent.get(None, [])[::-1]
    while waiting:
        row = waiting.pop()
        ordered.append(row)
        waiting += by_parent.get(row.sha256, [])[::-1]
    return ordered
