"""Record fine-tunings: their inputs, their checkpoints, and the verdict of the gate."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from screening_db.database import Database, database_time, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.records.screening import record_checkpoint_in
from screening_db.tables import CheckpointRow, FineTuningRow, FineTuningState

_SHORT = 12


@dataclass(frozen=True)
class FineTuningSpec:
    """The inputs of a fine-tuning; equal inputs are one fine-tuning."""

    campaign: str
    model: str
    parent_sha256: str
    training_set: str  # the hash of its rows' ids
    level: str
    method: str  # and all else of the recipe that decides the result, its seed included

    @property
    def id(self) -> str:
        """Return the SHA-256 of the inputs."""
        return hashlib.sha256(json.dumps(astuple(self)).encode()).hexdigest()


@repeated_after_outage
def record_fine_tuning(
    db: Database, tuning: FineTuningSpec, *, n_labels: int, folder: str = ""
) -> FineTuningRow:
    """Store that a fine-tuning runs, and return its row.

    One that runs is continued. One that failed is attempted again, in its folder. One that was
    judged is unchanged: the caller sees its state and checkpoint.
    """
    with db.write() as session:
        now = database_time(session)
        row = session.get(FineTuningRow, tuning.id)
        if row is None:
            row = _begun(tuning, n_labels, folder, now)
            session.add(row)
        elif row.state == "failed":
            row.state, row.error, row.started_at, row.ended_at = "running", "", now, None
    return row


@repeated_after_outage
def end_fine_tuning(
    db: Database,
    tuning_id: str,
    state: FineTuningState,
    *,
    checkpoint: CheckpointRow | None = None,
    report: Mapping[str, Any] | None = None,
    error: str = "",
) -> None:
    """Store how a fine-tuning ended; ending it again alike changes nothing.

    Args:
        db: The database.
        tuning_id: The id of its inputs.
        state: ``accepted``, ``rejected`` or ``failed``.
        checkpoint: The checkpoint that it made; a verdict needs one.
        report: The numbers of the gate.
        error: Why it failed.

    Raises:
        DatabaseError: it is unknown or ended otherwise, or a verdict comes without a checkpoint.
    """
    if state == "running":
        raise DatabaseError("a fine-tuning ends accepted, rejected or failed, got running")
    if state != "failed" and checkpoint is None:
        raise DatabaseError(f"a verdict is over a checkpoint; {state} came without one")
    with db.write() as session:
        row = _found(session, db, tuning_id)
        sha256 = checkpoint.sha256 if checkpoint else None
        if row.state != "running":
            _refuse_another_end(row, state, sha256)
            return
        if checkpoint is not None:
            record_checkpoint_in(session, checkpoint)
        session.execute(
            update(FineTuningRow)
            .where(FineTuningRow.id == tuning_id)
            .values(
                state=state,
                checkpoint_sha256=sha256,
                report=dict(report or {}),
                error=error,
                ended_at=database_time(session),
            )
        )


@repeated_after_outage
def fine_tunings(
    db: Database, *, campaign: str | None = None, model: str | None = None
) -> list[FineTuningRow]:
    """Return the fine-tunings of a campaign, of a model, or all, in the order of their starts."""
    query = select(FineTuningRow).order_by(FineTuningRow.started_at, FineTuningRow.id)
    if campaign is not None:
        query = query.where(FineTuningRow.campaign == campaign)
    if model is not None:
        query = query.where(FineTuningRow.model == model)
    with db.read() as session:
        return list(session.scalars(query))


def _begun(tuning: FineTuningSpec, n_labels: int, folder: str, now: float) -> FineTuningRow:
    return FineTuningRow(
        id=tuning.id,
        campaign=tuning.campaign,
        model=tuning.model,
        parent_sha256=tuning.parent_sha256,
        training_set=tuning.training_set,
        level=tuning.level,
        method=tuning.method,
        n_labels=n_labels,
        folder=folder,
        started_at=now,
    )


def _found(session: Session, db: Database, tuning_id: str) -> FineTuningRow:
    row = session.get(FineTuningRow, tuning_id, with_for_update=True)
    if row is None:
        raise DatabaseError(f"fine-tuning {tuning_id[:_SHORT]} was not begun in {db.where}")
    return row


def _refuse_another_end(row: FineTuningRow, state: FineTuningState, sha256: str | None) -> None:
    if (row.state, row.checkpoint_sha256) != (state, sha256):
        raise DatabaseError(
            f"a fine-tuning ends once; {row.id[:_SHORT]} ended {row.state} with checkpoint "
            f"{(row.checkpoint_sha256 or 'none')[:_SHORT]}, now {state} with "
            f"{(sha256 or 'none')[:_SHORT]}"
        )
