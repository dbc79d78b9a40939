"""The steps of relaxations as they are done: what a page shows, and where another try goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from screening_db.database.bulk import batches, upsert
from screening_db.database.engine import Database
from screening_db.tables.verification import CalculationRow, CalculationStepRow

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
    """A step of a running try, with the geometry there as structure text."""

    item: str
    level: str
    token: str
    step: Step
    structure: str

    @property
    def key(self) -> AttemptKey:
        """Return the try that it is of."""
        return self.item, self.level, self.token


def record_reported_steps(db: Database, told: Sequence[ReportedStep]) -> set[AttemptKey]:
    """Store steps and the last geometry of tries that are running; return which of them are.

    What is told of a try that has ended, or of one of another database, is left out.
    """
    by_try: dict[AttemptKey, list[ReportedStep]] = {}
    for one in told:
        by_try.setdefault(one.key, []).append(one)
    running: set[AttemptKey] = set()
    with db.write() as session:
        for key, steps in sorted(by_try.items()):
            last = max(steps, key=lambda one: (one.step.at, one.step.step))
            if _moved_on(session, key, last.structure):
                running.add(key)
                store_steps(session, key, [one.step for one in steps])
    return running


def store_steps(session: Session, key: AttemptKey, steps: Iterable[Step]) -> None:
    """Store steps of a try that is recorded; what is told twice counts once."""
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
    """Delete the steps of a try that is taken back."""
    session.execute(delete(CalculationStepRow).where(_of(key)))


def steps_of(db: Database, key: AttemptKey) -> list[Step]:
    """Return the steps of one try in their order."""
    query = select(CalculationStepRow).where(_of(key)).order_by(CalculationStepRow.step)
    with db.read() as session:
        return [_step(row) for row in session.scalars(query)]


def running_steps(db: Database) -> dict[tuple[str, str], Step]:
    """Return the last step of each running try, by item and level."""
    newest = (
        select(
            CalculationStepRow.item,
            CalculationStepRow.level,
            CalculationStepRow.token,
            func.max(CalculationStepRow.step).label("step"),
        )
        .join(CalculationRow, _same_try())
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


def first_fmax(db: Database, item: str, level: str) -> float:
    """Return the largest force (eV/Å) at a start of an item's tries; 0 where none is known."""
    query = select(func.max(CalculationStepRow.fmax)).where(
        CalculationStepRow.item == item,
        CalculationStepRow.level == level,
        CalculationStepRow.step == 0,
    )
    with db.read() as session:
        return session.scalar(query) or 0.0


def _moved_on(session: Session, key: AttemptKey, structure: str) -> bool:
    """Set the geometry of a try and tell whether it runs."""
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


def _same_try() -> ColumnElement[bool]:
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
