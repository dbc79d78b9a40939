"""Record the rounds of a campaign's loop: one row for each, which outlives its process."""

from dataclasses import asdict, dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from screening_db.database import Database, database_time, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.tables import RoundRow, Verdict


@dataclass(frozen=True)
class RoundResult:
    """The costs and results of a round so far; None where nothing was measured.

    ``spent`` is in the unit of the round's budget; errors in eV; coverage is the share of 90 %
    intervals that hold their label.
    """

    spent: float = 0.0
    converged: int = 0
    anomalous: int = 0
    failed: int = 0
    labels: int = 0
    found: int = 0
    mae_new_ev: float | None = None
    coverage_new: float | None = None
    mae_before_ev: float | None = None
    mae_after_ev: float | None = None
    coverage_before: float | None = None
    coverage_after: float | None = None
    checkpoint_after: str | None = None
    verdict: Verdict = ""
    note: str = ""


@repeated_after_outage
def begin_round(
    db: Database, campaign: str, *, budget: float, checkpoint_before: str | None = None
) -> RoundRow:
    """Begin the next round of a campaign, or continue the one that was not ended.

    A continued round keeps its budget, start and first checkpoint.
    """
    with db.write() as session:
        last = _last(session, campaign)
        if last is not None and last.state == "running":
            return last
        row = RoundRow(
            campaign=campaign,
            number=last.number + 1 if last else 1,
            started_at=database_time(session),
            budget=budget,
            checkpoint_before=checkpoint_before,
        )
        session.add(row)
    return row


@repeated_after_outage
def update_round(db: Database, campaign: str, number: int, numbers: RoundResult) -> None:
    """Store the result of a running round so far.

    Raises:
        DatabaseError: the round does not run.
    """
    with db.write() as session:
        if not _store(session, campaign, number, asdict(numbers)):
            raise _not_running(db, campaign, number)


@repeated_after_outage
def end_round(
    db: Database, campaign: str, number: int, numbers: RoundResult, *, stopped: str = ""
) -> None:
    """End a round with its result; ending it again changes nothing.

    Args:
        db: The database.
        campaign: The campaign's name.
        number: The round's number.
        numbers: Its costs and errors (eV).
        stopped: Why the loop ends here, empty where it continues.

    Raises:
        DatabaseError: there is no such round.
    """
    with db.write() as session:
        end = {"state": "finished", "ended_at": database_time(session), "stopped": stopped}
        ended = _store(session, campaign, number, asdict(numbers) | end)
        if not ended and session.get(RoundRow, (campaign, number)) is None:
            raise _not_running(db, campaign, number)


@repeated_after_outage
def rounds(db: Database, campaign: str) -> list[RoundRow]:
    """Return the rounds of a campaign, the first one first."""
    query = select(RoundRow).where(RoundRow.campaign == campaign).order_by(RoundRow.number)
    with db.read() as session:
        return list(session.scalars(query))


def _last(session: Session, campaign: str) -> RoundRow | None:
    query = (
        select(RoundRow)
        .where(RoundRow.campaign == campaign)
        .order_by(RoundRow.number.desc())
        .limit(1)
    )
    return session.scalar(query)


def _store(session: Session, campaign: str, number: int, values: dict[str, object]) -> bool:
    """Change a running round; False where none of that number runs."""
    changed = session.execute(
        update(RoundRow)
        .where(
            RoundRow.campaign == campaign, RoundRow.number == number, RoundRow.state == "running"
        )
        .values(values)
        .returning(RoundRow.number)
    )
    return changed.first() is not None


def _not_running(db: Database, campaign: str, number: int) -> DatabaseError:
    return DatabaseError(
        f"a result is stored while its round runs; round {number} of campaign {campaign} does not "
        f"run in {db.where}; begin one first"
    )
