"""The rules of the gate, as pure functions of two checkpoints' errors on the same rows.

Shapes  R rows. Units: eV. ``model.fine_tuning.gate`` states the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.rows import Row
from model.fine_tuning.paired_bootstrap import (
    PairedComparison,
    PairedErrors,
    anticorrelation,
    compare_errors,
    distance_growth,
    is_better,
    is_no_worse,
)
from model.uncertainty.metrics import coverage

MARGIN = 0.05  # share of the serving checkpoint's mean absolute error
MARGIN_EV = 0.005  # what no calculation settles is no loss
LINE_MARGIN = 0.10  # share of the first checkpoint's, for a whole line of fine-tunings
COVERAGE_POINTS = 0.03
COVERED = 0.9
MIN_GATE_LABELS = 5  # fewer say nothing of the region
HOLD_OUT, OVERALL, AT_LEVEL, LABELS = "hold_out", "overall", "at_level", "labels"


@dataclass(frozen=True, eq=False)
class CheckpointErrors:
    """Errors of one checkpoint on some rows (energy minus label), and its sigmas."""

    error_R: NDArray[np.float64]
    sigma_R: NDArray[np.float64]

    def covers(self, chosen_R: NDArray[np.bool_]) -> float:
        """Return the share of chosen rows inside their 90 % interval."""
        return coverage(self.error_R[chosen_R], self.sigma_R[chosen_R])

    @property
    def is_finite(self) -> bool:
        """Whether every answer is a number."""
        return bool(np.isfinite(self.error_R).all() and np.isfinite(self.sigma_R).all())


@dataclass(frozen=True)
class GateFindings:
    """Why a candidate may not serve, if it may not, and every number that was looked at."""

    reasons: tuple[str, ...]
    numbers: dict[str, Any]


def apply_rules(
    rows: Sequence[Row],
    is_label_R: NDArray[np.bool_],
    before: CheckpointErrors,
    after: CheckpointErrors,
    level: str,
    *,
    seed: int,
    first_hold_out_ev: float | None = None,
) -> GateFindings:
    """Judge two checkpoints by their errors on the gate's rows.

    Args:
        rows: The R rows of the gate's part, of the hold-out and of the labels.
        is_label_R: (R,) which rows are new labels.
        before: Errors and sigmas (eV) of the serving checkpoint.
        after: Errors and sigmas (eV) of the candidate.
        level: The campaign's level of theory.
        seed: Of the bootstrap.
        first_hold_out_ev: The error on the hold-out of the first checkpoint in the line of
            fine-tunings; None where ``before`` is that checkpoint's.

    Returns:
        The reasons against the candidate, none where it may serve, and the numbers behind them.
    """
    if not after.is_finite:
        return GateFindings(("every answer must be a number, and the candidate gave others",), {})
    looks = _looks(rows, is_label_R, level)
    errors = _compared(rows, before, after, looks, level, seed=seed)
    covered = {name: (before.covers(look), after.covers(look)) for name, look in looks.items()}
    label_R = np.array([row.energy_ev for row in rows])[is_label_R]
    rho, turned = anticorrelation(label_R + before.error_R[is_label_R], label_R)
    reasons = [
        *_enough(int(is_label_R.sum())),
        *_no_worse(errors, level),
        *_line(errors, first_hold_out_ev),
        *_better(errors, level),
        *_as_honest(*covered[OVERALL]),
        *_not_turned(rho, turned),
    ]
    numbers = {
        "margin": MARGIN,
        "margin_ev": MARGIN_EV,
        "first_hold_out_ev": _first(errors, first_hold_out_ev),
        "coverage_points": COVERAGE_POINTS,
        "errors": {name: found.to_json() for name, found in errors.items()},
        "coverage_90": {name: {"before": a, "after": b} for name, (a, b) in covered.items()},
        "labels_follow_serving": rho,
    }
    return GateFindings(tuple(reasons), numbers)


def _compared(
    rows: Sequence[Row],
    before: CheckpointErrors,
    after: CheckpointErrors,
    looks: Mapping[str, NDArray[np.bool_]],
    level: str,
    *,
    seed: int,
) -> dict[str, PairedComparison]:
    """Return the errors on each look; at the level, old rows and new labels count a half each."""
    clusters = _clusters(rows)

    def errors(chosen_R: NDArray[np.bool_]) -> PairedErrors:
        own = [name for name, here in zip(clusters, chosen_R, strict=True) if here]
        return PairedErrors(before.error_R[chosen_R], after.error_R[chosen_R], own)

    strata = {name: [chosen_R] for name, chosen_R in looks.items()}
    if halves := [looks[name] for name in (_hold_out_at(level), LABELS) if name in looks]:
        strata[AT_LEVEL] = halves
    return {
        name: compare_errors([errors(chosen_R) for chosen_R in chosen], seed=seed)
        for name, chosen in strata.items()
    }


def _looks(
    rows: Sequence[Row], is_label_R: NDArray[np.bool_], level: str
) -> dict[str, NDArray[np.bool_]]:
    """Return which rows each number is of; numbers without rows are left out."""
    level_R = np.array([row.level for row in rows])
    looks = {
        HOLD_OUT: ~is_label_R,
        OVERALL: np.full(len(rows), True),
        AT_LEVEL: level_R == level,
        LABELS: is_label_R,
    }
    looks |= {_hold_out_at(name): ~is_label_R & (level_R == name) for name in np.unique(level_R)}
    return {name: chosen_R for name, chosen_R in looks.items() if chosen_R.any()}


def _hold_out_at(level: str) -> str:
    """Return how the hold-out's rows at one level are called."""
    return f"{HOLD_OUT} {level}"


