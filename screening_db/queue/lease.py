"""Leases, the changes of an item that need its lease or end it, and the batch jobs under leases.

A job of a batch system outlives the process that submitted it, and so does its lease. Its location
is recorded before it is submitted. When the lease runs out because that process ended, the item is
not free: the next process with the same location takes the lease over, with its token, and
collects the job's result. A job counts as ``run_stopped`` only when no process collected it for
``JOB_GRACE_S`` after its lease ran out.

Leases run out by the database's clock. That clock may have been wrong when one was given: who waits
remembers when it first saw each lease unrenewed (``SeenLeases``), and waits for none longer than
the lease's length.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select, update
from sqlalchemy.orm import Session

from screening_db.calculations import AfterFailure, AttemptKey, one_line, retry_rule
from screening_db.database import Database, database_time, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.tables import CalculationRow, ItemKind, QueueRow, QueueState

# A literal, not a bound value: PostgreSQL then sees that the partial index applies.
LEASED = QueueRow.state == literal_column("'leased'")
JOB_GRACE_S = 7 * 86_400.0  # longer than a weekend without anyone to start a driver again


@dataclass(frozen=True)
class Lease:
    """One calculation that belongs to the holder of ``token`` until the lease runs out.

    ``failures`` counts what went wrong before, by class, and ``last_failure`` is the class of the
    last of it. ``structure_sha256`` is that of the structure's text when it was queued.
    """

    item: str  # candidate id, slab id, or molecule
    level: str
    kind: ItemKind
    campaign: str
    priority: float
    why: str
    attempt: int  # 1 for the first
    memory_class: int
    structure_sha256: str
    last_failure: str
    failures: Mapping[str, int] = field(hash=False)  # class: count
    token: str

    @property
    def candidate_id(self) -> str:
        """Return the id of an adslab."""
        return self.item

    @property
    def resumes(self) -> bool:
        """Return whether this attempt starts from the last geometry of the one before."""
        return retry_rule(self.last_failure).resumes

    @property
    def key(self) -> AttemptKey:
        """Return the key of the attempt under this lease."""
        return self.item, self.level, self.token


# The columns of a lease, in the order of its fields.
LEASE_COLUMNS = (
    QueueRow.item,
    QueueRow.level,
    QueueRow.kind,
    QueueRow.campaign,
    QueueRow.priority,
    QueueRow.why,
    QueueRow.attempts,
    QueueRow.memory_class,
    QueueRow.structure_sha256,
    QueueRow.error_class,
    QueueRow.failures,
    QueueRow.lease_token,
)


def lease_from(row: Any) -> Lease:
    """Return the lease that a row of ``LEASE_COLUMNS`` is."""
    return Lease(*row)


def unleased_columns(state: QueueState) -> dict[str, object]:
    """Return the columns of an item whose lease has ended."""
    return {
        QueueRow.state.key: state,
        QueueRow.lease_token.key: None,
        QueueRow.lease_until.key: None,
        QueueRow.lease_s.key: None,
    }


def ended_columns(state: QueueState) -> dict[str, object]:
    """Return the columns of an item that has its result."""
    return unleased_columns(state) | {QueueRow.error_class.key: "", QueueRow.error_message.key: ""}


def failed_columns(after: AfterFailure, failure: str, message: str) -> dict[str, object]:
    """Return the columns of an item whose attempt failed."""
    return unleased_columns(after.state) | {
        QueueRow.failures.key: after.failures,
        QueueRow.memory_class.key: after.memory_class,
        QueueRow.error_class.key: failure,
        QueueRow.error_message.key: one_line(message),
    }


def update_leased(session: Session, lease: Lease, values: Mapping[str, object]) -> bool:
    """Change one item if the lease still holds it."""
    statement = (
        update(QueueRow)
        .where(
            QueueRow.item == lease.item,
            QueueRow.level == lease.level,
            LEASED,
            QueueRow.lease_token == lease.token,
        )
        .values(values)
        .returning(QueueRow.item)
    )
    return session.execute(statement).first() is not None


class SeenLeases:
    """When a process first saw each lease as it is, by its own clock, which never jumps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: dict[tuple[str, str, str | None, float | None], float] = {}

    def end_overdue(self, session: Session, now: float, lease_s: float) -> None:
        """Let leases run out that were not renewed for their length since they were first seen.

        Args:
            session: Session of the caller's transaction.
            now: Time of the database in seconds since 1970.
            lease_s: The length of leases that record none, in seconds.
        """
        columns = (QueueRow.item, QueueRow.level, QueueRow.lease_token, QueueRow.lease_until)
        held = session.execute(
            select(*columns, QueueRow.lease_s).where(LEASED, QueueRow.lease_until >= now)
        ).all()
        clock, before = self._clock(), self._first
        self._first = {tuple(row[:4]): before.get(tuple(row[:4]), clock) for row in held}
        for *key, length_s in held:
            if clock - self._first[tuple(key)] >= (length_s or lease_s):
                unrenewed = (column == value for column, value in zip(columns, key, strict=True))
                session.execute(
                    update(QueueRow)
                    .where(LEASED, *unrenewed)
                    .values(lease_until=now - 1.0)
                    .execution_options(synchronize_session=False)
                )


