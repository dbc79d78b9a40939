"""Record the steps of relaxations while they run, and read them.

They draw the curve of a running calculation, and their last geometry is where the next attempt
resumes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from screening_db.database import Database, batches, repeated_after_outage, upsert
from screening_db.tables import CalculationRow, CalculationStepRow

AttemptKey = tuple[str, str, str]  # item, level, token


@dataclass(frozen=True)
class Step:
    """One step of a relaxation: energy in eV, largest force in eV/Å, seconds since 1970, UTC."""

    step: int
    energy_ev: float
    fmax: float
    at: float


@dataclass(frozen=True)
class ReportedStep:
    """A step of a running attempt, with the geometry there as structure text."""

    item: str
    level: str
    token: str
    step: Step
    structure: str

    @property
    def key(self) -> AttemptKey:
        """Return the key of its attempt."""
        return self.item, self.level, self.token


@repeated_after_outage
def record_reported_steps(db: Database, reported: Sequence[ReportedStep]) -> set[AttemptKey]:
    """Store steps and the last geometry of running attempts; return which of them are running.

    Steps of an attempt that has ended, or that is of another database, are ignored.
    """
    by_attempt: dict[AttemptKey, list[ReportedStep]] = {}
    for one in reported:
        by_attempt.setdefault(one.key, []).append(one)
    running: set[AttemptKey] = set()
    with db.write() as session:
        for key, steps in sorted(by_attempt.items()):
            last = max(steps, key=lambda one: (one.step.at, one.step.step))
            if _set_geometry(session, key, last.structure):
                running.add(key)
                store_steps(session, key, [one.step for one in steps])
    return running


def store_steps(session: Session, key: AttemptKey, steps: Iterable[Step]) -> None:
    """Store steps of a recorded attempt; a step that is reported twice is stored once."""
    item, level, token = key
    rows = [
        CalculationStepRow(
            item=item,
            level=level,
            token=token,
            step=one.step,
            energy_ev=one.energy_ev,
            fmax=one.fmax,
            at=one.at,
        )
        for one in steps
    ]
    for batch in batches(rows):
        upsert(session, batch, overwrite=True)


def delete_steps(session: Session, key: AttemptKey) -> None:
    """Delete the steps of an attempt that is taken back."""
    session.execute(delete(CalculationStepRow).where(_of(key)))


@repeated_after_outage
def steps_of(db: Database, key: AttemptKey) -> list[Step]:
    """Return the steps of one attempt in their order."""
    query = select(CalculationStepRow).where(_of(key)).order_by(CalculationStepRow.step)
    with db.read() as session:
        return [_step(row) for row in session.scalars(query)]


@repeated_after_outage
def running_steps(db: Database) -> dict[tuple[str, str], Step]:
    """Return the last step of each running attempt.

    Args:
        db: The database.

    Returns:
        Steps (eV, eV/Å) by item and level; an attempt without a step is left out.
    """
    newest = (
        select(
            CalculationStepRow.item,
            CalculationStepRow.level,
            CalculationStepRow.token,
            func.max(CalculationStepRow.step).label("step"),
        )
        .join(CalculationRow, _same_attempt())
        .where(CalculationRow.state == "running")
        .group_by(CalculationStepRow.item, CalculationStepRow.level, CalculationStepRow.token)
    )
    named = tuple_(
        CalculationStepRow.item,
        CalculationStepRow.level,
        CalculationStepRow.token,
        CalculationStepRow.step,
    )
    with db.read() as session:
        rows = session.scalars(select(CalculationStepRow).where(named.in_(newest)))
        return {(row.item, row.level): _step(row) for row in rows}


@repeated_after_outage
def first_fmax(db: Database, item: str, level: str) -> float:
    """Return the largest force (eV/Å) at the start of an item's attempts, 0 without a record."""
    query = select(func.max(CalculationStepRow.fmax)).where(
        CalculationStepRow.item == item,
        CalculationStepRow.level == level,
        CalculationStepRow.step == 0,
    )
    with db.read() as session:
        return session.scalar(query) or 0.0


def _set_geometry(session: Session, key: AttemptKey, structure: str) -> bool:
    """Set the geometry of an attempt if it is running, and return whether it is."""
    item, level, token = key
    statement = (
        update(CalculationRow)
        .where(
            CalculationRow.item == item,
            CalculationRow.level == level,
            CalculationRow.token == token,
            CalculationRow.state == "running",
        )
        .values(structure_out=structure)
        .returning(CalculationRow.item)
    )
    return session.execute(statement).first() is not None


def _same_attempt() -> ColumnElement[bool]:
    return and_(
        CalculationRow.item == CalculationStepRow.item,
        CalculationRow.level == CalculationStepRow.level,
        CalculationRow.token == CalculationStepRow.token,
    )


def _of(key: AttemptKey) -> ColumnElement[bool]:
    item, level, token = key
    return and_(
        CalculationStepRow.item == item,
        CalculationStepRow.level == level,
        CalculationStepRow.token == token,
    )


def _step(row: CalculationStepRow) -> Step:
    return Step(row.step, row.energy_ev, row.fmax, row.at)
