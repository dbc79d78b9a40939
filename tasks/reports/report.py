"""The report at the end of a run: the ranking, the funnel, and labels beside predictions.

Units   eV.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.enumeration import refused_crystal

NORMAL_90 = 1.6448536269514722  # standard deviations either side that hold 90 % of a normal


UNKNOWN_MILLER = "(0 0 0)"  # as the database writes it


@dataclass(frozen=True)
class LabelComparison:
    """A verified energy beside its prediction."""

    candidate_id: str
    adsorbate: str
    predicted_ev: float
    sigma_ev: float
    label_ev: float

    @property
    def error_ev(self) -> float:
        """Prediction minus label."""
        return self.predicted_ev - self.label_ev

    @property
    def covered(self) -> bool:
        """Whether the 90 % interval of the prediction holds the label."""
        return abs(self.error_ev) <= NORMAL_90 * self.sigma_ev


@dataclass(frozen=True)
class Agreement:
    """How well predictions met their labels; NaN where there is no label."""

    count: int
    mae_ev: float
    coverage_90: float


@dataclass(frozen=True)
class SlabRefusals:
    """Of how many crystals slabs were refused by one rule, and the values that broke it.

    The crystals are 0 where an item names none: older releases stored none.
    """

    crystals: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class FunnelLine:
    """How many items of one stage are in one state, and the commonest reasons."""

    stage: str
    state: str
    count: int
    reasons: tuple[tuple[str, int], ...] = ()


def agreement(pairs: Sequence[LabelComparison]) -> Agreement:
    """Return the mean absolute error and the share of labels inside the 90 % intervals."""
    if not pairs:
        return Agreement(0, math.nan, math.nan)
    mae = sum(abs(p.error_ev) for p in pairs) / len(pairs)
    return Agreement(len(pairs), mae, sum(p.covered for p in pairs) / len(pairs))


def surface_name(formula: str, miller: str, termination: str = "", edit: str = "") -> str:
    """Return a surface as people write it: ``Cu3Pt(111)``; indices keep spaces if one is negative.

    ``miller`` is as the database writes it, ``(1 1 1)``; so are ``termination`` and what was
    changed on the surface, which follow. A slab whose index is not known is ``PtNi slab``.
    """
    if miller == UNKNOWN_MILLER:
        return " ".join(filter(None, (formula, "slab", edit)))
    indices = miller.strip("()").split()
    separator = "" if all(len(index) == 1 for index in indices) else " "
    return " ".join(filter(None, (f"{formula}({separator.join(indices)})", termination, edit)))


def funnel_lines(counts: Iterable[tuple[str, str, str, int]]) -> list[FunnelLine]:
    """Return one line for each stage and state from (stage, state, reason, count).

    Stages come in the order of the work; within a line the commonest reasons come first.
    """
    reasons: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for stage, state, reason, count in counts:
        reasons[stage, state][reason] += count
    lines = [
        FunnelLine(stage, state, sum(by_reason.values()), _commonest(by_reason))
        for (stage, state), by_reason in reasons.items()
    ]
    return sorted(
        lines, key=lambda line: (_place(line.stage, _STAGES), _place(line.state, _STATES))
    )


def slab_refusals(refused: Iterable[tuple[str, str]]) -> dict[str, SlabRefusals]:
    """Return the refusals of slabs by rule, from (item, reason)."""
    crystals: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    for item, reason in refused:
        rule, _, value = reason.partition(": ")
        crystals[rule].add(refused_crystal(item))
        values[rule].add(value)
    return {
        rule: SlabRefusals(0 if "" in found else len(found), tuple(sorted(values[rule] - {""})))
        for rule, found in crystals.items()
    }


def stage_totals(lines: Iterable[FunnelLine]) -> dict[str, int]:
    """Return how many items each stage holds: the sum over its states."""
    totals: dict[str, int] = defaultdict(int)
    for line in lines:
        totals[line.stage] += line.count
    return dict(totals)


_STAGES = ("adsorbate", "element", "bulk", "slab", "pair", "placement")
_STATES = ("used", "queued", "kept", "passed_over", "predicted", "out_of_domain", "refused")


def _place(word: str, order: tuple[str, ...]) -> int:
    return order.index(word) if word in order else len(order)


def _commonest(reasons: dict[str, int]) -> tuple[tuple[str, int], ...]:
    named = ((reason, count) for reason, count in reasons.items() if reason)
    return tuple(sorted(named, key=lambda item: (-item[1], item[0])))
