"""The verification queue: nothing is lost, nothing is calculated twice.

A worker claims items for a while (a lease) and proves with the lease's token that an item is
still its own. A worker that dies lets its lease run out, and the item can be claimed again; what
a worker reports after that is refused. An item that has cost too many workers is failed, so that
no item goes round for ever.

An item that several campaigns queued is one item: each of them may claim it, and all of them see
the label. It keeps the priority and the name of the campaign that asked first.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, literal_column, select, text, update
from sqlalchemy.orm import Session

from screening_db.bulk import add_new, batches, upsert
from screening_db.engine import Database
from screening_db.errors import DatabaseError
from screening_db.tables import CampaignItemRow
from screening_db.verification_tables import LabelRow, QueueRow, QueueState

MAX_ATTEMPTS = 5
LOST_WORKER = "LostWorker"
_MESSAGE_LIMIT = 2000
# Literals, not bound values: PostgreSQL then sees that the partial indexes apply.
_QUEUED = QueueRow.state == literal_column("'queued'")
_LEASED = QueueRow.state == literal_column("'leased'")


@dataclass(frozen=True)
class Lease:
    """One calculation that belongs to the holder of ``token`` until the lease runs out."""

    candidate_id: str
    level: str
    campaign: str
    priority: float
    why: str
    attempt: int  # 1 for the first
    token: str


def enqueue(db: Database, items: Sequence[QueueRow]) -> int:
    """Put calculations in the queue and return how many are new.

    One that is there in whatever state, or that has a label at its level, is left as it is.
    """
    new = 0
    with db.write() as session:
        for batch in batches(items):
            labelled = _labelled(session, batch)
            wanted = [item for item in batch if (item.candidate_id, item.level) not in labelled]
            new += add_new(session, wanted)
    return new


def claim(
    db: Database,
    level: str,
    *,
    batch: int,
    lease_s: float,
    campaign: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> list[Lease]:
    """Lease up to ``batch`` calculations of a level, the larger priority first.

    With ``campaign`` only those that it queued, alone or with others. Leases that ran out are
    taken back first; an item whose worker was lost ``max_attempts`` times is failed.
    """
    if batch < 1 or lease_s <= 0:
        raise DatabaseError(
            "a claim takes 1 item or more for longer than 0 s, "
            f"got {batch} items and {lease_s} s; correct them"
        )
    with db.write() as session:
        now = _now(session)
        _take_back(session, now, max_attempts)
        ready = (
            select(QueueRow.candidate_id)
            .where(_QUEUED, QueueRow.level == level, *_wanted_by(campaign))
            .order_by(QueueRow.priority.desc(), QueueRow.candidate_id)
            .limit(batch)
            .with_for_update(skip_locked=True)  # of no meaning, and left out, on SQLite
        )
        claimed = list(session.scalars(ready))
        return [
            lease
            for ids in batches(claimed)
            for lease in _lease(session, level, ids, until=now + lease_s)
        ]


def heartbeat(db: Database, leases: Sequence[Lease], lease_s: float) -> list[Lease]:
    """Make leases last another ``lease_s`` from now, and return those that are still held."""
    with db.write() as session:
        until = _now(session) + lease_s
        return [
            lease for lease in leases if _changed(session, lease, {QueueRow.lease_until.key: until})
        ]


def complete(db: Database, lease: Lease, label: LabelRow) -> bool:
    """Store a label and end its lease, in one transaction.

    A trainable label makes the item converged, any other anomalous. Returns False, and stores
    nothing, where the lease was lost or the result came back before.
    """
    if (label.candidate_id, label.level) != (lease.candidate_id, lease.level):
        raise DatabaseError(
            "a label is of the candidate and level that were leased, "
            f"{lease.candidate_id[:12]} at {lease.level}; got {label.candidate_id[:12]} at "
            f"{label.level}; store each label under its own lease"
        )
    state: QueueState = "converged" if label.trainable else "anomalous"
    with db.write() as session:
        if not _changed(session, lease, _ended(state)):
            return False
        upsert(session, [label], overwrite=True)
        return True


def fail(
    db: Database,
    lease: Lease,
    error_class: str,
    message: str,
    *,
    retry: bool,
    max_attempts: int = MAX_ATTEMPTS,
) -> bool:
    """End a lease without a label; with ``retry`` the item waits again while attempts are left.

    Returns False, and changes nothing, where the lease was lost.
    """
    state: QueueState = "queued" if retry and lease.attempt < max_attempts else "failed"
    values = _ended(state) | {
        QueueRow.error_class.key: error_class,
        QueueRow.error_message.key: " ".join(message.split())[:_MESSAGE_LIMIT],
    }
    with db.write() as session:
        return _changed(session, lease, values)


def release(db: Database, leases: Sequence[Lease]) -> int:
    """Give back calculations that were not begun, as if they had not been claimed."""
    with db.write() as session:
        return sum(
            _changed(session, lease, _ended("queued") | {QueueRow.attempts.key: lease.attempt - 1})
            for lease in leases
        )


def _wanted_by(campaign: str | None) -> list[ColumnElement[bool]]:
    """Return the condition that ``campaign`` queued an item; none for every campaign's."""
    if campaign is None:
        return []
    shared = exists().where(
        CampaignItemRow.campaign == campaign,
        CampaignItemRow.stage == "placement",
        CampaignItemRow.item_id == QueueRow.candidate_id,
        CampaignItemRow.state == "queued",
    )
    return [(QueueRow.campaign == campaign) | shared]


