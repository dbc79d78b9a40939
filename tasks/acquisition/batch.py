"""Choose a batch: several ideas of worth by stated shares, diverse, and aware of costs.

One pair is chosen after the other. Where a pair stands is its score times a factor for its penalty,
its cost and its likeness to what is in the batch already.

Shapes  R pairs. Costs are relative (see ``costs``).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.acquisition.diversity import RADIUS, Novelty
from tasks.acquisition.estimates import AcquisitionError, Floats, PairEstimates
from tasks.acquisition.scores import BestDistance, Score, probability

SelectionReason = Literal["promising", "uncertain"]


@dataclass(frozen=True)
class Share:
    """A part of a batch that one score fills; ``part`` is relative to those of the others."""

    score: Score
    part: float = 1.0
    why: SelectionReason = "promising"

    def __post_init__(self) -> None:
        if not 0 <= self.part < math.inf:
            raise AcquisitionError(f"a share must be at least 0, got {self.part}")


@dataclass(frozen=True)
class Policy:
    """How a batch is chosen.

    ``diversity`` and ``cost_weight`` are exponents of novelty and of one over the cost: with 0
    they do not count. No slab gets more than ``per_slab`` and no bulk more than ``per_bulk``
    calculations, and none goes to a pair less probable than ``min_probability``.
    """

    shares: tuple[Share, ...]
    diversity: float = 0.0
    radius: float = RADIUS
    cost_weight: float = 0.0
    per_slab: int | None = None
    per_bulk: int | None = None
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if not sum(share.part for share in self.shares) > 0:
            raise AcquisitionError("a policy needs a share above 0, got none; give one a part")
        for name in ("diversity", "cost_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise AcquisitionError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("per_slab", "per_bulk"):
            cap = getattr(self, name)
            if cap is not None and cap < 1:
                raise AcquisitionError(f"{name} must be at least 1 calculation, got {cap}")
        if not self.radius > 0:
            raise AcquisitionError(f"radius must be above 0, got {self.radius}")
        if not 0 <= self.min_probability <= 1:
            raise AcquisitionError(f"min_probability must be in [0, 1], got {self.min_probability}")


@dataclass(frozen=True)
class SelectedRow:
    """A row of the estimates that is calculated; ``cost`` is with its clean slab if that is new."""

    row: int
    candidate_id: str
    why: SelectionReason
    score: float
    cost: float


def select(
    estimates: PairEstimates,
    policy: Policy,
    *,
    budget: int,
    computed_slabs: Collection[str],
    seed: int,
    cost_budget: float | None = None,
    best_ev: BestDistance = None,
    taken: Collection[str] = (),
) -> list[SelectedRow]:
    """Return at most ``budget`` pairs, the first to be calculated first.

    The shares take turns, spread evenly, and where one finds nothing the others go on. Ties go to
    the newer pair, then to the lower candidate id.

    Args:
        estimates: One row for each of the R pairs.
        policy: The scores with their shares, and the limits.
        budget: The number of calculations, 0 or more.
        computed_slabs: Ids of slabs whose clean energy is there: they cost nothing, any other once.
        seed: Of the scores that draw by lot.
        cost_budget: Limit of the sum of costs (relative, see ``costs``), clean slabs included; none
            where it is None.
        best_ev: Smallest verified distance (eV) to the middle of the window, as in ``Score``.
        taken: Ids of candidates that are never chosen.

    Returns:
        The chosen rows with the reason, score and cost of each.

    Raises:
        AcquisitionError: a budget or a score is negative.
    """
    if budget < 0:
        raise AcquisitionError(f"budget must be at least 0 calculations, got {budget}")
    if cost_budget is not None and not cost_budget >= 0:
        raise AcquisitionError(f"cost_budget must be at least 0, got {cost_budget}")
    batch = _Batch(estimates, policy, computed_slabs, cost_budget, taken)
    score_SR = [_scored(share, estimates, best_ev, seed) for share in policy.shares]
    for due in _turns(policy.shares, budget):
        if not any(batch.take(score_SR[at], policy.shares[at].why) for at in due):
            break
    return batch.chosen


def _scored(share: Share, estimates: PairEstimates, best_ev: BestDistance, seed: int) -> Floats:
    score_R = share.score(estimates, best_ev=best_ev, seed=seed)
    if not (score_R >= 0).all():
        raise AcquisitionError(
            f"a score must be at least 0, got {np.min(score_R)} from {share.score}; shift it"
        )
    return score_R


def _turns(shares: tuple[Share, ...], budget: int) -> Iterator[list[int]]:
    """Yield, for each calculation, the shares in the order in which they may take it.

    Those that are behind their part go first, in the order given: a budget of 1 goes to the first.
    """
    total = sum(share.part for share in shares)
    given = [0] * len(shares)
    for spent in range(1, budget + 1):
        # Rounded first, as 10 x 0.1 must not ask for 2.
        due = [math.ceil(round(spent * share.part / total, 9)) for share in shares]
        order = sorted(range(len(shares)), key=lambda at: given[at] >= due[at])
        given[order[0]] += 1
        yield order


class _Batch:
    """The rows chosen so far, their costs, and the rows that may still be chosen."""

    def __init__(
        self,
        estimates: PairEstimates,
        policy: Policy,
        computed_slabs: Collection[str],
        cost_budget: float | None,
        taken: Collection[str],
    ) -> None:
        self.chosen: list[SelectedRow] = []
        self._estimates, self._policy = estimates, policy
        self._left = math.inf if cost_budget is None else cost_budget
        self._novelty = Novelty(estimates.features_RF, policy.radius)
        self._slab_R, self._bulk_R = _codes(estimates.slab_ids), _codes(estimates.bulk_ids)
        self._slabs: Counter[int] = Counter()
        self._bulks: Counter[int] = Counter()
        self._id_order_R = _codes(estimates.candidate_ids)
        known = frozenset(computed_slabs)
        paid_R = np.array([slab in known for slab in estimates.slab_ids], dtype=bool)
        self._cost_R = estimates.cost_R + np.where(paid_R, 0.0, estimates.slab_cost_R)
        gone = frozenset(taken)
        self._open_R = np.array([c not in gone for c in estimates.candidate_ids], dtype=bool)
        p_R = probability(estimates, best_ev=None, seed=0)
        self._open_R &= p_R >= policy.min_probability

    def take(self, score_R: Floats, why: SelectionReason) -> bool:
        """Choose the row that stands first by ``score_R``; False where none may be chosen."""
        # A cost that rounding alone lifts above what is left is within the budget.
        may_R = self._open_R & (self._cost_R <= self._left * (1 + 1e-12))
        rows = np.flatnonzero(may_R)
        if not len(rows):
            return False
        worth = self._worth(score_R)[rows]
        rows = rows[worth == worth.max()]
        rows = rows[np.lexsort((self._id_order_R[rows], -self._novelty.value_R[rows]))]
        self._add(int(rows[0]), float(score_R[rows[0]]), why)
        return True

    def _worth(self, score_R: Floats) -> Floats:
        """Return the scores times the factors for cost, similarity and supply of each row."""
        policy = self._policy
        factor_R = np.exp(-self._estimates.penalty_R) * self._cost_R**-policy.cost_weight
        return score_R * factor_R * self._novelty.value_R**policy.diversity

    def _add(self, row: int, score: float, why: SelectionReason) -> None:
        cost = float(self._cost_R[row])
        self.chosen.append(SelectedRow(row, self._estimates.candidate_ids[row], why, score, cost))
        self._left -= cost
        self._novelty.add(row)
        self._open_R[row] = False
        slab, bulk = int(self._slab_R[row]), int(self._bulk_R[row])
        of_slab: NDArray[np.bool_] = self._slab_R == slab
        self._cost_R = np.where(of_slab, self._estimates.cost_R, self._cost_R)
        self._slabs[slab] += 1
        self._bulks[bulk] += 1
        if self._slabs[slab] == self._policy.per_slab:
            self._open_R &= ~of_slab
        if self._bulks[bulk] == self._policy.per_bulk:
            self._open_R &= self._bulk_R != bulk


def _codes(ids: tuple[str, ...]) -> NDArray[np.int64]:
    """Return each id as its position among the sorted ids."""
    place = {name: at for at, name in enumerate(sorted(set(ids)))}
    return np.array([place[name] for name in ids], dtype=np.int64)
