"""The dependencies of adslabs: clean slabs and gas molecules, each computed once.

An adslab whose dependencies are recorded waits until each has an energy at its level. A dependency
is an item of the queue like itself, as urgent as the most urgent adslab that needs it, and
is not queued where its energy is recorded already.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, exists, func, literal_column, select, text, update
from sqlalchemy.orm import Session, aliased

from screening_db.calculations import DEPENDENCY_FAILED, sha256_of
from screening_db.database import Database, add_new, batches, repeated_after_outage, upsert
from screening_db.tables import (
    CandidateRow,
    QueueDependencyRow,
    QueueRow,
    QueueState,
    ReferenceEnergyRow,
    ReferenceKind,
    SlabRow,
)

_NOT_BEGUN = ("queued", "held")
_WAITING = QueueRow.state == literal_column("'waiting'")  # the partial index applies to a literal
_LOCK = 8_253_319  # any number that is ours: one PostgreSQL session plans at a time


@dataclass(frozen=True, order=True)
class Dependency:
    """A clean slab by its id, or a gas molecule by its name."""

    kind: ReferenceKind
    item: str


@repeated_after_outage
def without_dependencies(db: Database, level: str) -> list[CandidateRow]:
    """Return the queued candidates, by id, whose needs are not recorded."""
    query = (
        select(CandidateRow)
        .join(QueueRow, QueueRow.item == CandidateRow.id)
        .where(
            QueueRow.level == level,
            QueueRow.state.in_(_NOT_BEGUN),
            ~exists().where(
                QueueDependencyRow.item == QueueRow.item, QueueDependencyRow.level == level
            ),
        )
        .order_by(CandidateRow.id)
    )
    with db.read() as session:
        return list(session.scalars(query))


@repeated_after_outage
def record_dependencies(
    db: Database, level: str, needs: Mapping[str, Collection[Dependency]]
) -> int:
    """Record the dependencies of adslabs, which then wait for those that have no energy yet.

    Adslabs that were begun or ended in the meantime are unchanged.

    Args:
        db: The database.
        level: The level of theory, by name.
        needs: The dependencies by candidate id.

    Returns:
        How many slabs and molecules were put in the queue.
    """
    new = 0
    with db.write() as session:
        lock_planning(session)
        for ids in batches(sorted(candidate for candidate in needs if needs[candidate])):
            adslabs = list(session.scalars(_not_begun(level, ids)))
            upsert(session, _need_rows(adslabs, needs), overwrite=False)
            new += add_new(session, _need_items(session, level, adslabs, needs))
            waiting = [row.item for row in adslabs if row.state == "queued"]
            _change(session, level, waiting, "waiting")
        raise_priorities(session, level)
        resolve_waiting(session, level)
    return new


@repeated_after_outage
def record_references(db: Database, references: Sequence[ReferenceEnergyRow]) -> None:
    """Store reference energies; the first calculation of each stays.

    Adslabs of the queue that waited for them are queued.
    """
    with db.write() as session:
        upsert(session, references, overwrite=False)
        for level in sorted({row.level for row in references}):
            resolve_waiting(session, level)


def resolve_waiting(session: Session, level: str) -> None:
    """Queue waiting adslabs whose dependencies are done; fail those with one that failed.

    Called wherever energies or states change, and at every claim, because two transactions that
    store the last two needs of an adslab at once do not see each other. It waits for nobody.
    """
    for ids in batches(session.scalars(_found_elsewhere(level)).all()):
        _change(session, level, ids, "converged")
    for adslab, need, state, why in session.execute(_hopeless(level)).all():
        reason = f"it needs {need[:12]}, which is {state}{': ' if why else ''}{why}"
        _change(session, level, [adslab], "failed", DEPENDENCY_FAILED, reason)
    for ids in batches(session.scalars(_ready(level)).all()):
        _change(session, level, ids, "queued")


def delete_dependencies(session: Session, level: str, adslabs: Sequence[str]) -> None:
    """Delete the dependencies of adslabs, then items not begun that no adslab needs any more."""
    for ids in batches(adslabs):
        session.execute(
            delete(QueueDependencyRow).where(
                QueueDependencyRow.level == level, QueueDependencyRow.item.in_(ids)
            )
        )
    needed = exists().where(
        QueueDependencyRow.level == QueueRow.level, QueueDependencyRow.needs == QueueRow.item
    )
    session.execute(
        delete(QueueRow).where(
            QueueRow.level == level,
            QueueRow.kind != "adslab",
            QueueRow.state == "queued",
            QueueRow.attempts == 0,
            ~needed,
        )
    )


def raise_priorities(session: Session, level: str) -> None:
    """Make every dependency as urgent as the most urgent open adslab that needs it.

    Args:
        session: Session of the caller's transaction; nothing is committed here.
        level: Level of theory whose queue is changed.
    """
    adslab = aliased(QueueRow)
    urgency = (
        select(func.max(adslab.priority))
        .join(
            QueueDependencyRow,
            (QueueDependencyRow.item == adslab.item) & (QueueDependencyRow.level == level),
        )
        .where(
            adslab.level == level,
            adslab.state.in_((*_NOT_BEGUN, "waiting")),
            QueueDependencyRow.needs == QueueRow.item,
        )
        .correlate(QueueRow)
        .scalar_subquery()
    )
    session.execute(
        update(QueueRow)
        .where(QueueRow.level == level, QueueRow.kind != "adslab", QueueRow.state.in_(_NOT_BEGUN))
        .values(priority=func.coalesce(urgency, QueueRow.priority))
        .execution_options(synchronize_session=False)
    )


def lock_planning(session: Session) -> None:
    """Let one PostgreSQL session at a time plan or command; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _not_begun(level: str, ids: Sequence[str]) -> Select[tuple[QueueRow]]:
    return (
        select(QueueRow)
        .where(
            QueueRow.level == level,
            QueueRow.kind == "adslab",
            QueueRow.item.in_(ids),
            QueueRow.state.in_(_NOT_BEGUN),
        )
        .order_by(QueueRow.item)
        .with_for_update()
    )


