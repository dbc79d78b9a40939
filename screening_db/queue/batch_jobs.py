"""Jobs of a batch system outlive the process that submitted them, and so do their leases.

Where a lease's job runs is recorded before it is submitted. When the lease runs out, because that
process ended, the item is not free: the next process with the same location takes the lease over,
with its token, and collects the job's result. Only a job that no process asked about for
``JOB_GRACE_S`` counts as killed.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.orm import Session

from screening_db.database.engine import Database, database_time
from screening_db.errors import DatabaseError
from screening_db.queue.lease import LEASE_COLUMNS, LEASED, Lease, lease_from, update_leased
from screening_db.tables.verification import CalculationRow, QueueRow

JOB_GRACE_S = 7 * 86_400.0  # longer than a weekend without anyone to start a driver again


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


def take_over_jobs(db: Database, level: str, location: str, lease_s: float) -> list[Lease]:
    """Renew the leases that ran out and have jobs at ``location``, for the caller, and return them.

    Of two that ask at once each lease goes to one.
    """
    with db.write() as session:
        now = database_time(session)
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
                .values(lease_until=now + lease_s)
                .execution_options(synchronize_session=False)
            )
        return _leases(session, level, items)


def hand_over_jobs(db: Database, leases: Sequence[Lease]) -> None:
    """Let leases run out at once, so that the next process need not wait to take them over."""
    with db.write() as session:
        now = database_time(session)
        for lease in leases:
            update_leased(session, lease, {QueueRow.lease_until.key: now - 1.0})


def jobs_running(db: Database, level: str, location: str) -> int:
    """Return how many leased items of a level have jobs at ``location``, whoever watches them."""
    with db.read() as session:
        query = select(QueueRow.item).where(LEASED, QueueRow.level == level, _job_at(location))
        return len(list(session.scalars(query)))


def lost_for_good(now: float) -> ColumnElement[bool]:
    """Return the condition that nobody will report on a lease that ran out by ``now``."""
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
