"""The rules of the gate, as pure functions of what two checkpoints say of the same rows.

Shapes  R rows. Units: eV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.metrics import coverage
from model.paired import Comparison, better, compare, further_from, no_worse, opposed
from model.rows import Row

MARGIN = 0.05  # share of the serving checkpoint's mean absolute error
COVERAGE_POINTS = 0.03
COVERED = 0.9
MIN_GATE_LABELS = 5  # fewer say nothing of the region
HOLD_OUT, OVERALL, AT_LEVEL, LABELS = "hold_out", "overall", "at_level", "labels"


@dataclass(frozen=True, eq=False)
class Answered:
    """What one checkpoint says of some rows: energy minus label, and sigma."""

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
class Judged:
    """Why a candidate may not serve, if it may not, and every number that was looked at."""

    reasons: tuple[str, ...]
    numbers: dict[str, Any]


def apply_rules(
    rows: Sequence[Row],
    is_label_R: NDArray[np.bool_],
    before: Answered,
    after: Answered,
    level: str,
    *,
    seed: int,
) -> Judged:
    """Judge what two checkpoints say of the gate's rows, ``is_label_R`` of which are new labels."""
    if not after.is_finite:
        return Judged(("every answer must be a number, and the candidate gave others",), {})
    looks = _looks(rows, is_label_R, level)
    errors = {
        name: compare(
            before.error_R[chosen_R],
            after.error_R[chosen_R],
            [clusters for clusters, here in zip(_clusters(rows), chosen_R, strict=True) if here],
            seed=seed,
        )
        for name, chosen_R in looks.items()
    }
    covered = {name: (before.covers(look), after.covers(look)) for name, look in looks.items()}
    label_R = np.array([row.energy_ev for row in rows])[is_label_R]
    rho, turned = opposed(label_R + before.error_R[is_label_R], label_R)
    reasons = [
        *_enough(int(is_label_R.sum())),
        *_no_worse(errors),
        *_better(errors, level),
        *_as_honest(*covered[OVERALL]),
        *_not_turned(rho, turned),
    ]
    numbers = {
        "margin": MARGIN,
        "coverage_points": COVERAGE_POINTS,
        "errors": {name: found.to_json() for name, found in errors.items()},
        "coverage_90": {name: {"before": a, "after": b} for name, (a, b) in covered.items()},
        "labels_follow_serving": rho,
    }
    return Judged(tuple(reasons), numbers)


def _looks(
    rows: Sequence[Row], is_label_R: NDArray[np.bool_], level: str
) -> dict[str, NDArray[np.bool_]]:
    """Return which rows each number is of; what has none is left out."""
    level_R = np.array([row.level for row in rows])
    looks = {
        HOLD_OUT: ~is_label_R,
        OVERALL: np.full(len(rows), True),
        AT_LEVEL: level_R == level,
        LABELS: is_label_R,
    }
    looks |= {f"{HOLD_OUT} {name}": ~is_label_R & (level_R == name) for name in np.unique(level_R)}
    return {name: chosen_R for name, chosen_R in looks.items() if chosen_R.any()}


def _clusters(rows: Sequence[Row]) -> list[str]:
    """Return what rows of one cluster share: an adsorbate's sites on one surface err alike."""
    return [f"{row.level} {row.group or row.pair} {row.adsorbate}" for row in rows]


def _enough(labels: int) -> list[str]:
    if labels >= MIN_GATE_LABELS:
        return []
    return [
        f"the gate needs at least {MIN_GATE_LABELS} labels of its own part, got {labels}; "
        "verify more candidates"
    ]


def _no_worse(errors: Mapping[str, Comparison]) -> list[str]:
    return [
        f"{'on the hold-out' if name == HOLD_OUT else 'overall'} the error may grow by "
        f"{MARGIN:.0%} at most: {_said(errors[name])}"
        for name in (HOLD_OUT, OVERALL)
        if name in errors and not no_worse(errors[name], MARGIN)
    ]


def _better(errors: Mapping[str, Comparison], level: str) -> list[str]:
    if AT_LEVEL not in errors:
        return [f"there is no row at {level} to be better on"]
    found = errors[AT_LEVEL]
    return [] if better(found) else [f"at {level} the error must shrink for sure: {_said(found)}"]


def _as_honest(before: float, after: float) -> list[str]:
    if further_from(COVERED, before, after) <= COVERAGE_POINTS + 1e-9:
        return []
    return [
        f"intervals of {COVERED:.0%} may be {100 * COVERAGE_POINTS:.0f} points further from it "
        f"than before at most: they held {before:.1%} and hold {after:.1%}"
    ]


def _not_turned(rho: float | None, turned: bool) -> list[str]:
    if not turned:
        return []
    return [
        f"labels must not run against what the serving checkpoint says of them, and their rank "
        f"correlation is {rho:.2f}; look for a wrong sign or reference"
    ]


def _said(found: Comparison) -> str:
    return (
        f"{found.mae_before_ev:.4f} eV before and {found.mae_after_ev:.4f} eV after on "
        f"{found.rows} rows, change at most {found.upper_ev:+.4f} eV (one-sided 95 %)"
    )
