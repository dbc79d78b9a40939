"""The verification queue: nothing is lost, nothing is calculated twice.

A worker claims items for a while (a lease) and proves with the lease's token that an item is
still its own. A worker that dies lets its lease run out, and the item can be claimed again; what
a worker reports after that is refused and noted. How often an item is attempted is decided by
``failure_policy``; each attempt is recorded by ``attempts``.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, exists, literal_column, select, update
from sqlalchemy.orm import Session, aliased

from screening_db.calculations import (
    RUN_STOPPED,
    Provenance,
    after_failure,
    begin_attempts,
    delete_attempts,
    end_attempt,
    note_refused_report,
    one_line,
)
from screening_db.database import Database, batches, database_time, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.queue.dependencies import resolve_waiting
from screening_db.queue.lease import (
    LEASE_COLUMNS,
    LEASED,
    Lease,
    SeenLeases,
    ended_columns,
    failed_columns,
    lease_from,
    lost_for_good,
    unleased_columns,
    update_leased,
)
from screening_db.tables import (
    CalculationRow,
    CandidateRow,
    LabelRow,
    PlacementRow,
    QueueDependencyRow,
    QueueRow,
    QueueState,
    ReferenceEnergyRow,
    key_of_campaign,
)

_QUEUED = QueueRow.state == literal_column("'queued'")  # a literal, as in ``lease.LEASED``


@repeated_after_outage
def claim(
    db: Database,
    level: str,
    *,
    batch: int,
    lease_s: float,
    campaign: str | None = None,
    adslabs: int | None = None,
    memory_class: int | None = None,
    seen: SeenLeases | None = None,
) -> list[Lease]:
    """Lease calculations of a level, the larger priority first.

    A slab or molecule goes before the adslabs that need it, and an adslab is claimed once its
    dependencies are done. Leases that ran out are taken back first.

    Args:
        db: The database.
        level: The level of theory, by name.
        batch: The largest number of leases.
        lease_s: How long they last without a heartbeat, in seconds.
        campaign: Claim only what this campaign queued, alone or with others, and its dependencies.
        adslabs: Claim only the first so many adslabs in line and their dependencies.
        memory_class: Claim nothing that needs a larger one.
        seen: What the caller remembers of leases that others hold, from one claim to the next.

    Returns:
        The leases, in the order of their priorities.

    Raises:
        DatabaseError: ``batch`` or ``lease_s`` is not positive.
    """
    if batch < 1 or lease_s <= 0:
        raise DatabaseError(
            "a claim takes 1 item or more for longer than 0 s, "
            f"got {batch} items and {lease_s} s; correct them"
        )
    with db.write() as session:
        now = database_time(session)
        if seen is not None:
            seen.end_overdue(session, now, lease_s)
        _take_back(session, now)
        resolve_waiting(session, level)
        ready = (
            select(QueueRow.item)
            .where(_QUEUED, QueueRow.level == level, *_in_line(level, campaign, adslabs))
            # the order of the words is that of the work: slab, gas, adslab
            .order_by(QueueRow.priority.desc(), QueueRow.kind.desc(), QueueRow.item)
            .limit(batch)
            .with_for_update(
                skip_locked=True
            )  # SQLite has one writer: SQLAlchemy leaves it out there
        )
        if memory_class is not None:
            ready = ready.where(QueueRow.memory_class <= memory_class)
        claimed = list(session.scalars(ready))
        return [
            lease
            for items in batches(claimed)
            for lease in _lease(session, level, items, now, lease_s)
        ]


@repeated_after_outage
def heartbeat(db: Database, leases: Sequence[Lease], lease_s: float) -> list[Lease]:
    """Make leases last another ``lease_s`` from now, and return those that are still held."""
    with db.write() as session:
        until = database_time(session) + lease_s
        renewed = {QueueRow.lease_until.key: until, QueueRow.lease_s.key: lease_s}
        return [lease for lease in leases if update_leased(session, lease, renewed)]


@repeated_after_outage
def complete(
    db: Database, lease: Lease, label: LabelRow, provenance: Provenance | None = None
) -> bool:
    """Store an adslab's label and end its lease, in one transaction.

    Args:
        db: The database.
        lease: The lease that the label was computed under.
        label: The label; a trainable one makes the item converged, any other anomalous.
        provenance: What the worker reports of the attempt.

    Returns:
        False where the lease was lost or the result came before; the attempt then notes it.

    Raises:
        DatabaseError: the label is of another candidate or level than was leased.
    """
    if lease.kind != "adslab" or (label.candidate_id, label.level) != (lease.item, lease.level):
        raise DatabaseError(
            "a label is of the candidate and level that were leased, "
            f"{lease.kind} {lease.item[:12]} at {lease.level}; got {label.candidate_id[:12]} at "
            f"{label.level}; store each label under its own lease"
        )
    state: QueueState = "converged" if label.trainable else "anomalous"
    with db.write() as session:
        now = database_time(session)
        if not update_leased(session, lease, ended_columns(state)):
            note_refused_report(session, lease.key, now, "a label came after the lease had ended")
            return False
        upsert(session, [label], overwrite=True)
        end_attempt(
            session,
            lease.key,
            "converged" if label.trainable else "anomalous",
            now,
            provenance=provenance,
        )
        return True


@repeated_after_outage
def complete_reference(
    db: Database,
    lease: Lease,
    energy: ReferenceEnergyRow,
    provenance: Provenance | None = None,
) -> bool:
    """Store the energy of a clean slab or molecule, and end its lease; waiting adslabs go on.

    Args:
        db: The database.
        lease: The lease that the energy was computed under.
        energy: The energy (eV) as a row of the leased item and level.
        provenance: What the worker reports of the attempt.

    Returns:
        False where the lease was lost or the result came before; the attempt then notes it.

    Raises:
        DatabaseError: the energy is of another item or level than was leased.
    """
    if (energy.kind, energy.item, energy.level) != (lease.kind, lease.item, lease.level):
        raise DatabaseError(
            "an energy is of the slab or molecule and the level that were leased, "
            f"{lease.kind} {lease.item[:12]} at {lease.level}; got {energy.kind} "
            f"{energy.item[:12]} at {energy.level}; store each energy under its own lease"
        )
    with db.write() as session:
        now = database_time(session)
        if not update_leased(session, lease, ended_columns("converged")):
            note_refused_report(session, lease.key, now, "an energy came after the lease had ended")
            return False
        upsert(session, [energy], overwrite=False)
        end_attempt(session, lease.key, "converged", now, provenance=provenance)
        resolve_waiting(session, lease.level)
        return True


@repeated_after_outage
def fail(
    db: Database,
    lease: Lease,
    failure: str,
    message: str,
    provenance: Provenance | None = None,
    *,
    times: int = 1,
) -> QueueState | None:
    """End a lease without a result.

    Args:
        db: The database.
        lease: The lease.
        failure: The class of the failure, as in ``failure_policy``.
        message: What went wrong; it is stored as one line.
        provenance: What the worker reports of the attempt.
        times: How many attempts failed in this way under the one lease.

    Returns:
        The state that the policy gives the item; None where the lease was lost, which is noted.
    """
    with db.write() as session:
        now = database_time(session)
        after = after_failure(failure, lease.failures, lease.memory_class, times)
        if not update_leased(session, lease, failed_columns(after, failure, message)):
            note_refused_report(
                session, lease.key, now, f"{failure} was reported after the lease ended"
            )
            return None
        end_attempt(
            session,
            lease.key,
            "failed",
            now,
            failure=(failure, one_line(message)),
            provenance=provenance,
        )
        resolve_waiting(session, lease.level)
        return after.state


@repeated_after_outage
def release(
    db: Database, leases: Sequence[Lease], why: str = "", provenance: Provenance | None = None
) -> int:
    """Give back leased calculations; none counts as an attempt at its item.

    Args:
        db: The database.
        leases: The leases.
        why: Empty where the calculations were not begun: it is then as if they had not been
            claimed. Else the record of the attempt stays, cancelled for this reason.
        provenance: What the worker reports of an attempt that was begun.

    Returns:
        How many were given back; a lease that was lost is not.
    """
    given_back = 0
    with db.write() as session:
        now = database_time(session)
        for lease in leases:
            values: dict[str, object] = {
                **unleased_columns("queued"),
                QueueRow.attempts.key: lease.attempt - 1,
            }
            if update_leased(session, lease, values):
                given_back += 1
                if why:
                    said = ("", one_line(why))
                    end_attempt(
                        session, lease.key, "cancelled", now, failure=said, provenance=provenance
                    )
                else:
                    delete_attempts(session, [lease.key])
    return given_back


def _in_line(level: str, campaign: str | None, adslabs: int | None) -> list[ColumnElement[bool]]:
    """Return the condition that an item, or an adslab that needs it, is among the first in line."""
    if campaign is None and adslabs is None:
        return []
    first = aliased(QueueRow)
    line: Select[tuple[str]] = (
        select(first.item)
        .where(first.level == level, first.kind == "adslab", first.state.in_(("queued", "waiting")))
        .order_by(first.priority.desc(), first.item)
        .limit(adslabs)
    )
    if campaign is not None:
        shared = exists().where(
            CandidateRow.id == first.item,
            PlacementRow.candidate_key == CandidateRow.key,
            PlacementRow.campaign_key == key_of_campaign(campaign),
            PlacementRow.state == "queued",
        )
        line = line.where((first.campaign == campaign) | shared)
    needs = select(QueueDependencyRow.needs).where(
        QueueDependencyRow.level == level, QueueDependencyRow.item.in_(line)
    )
    return [QueueRow.item.in_(line) | QueueRow.item.in_(needs)]


def _lease(
    session: Session, level: str, items: Sequence[str], now: float, lease_s: float
) -> list[Lease]:
    """Mark items as leased under one new token, and return them in the order of ``items``."""
    token = uuid.uuid4().hex
    statement = (
        update(QueueRow)
        .where(QueueRow.level == level, QueueRow.item.in_(items))
        .values(
            state="leased",
            attempts=QueueRow.attempts + 1,
            lease_token=token,
            lease_until=now + lease_s,
            lease_s=lease_s,
        )
        .returning(*LEASE_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    leases = {row[0]: lease_from(row) for row in session.execute(statement)}
    begin_attempts(session, [_begun(lease, now) for lease in leases.values()])
    return [leases[item] for item in items]


def _begun(lease: Lease, now: float) -> CalculationRow:
    return CalculationRow(
        item=lease.item,
        level=lease.level,
        token=lease.token,
        attempt=lease.attempt,
        memory_class=lease.memory_class,
        started_at=now,
    )


def _take_back(session: Session, now: float) -> None:
    """End the leases that ran out; their items are tried again, as a run that ended is no fault."""
    message = "the run that held it ended without a report"
    expired = (
        select(QueueRow)
        .where(LEASED, QueueRow.lease_until < now, lost_for_good(now))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    for row in session.scalars(expired).all():
        key = (row.item, row.level, row.lease_token or "")
        after = after_failure(RUN_STOPPED, row.failures, row.memory_class)
        session.execute(
            update(QueueRow)
            .where(QueueRow.item == row.item, QueueRow.level == row.level)
            .values(failed_columns(after, RUN_STOPPED, message))
            .execution_options(synchronize_session=False)
        )
        end_attempt(session, key, "failed", now, failure=(RUN_STOPPED, message))
