"""Print checkpoints: which one serves a model, how each was made, and the verdict of the gate."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flows.display.tables import new_table, print_table
from flows.errors import CampaignError
from screening_db.database import Database
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.serving import promotions, recorded_checkpoints
from screening_db.learning.stale import is_stale, model_of_campaign
from screening_db.queries import all_campaigns
from screening_db.tables import CheckpointRow, FineTuningRow, PromotionRow

_SHORT = 12


def show_models(db: Database, model: str | None, serving: Mapping[str, str | None]) -> None:
    """Print the checkpoints of a model, or of all that the database knows.

    Args:
        db: The database.
        model: The model's name, or None for all.
        serving: The SHA-256 of the checkpoint that serves each model.

    Raises:
        CampaignError: none is known.
    """
    rows = recorded_checkpoints(db, model)
    if not rows:
        named = f"model {model}" if model else "any model"
        raise CampaignError(
            f"no checkpoint of {named} is recorded in {db.where}; a campaign records the one it "
            "is screened with"
        )
    for name in dict.fromkeys(row.model for row in rows):
        _show_model(db, name, serving.get(name), [row for row in rows if row.model == name])


def show_checkpoint(db: Database, row: CheckpointRow, serving: str | None, location: str) -> None:
    """Print the whole record of one checkpoint.

    Args:
        db: The database.
        row: The checkpoint.
        serving: The SHA-256 of the checkpoint that serves its model.
        location: The folder it lies in, if it is not embedded.
    """
    serves = " and serves now" if serving == row.sha256 else ""
    lines = [
        ("checkpoint", row.sha256),
        ("model", f"{row.model}{serves}"),
        ("kind", row.kind),
        ("lies in", location if row.folder else f"embedded as {row.name}"),
        ("parent", row.parent_sha256 or ""),
        (
            "ranks",
            ", ".join(c.name for c in all_campaigns(db) if c.checkpoint_sha256 == row.sha256),
        ),
    ]
    for name, value in lines:
        if value:
            print(f"{name:<12}{value}")
    for tuning in _tunings_of(db, row):
        _show_tuning(tuning)
    for line in promotions(db, row.model):
        if row.sha256 in (line.checkpoint_sha256, line.previous_sha256):
            print(f"{'log':<12}{_promotion(line)}")


def show_stale(db: Database, model: str, serving: str | None) -> None:
    """Print which campaigns of a model are ranked by another checkpoint than the serving one."""
    ranked = [
        row
        for row in all_campaigns(db)
        if row.status == "finished" and model_of_campaign(db, row.name) == model
    ]
    for row in ranked:
        if serving and is_stale(db, row.name, serving):
            print(
                f"{row.name} is ranked by {row.checkpoint_sha256[:_SHORT]}; follow with: "
                f"sabatier rescore {row.name}"
            )


def _show_model(
    db: Database, model: str, serving: str | None, rows: Sequence[CheckpointRow]
) -> None:
    table = new_table(
        f"{model}: checkpoints",
        ("serves", "checkpoint", "from", "labels", "level", "verdict", "MAE (eV)", "coverage"),
        right={"labels", "MAE (eV)", "coverage"},
    )
    for row in rows:
        tuning = next(iter(_tunings_of(db, row)[::-1]), None)
        table.add_row(
            "now" if row.sha256 == serving else "",
            row.sha256[:_SHORT],
            (row.parent_sha256 or "")[:_SHORT],
            *_judged(tuning),
        )
    print_table(table)
    for tuning in fine_tunings(db, model=model):
        if tuning.checkpoint_sha256 is None:
            print(
                f"fine-tuning {tuning.id[:_SHORT]} {tuning.state}: {tuning.error or 'no end yet'}"
            )
    log = promotions(db, model)
    print(f"last change: {_promotion(log[-1])}" if log else "nothing was promoted")


def _judged(tuning: FineTuningRow | None) -> tuple[str, str, str, str, str]:
    if tuning is None:
        return "", "", "", "", ""
    numbers = tuning.report.get("numbers", tuning.report)
    return (
        str(tuning.n_labels),
        tuning.level,
        tuning.state,
        _change(numbers, "mae_before_ev", "mae_after_ev", "{:.3f}"),
        _change(numbers, "coverage_before", "coverage_after", "{:.0%}"),
    )


def _change(numbers: Mapping[str, Any], before: str, after: str, form: str) -> str:
    values = [_number(numbers, name) for name in (before, after)]
    return " to ".join(form.format(value) for value in values if value is not None)


def _number(numbers: Mapping[str, Any], name: str) -> float | None:
    """Return a number of a report: of its labels where parts are reported, else of all."""
    group, _, which = name.partition("_")
    nested = numbers.get("errors" if group == "mae" else group, {})
    if isinstance(nested, Mapping):
        part = nested.get("labels", nested)
        key = name if group == "mae" else which
        if isinstance(part, Mapping) and isinstance(part.get(key), int | float):
            return float(part[key])
    value = numbers.get(name)
    return float(value) if isinstance(value, int | float) else None


def _tunings_of(db: Database, row: CheckpointRow) -> list[FineTuningRow]:
    found = fine_tunings(db, model=row.model)
    return [tuning for tuning in found if tuning.checkpoint_sha256 == row.sha256]


def _show_tuning(tuning: FineTuningRow) -> None:
    until = _time(tuning.ended_at) if tuning.ended_at else "now"
    print(f"{'fine-tuning':<12}{tuning.id[:_SHORT]} {tuning.state}")
    lines = [
        ("campaign", tuning.campaign),
        ("labels", f"{tuning.n_labels} at {tuning.level}, set {tuning.training_set[:_SHORT]}"),
        ("method", tuning.method),
        ("time", f"{_time(tuning.started_at)} to {until}"),
        ("reasons", "; ".join(map(str, tuning.report.get("reasons", ())))),
        ("numbers", json.dumps(tuning.report.get("numbers", tuning.report), indent=1)),
    ]
    for name, value in lines:
        if value:
            print(f"  {name:<10}{value.replace(chr(10), chr(10) + ' ' * 12)}")


def _promotion(line: PromotionRow) -> str:
    before = line.previous_sha256[:_SHORT] if line.previous_sha256 else "its first checkpoint"
    how = {"gate": "by the gate", "by hand": "by hand", "rollback": "by a rollback"}[line.why]
    return f"{_time(line.at)}: {line.checkpoint_sha256[:_SHORT]} instead of {before}, {how}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