def _ended(state: QueueState) -> dict[str, object]:
    """Return the columns of an item that nobody holds any more."""
    return {
        QueueRow.state.key: state,
        QueueRow.lease_token.key: None,
        QueueRow.lease_until.key: None,
        QueueRow.error_class.key: "",
        QueueRow.error_message.key: "",
    }


def _changed(session: Session, lease: Lease, values: dict[str, object]) -> bool:
    """Change one item if the lease still holds it."""
    statement = (
        update(QueueRow)
        .where(
            QueueRow.candidate_id == lease.candidate_id,
            QueueRow.level == lease.level,
            _LEASED,
            QueueRow.lease_token == lease.token,
        )
        .values(values)
        .returning(QueueRow.candidate_id)
    )
    return session.execute(statement).first() is not None


def _lease(session: Session, level: str, ids: Sequence[str], *, until: float) -> list[Lease]:
    """Mark items as leased under one new token, and return them in the order of ``ids``."""
    token = uuid.uuid4().hex
    statement = (
        update(QueueRow)
        .where(QueueRow.level == level, QueueRow.candidate_id.in_(ids))
        .values(
            state="leased",
            attempts=QueueRow.attempts + 1,
            lease_token=token,
            lease_until=until,
        )
        .returning(
            QueueRow.candidate_id,
            QueueRow.level,
            QueueRow.campaign,
            QueueRow.priority,
            QueueRow.why,
            QueueRow.attempts,
        )
        .execution_options(synchronize_session=False)
    )
    leases = {row[0]: Lease(*row, token) for row in session.execute(statement)}
    return [leases[candidate_id] for candidate_id in ids]


def _take_back(session: Session, now: float, max_attempts: int) -> None:
    """End the leases that ran out; fail the items that have cost too many workers."""
    lost = {
        QueueRow.error_class.key: LOST_WORKER,
        QueueRow.error_message.key: "the worker did not report before its lease ran out",
    }
    expired = (
        select(QueueRow.candidate_id, QueueRow.level, QueueRow.attempts)
        .where(_LEASED, QueueRow.lease_until < now)
        .with_for_update(skip_locked=True)
    )
    for candidate_id, level, attempts in session.execute(expired).all():
        session.execute(
            update(QueueRow)
            .where(QueueRow.candidate_id == candidate_id, QueueRow.level == level)
            .values(_ended("failed" if attempts >= max_attempts else "queued") | lost)
        )


def _labelled(session: Session, items: Sequence[QueueRow]) -> set[tuple[str, str]]:
    """Return which of the items have a label already."""
    ids = [item.candidate_id for item in items]
    query = select(LabelRow.candidate_id, LabelRow.level).where(LabelRow.candidate_id.in_(ids))
    return {(candidate_id, level) for candidate_id, level in session.execute(query)}


def _now(session: Session) -> float:
    """Return the seconds since 1970 by the one clock that all workers share."""
    if session.get_bind().dialect.name == "postgresql":
        return float(
            session.execute(text("SELECT extract(epoch from clock_timestamp())")).scalar_one()
        )
    return time.time()