def _clusters(rows: Sequence[Row]) -> list[str]:
    """Return each row's cluster: sites of one adsorbate on one surface err alike."""
    return [f"{row.level} {row.group or row.pair} {row.adsorbate}" for row in rows]


def _enough(labels: int) -> list[str]:
    if labels >= MIN_GATE_LABELS:
        return []
    return [
        f"the gate needs at least {MIN_GATE_LABELS} labels of its own part, got {labels}; "
        "verify more candidates"
    ]


def _no_worse(errors: Mapping[str, PairedComparison], level: str) -> list[str]:
    looks = {
        HOLD_OUT: "on the hold-out",
        _hold_out_at(level): f"on the hold-out at {level}",
        OVERALL: "overall",
    }
    return [
        f"{where} the error may grow by {MARGIN:.0%} or {MARGIN_EV} eV at most: "
        f"{_describe(errors[name])}"
        for name, where in looks.items()
        if name in errors and not is_no_worse(errors[name], MARGIN, MARGIN_EV)
    ]


def _first(errors: Mapping[str, PairedComparison], first_ev: float | None) -> float | None:
    if first_ev is not None or HOLD_OUT not in errors:
        return first_ev
    return errors[HOLD_OUT].mae_before_ev


def _line(errors: Mapping[str, PairedComparison], first_ev: float | None) -> list[str]:
    """Refuse the last of many small steps down."""
    if first_ev is None or HOLD_OUT not in errors:
        return []
    after_ev = errors[HOLD_OUT].mae_after_ev
    if after_ev <= (1 + LINE_MARGIN) * first_ev:
        return []
    return [
        f"on the hold-out a line of fine-tunings may lose {LINE_MARGIN:.0%} in all: it began with "
        f"{first_ev:.4f} eV and would have {after_ev:.4f} eV; train a new model on all labels"
    ]


def _better(errors: Mapping[str, PairedComparison], level: str) -> list[str]:
    if AT_LEVEL not in errors:
        return [f"there is no row at {level} to be better on"]
    found = errors[AT_LEVEL]
    return (
        []
        if is_better(found)
        else [f"at {level} the error must shrink for sure: {_describe(found)}"]
    )


def _as_honest(before: float, after: float) -> list[str]:
    if distance_growth(COVERED, before, after) <= COVERAGE_POINTS + 1e-9:
        return []
    return [
        f"intervals of {COVERED:.0%} may be {100 * COVERAGE_POINTS:.0f} points further from it "
        f"than before at most: they held {before:.1%} and hold {after:.1%}"
    ]


def _not_turned(rho: float | None, turned: bool) -> list[str]:
    if not turned:
        return []
    return [
        f"labels must not run against the predictions of the serving checkpoint, and their rank "
        f"correlation is {rho:.2f}; look for a wrong sign or reference"
    ]


def _describe(found: PairedComparison) -> str:
    return (
        f"{found.mae_before_ev:.4f} eV before and {found.mae_after_ev:.4f} eV after on "
        f"{found.rows} rows, change at most {found.upper_ev:+.4f} eV (one-sided 95 %)"
    )