def _need_rows(
    adslabs: Sequence[QueueRow], needs: Mapping[str, Collection[Dependency]]
) -> list[QueueDependencyRow]:
    return [
        QueueDependencyRow(item=row.item, level=row.level, needs=need.item, kind=need.kind)
        for row in adslabs
        for need in needs[row.item]
    ]


def _need_items(
    session: Session,
    level: str,
    adslabs: Sequence[QueueRow],
    needs: Mapping[str, Collection[Dependency]],
) -> list[QueueRow]:
    """Return the queue items of the needs that have no energy yet."""
    needed_by: dict[Dependency, QueueRow] = {}
    for row in sorted(adslabs, key=lambda row: (row.priority, row.item)):  # the most urgent last
        needed_by |= dict.fromkeys(needs[row.item], row)
    computed = _with_energy(session, level)
    structures = _slab_hashes(session, [need.item for need in needed_by if need.kind == "slab"])
    return [
        QueueRow(
            item=need.item,
            level=level,
            kind=need.kind,
            campaign=row.campaign,
            priority=row.priority,
            why="needed",
            structure_sha256=structures.get(need.item, ""),
        )
        for need, row in sorted(needed_by.items(), key=lambda pair: pair[0])
        if need not in computed
    ]


def _with_energy(session: Session, level: str) -> set[Dependency]:
    query = select(ReferenceEnergyRow.kind, ReferenceEnergyRow.item).where(
        ReferenceEnergyRow.level == level
    )
    return {Dependency(kind, item) for kind, item in session.execute(query)}


def _slab_hashes(session: Session, slab_ids: Sequence[str]) -> dict[str, str]:
    query = select(SlabRow.id, SlabRow.structure).where(SlabRow.id.in_(slab_ids))
    return {slab_id: sha256_of(structure) for slab_id, structure in session.execute(query)}


def _found_elsewhere(level: str) -> Select[tuple[str]]:
    """Select slabs and molecules whose energy came by another way than their own item."""
    found = exists().where(
        ReferenceEnergyRow.level == level,
        ReferenceEnergyRow.kind == QueueRow.kind,
        ReferenceEnergyRow.item == QueueRow.item,
    )
    return (
        select(QueueRow.item)
        .where(
            QueueRow.level == level,
            QueueRow.kind != "adslab",
            QueueRow.state.in_((*_NOT_BEGUN, "failed", "cancelled")),
            found,
        )
        .with_for_update(skip_locked=True)
    )


def _hopeless(level: str) -> Select[tuple[str, str, QueueState, str]]:
    """Select waiting adslabs with a need that ended without an energy, and why it did."""
    need = aliased(QueueRow)
    return (
        select(QueueRow.item, need.item, need.state, need.error_message)
        .join(
            QueueDependencyRow,
            (QueueDependencyRow.item == QueueRow.item) & (QueueDependencyRow.level == level),
        )
        .join(need, (need.item == QueueDependencyRow.needs) & (need.level == level))
        .where(_WAITING, QueueRow.level == level, need.state.in_(("failed", "cancelled")))
        .order_by(QueueRow.item, need.item)
        .with_for_update(skip_locked=True, of=QueueRow)
    )


def _ready(level: str) -> Select[tuple[str]]:
    """Select waiting adslabs whose dependencies have all converged or left the queue."""
    need = aliased(QueueRow)
    missing = (
        select(need.item)
        .join(QueueDependencyRow, QueueDependencyRow.needs == need.item)
        .where(
            need.level == level,
            need.state != "converged",
            QueueDependencyRow.level == level,
            QueueDependencyRow.item == QueueRow.item,
        )
        .correlate(QueueRow)
        .exists()
    )
    return (
        select(QueueRow.item)
        .where(_WAITING, QueueRow.level == level, ~missing)
        .with_for_update(skip_locked=True)
    )


def _change(
    session: Session,
    level: str,
    items: Sequence[str],
    state: QueueState,
    error_class: str = "",
    message: str = "",
) -> None:
    """Give items without a lease another state; without an error the last one stays."""
    error = {"error_class": error_class, "error_message": message} if error_class else {}
    session.execute(
        update(QueueRow)
        .where(QueueRow.level == level, QueueRow.item.in_(items), QueueRow.state != "leased")
        .values({"state": state} | error)
        .execution_options(synchronize_session=False)
    )
