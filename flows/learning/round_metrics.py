"""The numbers of a round of the loop: calculations, labels, hits, and errors before and after.

The error of a round's own labels is that of predictions made before anything was calculated, by the
checkpoint that the round began with; the errors before and after are of labels that neither
checkpoint learnt from, as the gate compared them. Units: eV.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.learning.fine_tuning import FineTuningResult
from model.fine_tuning.gate_rules import LABELS
from screening_db.database import Database
from screening_db.learning.rounds import RoundResult
from screening_db.queries import LabelledPrediction, find_campaign, labelled_predictions
from screening_db.queue.view import converged_since, queue_counts
from screening_db.tables import RoundRow
from tasks.acquisition.rank import Window
from tasks.acquisition.triage import RoundOutcome
from tasks.reports.report import LabelComparison, agreement

_ENDED = ("converged", "anomalous", "failed")


def round_ends(rounds: Sequence[RoundRow | RoundResult]) -> list[RoundOutcome]:
    """Return the numbers that decide whether another round follows; ``found`` counts new hits."""
    ends, found = [], 0
    for row in rounds:
        calculations = row.converged + row.anomalous + row.failed
        new = row.found - found
        found = row.found
        accepted = row.verdict == "accepted"
        ends.append(RoundOutcome(calculations, row.converged, row.failed, new, accepted))
    return ends


def calculations_since(db: Database, before: Sequence[RoundRow], campaign: str) -> int:
    """Return how many adslabs have ended since the rounds ``before``."""
    return sum(_ended_since(db, before, campaign).values())


def verification_numbers(
    db: Database, before: Sequence[RoundRow], row: RoundRow, windows: Mapping[str, Window]
) -> RoundResult:
    """Return the numbers of a round once its calculations have ended.

    Args:
        db: The database.
        before: The finished rounds of the campaign.
        row: The round.
        windows: The target of each adsorbate (eV); labels inside are hits.

    Returns:
        Counts of calculations, labels and hits, and the errors (eV) of the round's own labels.
    """
    ended = _ended_since(db, before, row.campaign)
    labels = [
        label
        for label in labelled_predictions(db, row.campaign, row.checkpoint_before)
        if label.trainable and label.level == label.predicted_level
    ]
    since = (before[-1].ended_at or 0.0) if before else 0.0
    new = converged_since(db, row.campaign, since)
    errors = agreement([_compared(label) for label in labels if label.candidate_id in new])
    return RoundResult(
        spent=float(sum(ended.values())),
        converged=ended["converged"],
        anomalous=ended["anomalous"],
        failed=ended["failed"],
        labels=len(labels),
        found=sum(_is_hit(label, windows) for label in labels),
        mae_new_ev=errors.mae_ev if errors.count else None,
        coverage_new=errors.coverage_90 if errors.count else None,
    )


def with_verdict(row: RoundRow, numbers: RoundResult, tuning: FineTuningResult) -> RoundResult:
    """Return the numbers of a round with the verdict on its fine-tuning."""
    numbers = replace(numbers, checkpoint_after=tuning.serving)
    if tuning.verdict is None:
        return replace(numbers, note=tuning.why)
    if tuning.accepted and tuning.serving == row.checkpoint_before:
        return replace(numbers, note="no new label: the serving checkpoint learnt from all before")
    errors = tuning.verdict.numbers.get("errors", {}).get(LABELS, {})
    coverage = tuning.verdict.numbers.get("coverage_90", {}).get(LABELS, {})
    return replace(
        numbers,
        mae_before_ev=errors.get("mae_before_ev"),
        mae_after_ev=errors.get("mae_after_ev"),
        coverage_before=coverage.get("before"),
        coverage_after=coverage.get("after"),
        verdict="accepted" if tuning.accepted else "rejected",
        note="; ".join(tuning.verdict.reasons),
    )


def _ended_since(db: Database, before: Sequence[RoundRow], campaign: str) -> Counter[str]:
    """Return how many adslabs have ended in which state since the rounds ``before``."""
    ended = Counter(dict.fromkeys(_ENDED, 0))
    level = find_campaign(db, campaign).verified_at  # what a potential relaxed is no label
    for row in queue_counts(db, campaign):
        if row.kind == "adslab" and row.level == level and row.state in _ENDED:
            ended[row.state] += row.count
    for earlier in before:
        for state in _ENDED:
            ended[state] -= getattr(earlier, state)
    return ended


def _compared(label: LabelledPrediction) -> LabelComparison:
    return LabelComparison(
        label.candidate_id, label.adsorbate, label.predicted_ev, label.sigma_ev, label.label_ev
    )


def _is_hit(label: LabelledPrediction, windows: Mapping[str, Window]) -> bool:
    window = windows.get(label.adsorbate)
    return window is not None and window.low_ev <= label.label_ev <= window.high_ev
