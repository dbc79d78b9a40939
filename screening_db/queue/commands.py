"""Commands on items of the queue: hold, release, retry, cancel, set a priority.

A command changes the items whose state allows it, in one transaction. The others are unchanged and
are returned with the reason.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from screening_db.calculations import DEPENDENCY_FAILED, IONS_NOT_CONVERGED, end_attempt
from screening_db.database import Database, database_time, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.queue.dependencies import (
    delete_dependencies,
    lock_planning,
    raise_priorities,
    resolve_waiting,
)
from screening_db.queue.lease import unleased_columns
from screening_db.queue.view import ItemKey
from screening_db.tables import LabelRow, QueueDependencyRow, QueueRow, QueueState


@dataclass(frozen=True)
class UnchangedItem:
    """An item that a command did not change, and why."""

    key: ItemKey
    reason: str


@dataclass(frozen=True)
class CommandResult:
    """The items that a command changed, each with its new state, and those that it did not."""

    changed: tuple[tuple[ItemKey, QueueState], ...]
    unchanged: tuple[UnchangedItem, ...]


_Change = Callable[[Session, QueueRow, float], None]
_Test = Callable[[Session, QueueRow], bool]

_DONE = "it is {state}: its result stays"
_HOLD = {
    "leased": "it is being calculated; cancel it, or wait",
    "held": "it is held already",
    "failed": "it failed; retry it or leave it",
    "cancelled": "it is cancelled; retry it or leave it",
}
_RELEASE = {
    "queued": "it is not held",
    "waiting": "it is not held, and waits for its dependencies",
    "leased": "it is not held",
    "failed": "it failed; retry it",
    "cancelled": "it is cancelled; retry it",
}
_RETRY = {
    "queued": "it is queued already",
    "waiting": "it waits already",
    "leased": "it is being calculated",
    "held": "it is held; release it",
}
_CANCEL = {"failed": "it failed and is not tried again", "cancelled": "it is cancelled already"}
_AS_URGENT = "it is as urgent as the most urgent adslab that needs it; give that one the priority"
_PRIORITY = {
    "slab": _AS_URGENT,
    "gas": _AS_URGENT,
    "failed": "it failed; retry it first",
    "cancelled": "it is cancelled; retry it first",
}


def _has_result(session: Session, row: QueueRow) -> bool:
    return row.state in ("converged", "anomalous")


def _is_converged(session: Session, row: QueueRow) -> bool:
    """Tell whether an item has a result that another attempt would not change."""
    label = select(LabelRow.converged).where(
        LabelRow.candidate_id == row.item, LabelRow.level == row.level
    )
    return _has_result(session, row) and session.execute(label).scalar_one_or_none() is not False


def hold(db: Database, keys: Sequence[ItemKey]) -> CommandResult:
    """Keep items that are not begun from being claimed."""
    return _apply(db, keys, _HOLD, _set_held)


def release_held(db: Database, keys: Sequence[ItemKey]) -> CommandResult:
    """Let held items be claimed again."""
    return _apply(db, keys, _RELEASE, _set_queued)


def retry(db: Database, keys: Sequence[ItemKey]) -> CommandResult:
    """Queue failed, cancelled and unconverged items again, with no failures counted.

    One that ended at its step limit resumes there: from its start it would end there again. With an
    adslab its failed dependencies are retried, and with a slab or molecule the adslabs that failed
    because of it.
    """
    return _apply(db, keys, _RETRY, _set_anew, is_done=_is_converged)


def cancel(db: Database, keys: Sequence[ItemKey]) -> CommandResult:
    """Take items out of the queue; the result of one that is being calculated is refused."""
    return _apply(db, keys, _CANCEL, _set_cancelled)


def set_priority(db: Database, keys: Sequence[ItemKey], priority: float) -> CommandResult:
    """Give adslabs another priority, the larger first; their dependencies follow.

    Raises:
        DatabaseError: the priority is not a finite number.
    """
    if not math.isfinite(priority):
        raise DatabaseError(f"a priority is a finite number, got {priority}; give another one")

    def change(session: Session, row: QueueRow, now: float) -> None:
        _store(session, row, priority=priority)

    return _apply(db, keys, _PRIORITY, change)


@repeated_after_outage
def _apply(
    db: Database,
    keys: Sequence[ItemKey],
    refusals: dict[str, str],
    change: _Change,
    is_done: _Test = _has_result,
) -> CommandResult:
    """Change the items that are not done yet and whose state and kind no refusal names."""
    unchanged, changed = [], []
    with db.write() as session:
        lock_planning(session)
        now = database_time(session)
        for key in sorted(set(keys)):
            row = _locked(session, key)
            if row is None:
                unchanged.append(UnchangedItem(key, "it is not in the queue any more"))
                continue
            done = is_done(session, row)
            why = _DONE.format(state=row.state) if done else _refusal(row, refusals)
            if why:
                unchanged.append(UnchangedItem(key, why))
                continue
            change(session, row, now)
            changed.append(key)
        for level in sorted({level for _, level in changed}):
            raise_priorities(session, level)
            resolve_waiting(session, level)
        states = [(key, _state(session, key)) for key in changed]
    return CommandResult(tuple(states), tuple(unchanged))


def _refusal(row: QueueRow, refusals: dict[str, str]) -> str:
    return refusals.get(row.state) or refusals.get(row.kind, "")


def _set_held(session: Session, row: QueueRow, now: float) -> None:
    _store(session, row, state="held")


def _set_queued(session: Session, row: QueueRow, now: float) -> None:
    """Queue an item; an adslab waits until ``resolve_waiting`` finds its dependencies done."""
    _store(session, row, state="waiting" if _has_dependencies(session, row) else "queued")


def _set_anew(session: Session, row: QueueRow, now: float) -> None:
    goes_on = row.error_class == IONS_NOT_CONVERGED or _has_result(session, row)
    error_class = IONS_NOT_CONVERGED if goes_on else ""
    _store(session, row, failures={}, error_class=error_class, error_message="")
    _set_queued(session, row, now)
    for other in _linked_items(session, row):  # ends, because each of them is set going by this
        _set_anew(session, other, now)


def _set_cancelled(session: Session, row: QueueRow, now: float) -> None:
    if row.state == "leased":
        end_attempt(session, (row.item, row.level, row.lease_token or ""), "cancelled", now)
    _store(session, row, **unleased_columns("cancelled"))
    if row.kind == "adslab":
        delete_dependencies(session, row.level, [row.item])


def _linked_items(session: Session, row: QueueRow) -> list[QueueRow]:
    """Return the failed dependencies of an adslab, or the adslabs that failed with a dependency."""
    query = select(QueueRow).where(QueueRow.level == row.level)
    if row.kind == "adslab":
        needs = select(QueueDependencyRow.needs).where(
            QueueDependencyRow.item == row.item, QueueDependencyRow.level == row.level
        )
        query = query.where(QueueRow.item.in_(needs), QueueRow.state.in_(("failed", "cancelled")))
    else:
        wanting = select(QueueDependencyRow.item).where(
            QueueDependencyRow.needs == row.item, QueueDependencyRow.level == row.level
        )
        query = query.where(
            QueueRow.item.in_(wanting),
            QueueRow.state == "failed",
            QueueRow.error_class == DEPENDENCY_FAILED,
        )
    return list(session.scalars(query.order_by(QueueRow.item)))


def _has_dependencies(session: Session, row: QueueRow) -> bool:
    needs = select(QueueDependencyRow.item).where(
        QueueDependencyRow.item == row.item, QueueDependencyRow.level == row.level
    )
    return session.execute(needs.limit(1)).first() is not None


def _locked(session: Session, key: ItemKey) -> QueueRow | None:
    query = select(QueueRow).where(QueueRow.item == key[0], QueueRow.level == key[1])
    return session.scalars(
        query.with_for_update().execution_options(populate_existing=True)
    ).first()


def _state(session: Session, key: ItemKey) -> QueueState:
    query = select(QueueRow.state).where(QueueRow.item == key[0], QueueRow.level == key[1])
    return session.execute(query).scalar_one()


def _store(session: Session, row: QueueRow, **values: object) -> None:
    session.execute(
        update(QueueRow)
        .where(QueueRow.item == row.item, QueueRow.level == row.level)
        .values(values)
        .execution_options(synchronize_session=False)
    )
