"""Decide which ranked pairs deserve a calculation."""

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.rank import RankedPair

Why = Literal["promising", "uncertain"]


@dataclass(frozen=True)
class TriagePolicy:
    """How a budget of calculations is spent.

    ``promising`` is the share that goes to the most probable pairs, the rest goes to uncertain
    ones. No slab gets more than ``per_slab`` and no bulk more than ``per_bulk`` calculations, and
    none goes to a pair less probable than ``min_probability``: where these leave part of the
    budget unspent, it stays unspent.
    """

    budget: int
    promising: float = 0.5
    per_slab: int = 2
    per_bulk: int = 6
    min_probability: float = 0.01

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise ValueError(f"budget must be at least 0 calculations, got {self.budget}")
        if not 0 <= self.promising <= 1:
            raise ValueError(f"promising must be a share between 0 and 1, got {self.promising}")
        if self.per_slab < 1 or self.per_bulk < 1:
            raise ValueError(
                "per_slab and per_bulk must be at least 1 calculation, "
                f"got {self.per_slab} and {self.per_bulk}"
            )
        if not 0 <= self.min_probability <= 1:
            raise ValueError(f"min_probability must be in [0, 1], got {self.min_probability}")


@dataclass(frozen=True)
class Chosen:
    """A pair that goes to the queue. ``priority`` starts at 1: the first to be calculated."""

    pair: RankedPair
    why: Why
    priority: int


def uncertainty(pair: RankedPair) -> float:
    """Return how much a calculation would settle: ``p (1 - p) sigma``, in eV.

    ``p (1 - p)`` is the variance of "it lies in the window", zero where the answer is known;
    sigma puts the pairs first of which the model knows least.
    """
    return pair.probability * (1 - pair.probability) * pair.minimum.sigma_ev


def triage(ranked: Sequence[RankedPair], policy: TriagePolicy) -> list[Chosen]:
    """Return at most ``policy.budget`` pairs, promising and uncertain in turn.

    The promising come first by probability, the uncertain by ``uncertainty``; ties go to the
    lower ``candidate_id``, and no pair is chosen twice. A share that one list cannot use goes to
    the other.
    """
    worth = [r for r in ranked if r.probability >= policy.min_probability]
    lists: dict[Why, deque[RankedPair]] = {
        "promising": _ordered(worth, lambda r: r.probability),
        "uncertain": _ordered(worth, uncertainty),
    }
    chooser = _Chooser(policy)
    for why in _turns(policy):
        other: Why = "uncertain" if why == "promising" else "promising"
        if not chooser.take(lists[why], why) and not chooser.take(lists[other], other):
            break
    return chooser.chosen


def _ordered(
    pairs: Sequence[RankedPair], score: Callable[[RankedPair], float]
) -> deque[RankedPair]:
    return deque(sorted(pairs, key=lambda r: (-score(r), r.minimum.candidate_id)))


def _turns(policy: TriagePolicy) -> list[Why]:
    """Return which list each calculation is taken from, the shares spread evenly."""
    turns: list[Why] = []
    promising = 0
    for spent in range(1, policy.budget + 1):
        # Rounding up starts with a promising one, as a budget of 1 should.
        due = math.ceil(round(spent * policy.promising, 9))
        turns.append("promising" if due > promising else "uncertain")
        promising = due
    return turns


class _Chooser:
    """What was chosen so far, and how much of each slab and bulk."""

    def __init__(self, policy: TriagePolicy) -> None:
        self.chosen: list[Chosen] = []
        self._policy = policy
        self._taken: set[str] = set()
        self._slabs: Counter[str] = Counter()
        self._bulks: Counter[str] = Counter()

    def take(self, pairs: deque[RankedPair], why: Why) -> bool:
        """Choose the first of ``pairs`` that may still be chosen; False when none may.

        What may not be chosen now never may be later, so it leaves ``pairs``.
        """
        while pairs:
            pair = pairs.popleft()
            if self._may_take(pair):
                self._add(pair, why)
                return True
        return False

    def _may_take(self, pair: RankedPair) -> bool:
        m = pair.minimum
        return (
            m.pair_id not in self._taken
            and self._slabs[m.slab_id] < self._policy.per_slab
            and self._bulks[m.bulk_id] < self._policy.per_bulk
        )

    def _add(self, pair: RankedPair, why: Why) -> None:
        self.chosen.append(Chosen(pair, why, len(self.chosen) + 1))
        self._taken.add(pair.minimum.pair_id)
        self._slabs[pair.minimum.slab_id] += 1
        self._bulks[pair.minimum.bulk_id] += 1