@repeated_after_outage
def record_jobs(db: Database, jobs: Mapping[Lease, str]) -> None:
    """Record where the job of each lease runs: ``location#name``, as its own system understands it.

    Raises:
        DatabaseError: a job has no location.
    """
    if not all(jobs.values()):
        raise DatabaseError("a job has a location and a name, got an empty one; name each")
    with db.write() as session:
        for lease, job in jobs.items():
            session.execute(update(CalculationRow).where(*_is(lease)).values(job=job))


@repeated_after_outage
def take_over_jobs(
    db: Database, level: str, location: str, lease_s: float, seen: SeenLeases | None = None
) -> list[Lease]:
    """Renew the leases that ran out and have jobs at ``location``, for the caller.

    Args:
        db: The database.
        level: The level of theory, by name.
        location: Where the jobs run.
        lease_s: How long the leases last without a heartbeat, in seconds.
        seen: What the caller remembers of leases that others hold, from one call to the next.

    Returns:
        The leases; of two that ask at once each goes to one.
    """
    with db.write() as session:
        now = database_time(session)
        if seen is not None:
            seen.end_overdue(session, now, lease_s)
        expired = (
            select(QueueRow.item)
            .where(LEASED, QueueRow.level == level, QueueRow.lease_until < now, _job_at(location))
            .with_for_update(skip_locked=True)
        )
        items = list(session.scalars(expired))
        for item in items:
            session.execute(
                update(QueueRow)
                .where(QueueRow.level == level, QueueRow.item == item)
                .values(lease_until=now + lease_s, lease_s=lease_s)
                .execution_options(synchronize_session=False)
            )
        return _leases(session, level, items)


@repeated_after_outage
def hand_over_jobs(db: Database, leases: Sequence[Lease]) -> None:
    """Let leases run out at once, so that the next process need not wait to take them over."""
    with db.write() as session:
        now = database_time(session)
        for lease in leases:
            update_leased(session, lease, {QueueRow.lease_until.key: now - 1.0})


@repeated_after_outage
def jobs_running(db: Database, level: str, location: str) -> int:
    """Return how many leased items of a level have jobs at ``location``, whoever watches them."""
    with db.read() as session:
        query = select(QueueRow.item).where(LEASED, QueueRow.level == level, _job_at(location))
        return len(list(session.scalars(query)))


def lost_for_good(now: float) -> ColumnElement[bool]:
    """Return the condition that a lease ran out by ``now`` and no worker can report on it."""
    has_job = _running_attempt().where(CalculationRow.job != "").exists()
    return ~has_job | (QueueRow.lease_until < now - JOB_GRACE_S)


def _leases(session: Session, level: str, items: Sequence[str]) -> list[Lease]:
    query = select(*LEASE_COLUMNS).where(QueueRow.level == level, QueueRow.item.in_(items))
    return [lease_from(row) for row in session.execute(query.order_by(QueueRow.item))]


def _job_at(location: str) -> ColumnElement[bool]:
    return (
        _running_attempt()
        .where(CalculationRow.job.startswith(f"{location}#", autoescape=True))
        .exists()
    )


def _running_attempt() -> Select[tuple[str]]:
    """Select the running attempt of a leased item."""
    return select(CalculationRow.item).where(
        CalculationRow.item == QueueRow.item,
        CalculationRow.level == QueueRow.level,
        CalculationRow.token == QueueRow.lease_token,
    )


def _is(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        CalculationRow.item == lease.item,
        CalculationRow.level == lease.level,
        CalculationRow.token == lease.token,
    )
