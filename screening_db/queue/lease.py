"""Leases, and the changes of an item that need its lease or end it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import literal_column, update
from sqlalchemy.orm import Session

from screening_db.calculations.attempts import one_line
from screening_db.calculations.failure_policy import AfterFailure, retry_rule
from screening_db.calculations.steps import AttemptKey
from screening_db.tables.verification import ItemKind, QueueRow, QueueState

# A literal, not a bound value: PostgreSQL then sees that the partial index applies.
LEASED = QueueRow.state == literal_column("'leased'")


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
    """Return the columns of an item that nobody holds any more."""
    return {
        QueueRow.state.key: state,
        QueueRow.lease_token.key: None,
        QueueRow.lease_until.key: None,
    }


def ended_columns(state: QueueState) -> dict[str, object]:
    """Return the columns of an item that has its result."""
    return unleased_columns(state) | {QueueRow.error_class.key: "", QueueRow.error_message.key: ""}


def failed_columns(after: AfterFailure, failure: str, message: str) -> dict[str, object]:
    """Return the columns of an item whose try failed."""
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
