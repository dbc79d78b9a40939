"""When a learning loop has done enough: budget spent, nothing left, or nothing learnt any more."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RoundOutcome:
    """What one round came to.

    ``calculations`` ended in it, whichever way; ``labels`` of them may be trained on, ``failed`` of
    them have no energy. ``found`` are labels inside the target, new in this round.
    """

    calculations: int
    labels: int
    failed: int
    found: int
    accepted: bool  # the gate let a fine-tuned checkpoint serve


def stop_reason(
    rounds: Sequence[RoundOutcome], *, budget_left: int, waiting: int, patience: int
) -> str:
    """Return why no further round is worth beginning, or nothing.

    ``waiting`` candidates are in the queue for the next round. A loop has converged where
    ``patience`` rounds in a row found nothing and taught nothing that the gate let serve.
    """
    if budget_left <= 0:
        return "the budget is spent"
    last = rounds[-1]
    if last.calculations > 0 and last.failed == last.calculations:
        return f"all {last.failed} calculations of the round failed"
    if waiting == 0:
        return "no candidate is left that is worth a calculation"
    recent = rounds[-patience:]
    if len(recent) == patience and not any(r.found or r.accepted for r in recent):
        return f"converged: {patience} rounds found nothing and taught nothing"
    return ""
