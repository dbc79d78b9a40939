"""Print the results of a verification: labels beside predictions, their origin, failures."""

from collections import Counter
from collections.abc import Sequence

from flows.display.tables import new_table, print_table
from screening_db.calculations import attempts_with_result
from screening_db.database import Database
from screening_db.learning.imported_labels import IMPORTED
from screening_db.queries import LabelledPrediction, find_campaign, labelled_predictions
from screening_db.queue.view import queue_items
from tasks.reports.report import LabelComparison, agreement, surface_name

SHORT_ID = 12
_FAILURES_SHOWN = 10


def show_verified(db: Database, campaign: str) -> None:
    """Print the labels of a campaign, how they were computed, and its failures with reasons."""
    rows = labelled_predictions(db, campaign)
    show_labels(rows, campaign)
    _show_provenance(db, rows)
    _show_failures(db, campaign)


def show_labels(rows: Sequence[LabelledPrediction], campaign: str) -> None:
    """Print labels beside predictions, and the error of those that can be compared.

    Args:
        rows: The labels; one of another level than its prediction gets no error.
        campaign: The campaign's name, for the title.
    """
    table = new_table(
        f"{campaign}: labels beside predictions (eV)",
        ("id", "surface", "adsorbate", "site", "predicted", "label", "error", "counts"),
        right={"predicted", "label", "error"},
    )
    compared = []
    for row in rows:
        pair = LabelComparison(
            row.candidate_id, row.adsorbate, row.predicted_ev, row.sigma_ev, row.label_ev
        )
        comparable = row.level == row.predicted_level
        if row.trainable and comparable:
            compared.append(pair)
        table.add_row(
            row.candidate_id[:SHORT_ID],
            surface_name(row.bulk, row.miller, row.termination, row.edit),
            row.adsorbate,
            row.site,
            f"{pair.predicted_ev:+.2f} ± {pair.sigma_ev:.2f}",
            f"{pair.label_ev:+.2f}",
            f"{pair.error_ev:+.2f}" if comparable else "-",
            "yes" if row.trainable else "no (flagged)",
        )
    print_table(table)
    for first in rows[:1]:
        if first.level != first.predicted_level:
            print(
                f"predicted at {first.predicted_level}, labels at {first.level}: energies of two "
                "levels of theory are not compared"
            )
    found = agreement(compared)
    if found.count:
        print(
            f"{found.count} labels count: MAE {found.mae_ev:.3f} eV, "
            f"90 % intervals hold {100 * found.coverage_90:.0f} % of them"
        )


def _show_provenance(db: Database, rows: Sequence[LabelledPrediction]) -> None:
    """Print the engine, level and host of labels, and the time they took, from their attempts."""
    made: Counter[str] = Counter()
    spent_s: dict[str, float] = {}
    imported: Counter[str] = Counter()
    for level in sorted({row.level for row in rows}):
        ids = [row.candidate_id for row in rows if row.level == level]
        last = {
            attempt.item: attempt for attempt in attempts_with_result(db, level, ids)
        }  # that of its label
        for attempt in last.values():
            if attempt.engine == IMPORTED:
                imported[attempt.note.partition(",")[0]] += 1
                continue
            by = f"{attempt.engine} {attempt.versions.get(attempt.engine, '')}".strip()
            by += f" at {level} ({attempt.level_hash[:8]}) on {attempt.host}"
            made[by] += 1
            took_s = (attempt.ended_at or attempt.started_at) - attempt.started_at
            spent_s[by] = spent_s.get(by, 0.0) + took_s
    for by, count in made.most_common():
        print(f"{count} computed by {by}, {spent_s[by]:,.1f} s of work")
    for source, count in imported.most_common():
        print(f"{count} imported: {source}")
    if made:
        print("inputs, steps, versions and files of one: sabatier queue show ID")


def _show_failures(db: Database, campaign: str) -> None:
    level = find_campaign(db, campaign).verified_at
    items = [i for i in queue_items(db, campaign) if i.kind == "adslab" and i.level == level]
    failed = [item for item in items if item.state == "failed"]
    for item in failed[:_FAILURES_SHOWN]:
        surface = surface_name(
            item.bulk or "", item.miller or "", item.termination or "", item.edit or ""
        )
        what = f"{item.item[:SHORT_ID]}, {item.adsorbate} on {surface}"
        print(f"failed: {what}: {item.error_class}: {item.error_message}")
    if len(failed) > _FAILURES_SHOWN:
        print(f"{len(failed) - _FAILURES_SHOWN} more have failed: sabatier queue list {campaign}")
