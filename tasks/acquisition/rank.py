"""Rank pairs of slab and adsorbate by the probability that their energy lies in the target.

Units   energies, windows and sigmas in eV; a probability is in [0, 1].
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.acquisition.scores import probability_between

DISTINCT_ODDS = 3.0  # see ``group_ranks``


@dataclass(frozen=True)
class Window:
    """The energies wanted of one adsorbate, both ends included."""

    low_ev: float
    high_ev: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low_ev) and math.isfinite(self.high_ev)):
            raise ValueError(
                f"a window needs two finite energies in eV, got [{self.low_ev}, {self.high_ev}]; "
                "write window: [low, high]"
            )
        if self.low_ev >= self.high_ev:
            raise ValueError(
                f"a window needs low below high, got [{self.low_ev}, {self.high_ev}]; "
                "swap or widen the two energies (eV)"
            )

    @property
    def centre_ev(self) -> float:
        """The middle of the window."""
        return (self.low_ev + self.high_ev) / 2

    @classmethod
    def around(cls, optimum_ev: float, width_ev: float) -> "Window":
        """Return ``optimum_ev`` plus and minus ``width_ev``: a volcano's top and its shoulders."""
        if not width_ev > 0:
            raise ValueError(
                f"an optimum needs a width above 0 eV, got {width_ev}; "
                "write optimum: x, width: w for the window x - w .. x + w"
            )
        return cls(optimum_ev - width_ev, optimum_ev + width_ev)


@dataclass(frozen=True)
class LowestPlacement:
    """The predicted candidate of the lowest energy of its pair, as ranking reads it."""

    candidate_id: str
    pair_id: str
    slab_id: str
    bulk_id: str
    adsorbate: str
    energy_ev: float
    sigma_ev: float
    basis: str = ""  # levels whose relaxed energies the prediction starts from


@dataclass(frozen=True)
class RankedPair:
    """A pair with its lowest placement and its rank.

    ``rank`` starts at 1. Pairs of one ``group`` cannot be told apart.
    """

    rank: int
    group: int
    minimum: LowestPlacement
    probability: float
    distance_ev: float


def rank_pairs(
    minima: Iterable[LowestPlacement], targets: Mapping[str, Window]
) -> list[RankedPair]:
    """Rank the pairs whose adsorbate has a target, each by its lowest placement.

    Higher probabilities come first, then smaller distances of the energy to the window's centre,
    then lower candidate ids.

    Args:
        minima: One placement for each pair, that of the lowest energy within the model's domain.
        targets: The wanted energies (eV) by adsorbate.

    Args:
        minima: One placement for each pair, that of the lowest energy within the model's domain.
        targets: The wanted energies (eV) by adsorbate.

    Returns:
        The pairs with rank, group, probability in [0, 1] and distance in eV, rank 1 first.

    Raises:
        ValueError: a sigma is negative or no number.
    """
    aimed = [p for p in minima if p.adsorbate in targets]
    windows = [targets[p.adsorbate] for p in aimed]
    for p in aimed:
        if not p.sigma_ev >= 0:
            raise ValueError(f"sigma_ev must be at least 0 eV, got {p.sigma_ev}")
    probabilities = probability_between(
        [window.low_ev for window in windows],
        [window.high_ev for window in windows],
        [p.energy_ev for p in aimed],
        [p.sigma_ev for p in aimed],
    ).tolist()
    scored = [
        (-probability, abs(p.energy_ev - window.centre_ev), p.candidate_id, p)
        for p, window, probability in zip(aimed, windows, probabilities, strict=True)
    ]
    scored.sort(key=lambda row: row[:3])
    groups = group_ranks([-row[0] for row in scored])
    return [
        RankedPair(rank, group, p, -negative, distance)
        for rank, (group, (negative, distance, _, p)) in enumerate(
            zip(groups, scored, strict=True), start=1
        )
    ]


def group_ranks(probabilities: Sequence[float]) -> list[int]:
    """Return the group, from 1, of each of these falling probabilities.

    Assume that exactly one of two pairs lies in its window and that their errors are independent.
    Then it is the first with odds ``p1 (1 - p2) : p2 (1 - p1)``. Below ``DISTINCT_ODDS`` : 1 the
    two cannot be told apart. A group is its first pair and all pairs that follow it without a gap
    and cannot be told apart from it.
    """
    groups: list[int] = []
    leader = math.nan
    for p in probabilities:
        if not groups or _distinct(leader, p):
            groups.append(groups[-1] + 1 if groups else 1)
            leader = p
        else:
            groups.append(groups[-1])
    return groups


def _distinct(first: float, second: float) -> bool:
    ahead, behind = first * (1 - second), second * (1 - first)
    return ahead > 0 and ahead >= DISTINCT_ODDS * behind
