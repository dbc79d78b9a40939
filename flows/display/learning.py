"""Print the rounds of a loop, and the verdict of the gate on a fine-tuning."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.display.tables import new_table, print_table
from screening_db.database import Database
from screening_db.learning.rounds import rounds
from screening_db.tables import RoundRow

_COLUMNS = (
    *("round", "calculated", "labels", "found", "new labels: MAE, 90 %", "held out before"),
    *("after", "verdict", "min"),
)
_NUMBERS = set(_COLUMNS) - {"verdict"}


def show_rounds(db: Database, campaign: str) -> None:
    """Print a line for each round of a campaign's loop, and the notes of the gate."""
    rows = rounds(db, campaign)
    table = new_table(f"{campaign}: rounds", _COLUMNS, right=_NUMBERS)
    for row in rows:
        table.add_row(*_cells(row))
    print_table(table)
    print(
        "errors in eV, and the share of labels inside the 90 % interval; new labels: predicted "
        "before they were calculated; held out: labels that neither checkpoint learnt from"
    )
    for row in rows:
        if row.note:
            print(f"round {row.number}: {row.note}")


def show_round(row: RoundRow) -> None:
    """Print a round as it ends."""
    outcome = "; ".join(part for part in (row.verdict, row.note) if part)
    print(
        f"round {row.number}: {row.labels} labels, {row.found} inside the target, new ones "
        f"predicted within {_error(row.mae_new_ev, row.coverage_new)}; "
        f"{outcome or 'nothing learnt'}",
        flush=True,
    )


def show_fine_tuning(
    model: str, method: str, labels: int, errors: Mapping[str, Any], reasons: Sequence[str]
) -> None:
    """Print the errors that the gate compared, and why it rejected a checkpoint, if it did.

    Args:
        model: The model's name.
        method: How it was fine-tuned.
        labels: How many labels it was fine-tuned on.
        errors: For each group of rows, their number, the mean absolute errors before and after
            (eV), their difference and its bounds (eV).
        reasons: Why the gate rejected the checkpoint; nothing if it did not.
    """
    table = new_table(
        f"{model}: {method} of it on {labels} labels",
        ("rows of the gate", "number", "MAE before (eV)", "after", "difference, 95 % bounds"),
        right={"number", "MAE before (eV)", "after"},
    )
    for name, found in errors.items():
        table.add_row(
            name.replace("_", " "),
            str(found["rows"]),
            f"{found['mae_before_ev']:.3f}",
            f"{found['mae_after_ev']:.3f}",
            f"{found['difference_ev']:+.3f} ({found['lower_ev']:+.3f} to {found['upper_ev']:+.3f})",
        )
    print_table(table)
    for reason in reasons:
        print(f"rejected: {reason}")


def _cells(row: RoundRow) -> Sequence[str]:
    calculated = f"{row.converged + row.anomalous + row.failed}"
    faults = (("anomalous", row.anomalous), ("failed", row.failed))
    wrong = ", ".join(f"{count} {name}" for name, count in faults if count)
    minutes = "" if row.ended_at is None else f"{(row.ended_at - row.started_at) / 60:.1f}"
    return (
        str(row.number),
        f"{calculated} ({wrong})" if wrong else calculated,
        str(row.labels),
        str(row.found),
        _error(row.mae_new_ev, row.coverage_new),
        _error(row.mae_before_ev, row.coverage_before),
        _error(row.mae_after_ev, row.coverage_after),
        row.verdict or ("running" if row.state == "running" else "-"),
        minutes,
    )


def _error(mae_ev: float | None, coverage: float | None) -> str:
    if mae_ev is None or coverage is None:
        return "-"
    return f"{mae_ev:.3f}, {100 * coverage:.0f} %"
