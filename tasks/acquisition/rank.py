"""Rank pairs of slab and adsorbate by the probability that their energy lies in the target.

Units   energies, windows and sigmas in eV; a probability is in [0, 1].
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.acquisition.normal import probability_between

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
class ScoredPlacement:
    """One predicted candidate, reduced to what ranking reads."""

    candidate_id: str
    pair_id: str
    slab_id: str
    bulk_id: str
    adsorbate: str
    energy_ev: float
    sigma_ev: float
    in_domain: bool = True
    reason: str = ""


@dataclass(frozen=True)
class RankedPair:
    """A pair, stood for by its lowest-energy placement, at its place in the ranking.

    ``rank`` starts at 1. Pairs of one ``group`` cannot be told apart.
    """

    rank: int
    group: int
    minimum: ScoredPlacement
    probability: float
    distance_ev: float


@dataclass(frozen=True)
class ExcludedPair:
    """A pair with no placement inside the model's domain, and why."""

    pair_id: str
    slab_id: str
    adsorbate: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    """Every pair that has a target: ranked, or left out with a reason."""

    ranked: list[RankedPair]
    excluded: list[ExcludedPair]


def pair_minima(
    placements: Iterable[ScoredPlacement],
) -> tuple[list[ScoredPlacement], list[ExcludedPair]]:
    """Return the lowest in-domain placement of each pair, and the pairs that have none.

    Both lists are ordered by ``pair_id``; of equal energies the lower ``candidate_id`` is taken.
    """
    by_pair: dict[str, list[ScoredPlacement]] = {}
    for placement in placements:
        by_pair.setdefault(placement.pair_id, []).append(placement)
    minima: list[ScoredPlacement] = []
    excluded: list[ExcludedPair] = []
    for _, members in sorted(by_pair.items()):
        usable = [p for p in members if p.in_domain]
        if usable:
            minima.append(min(usable, key=lambda p: (p.energy_ev, p.candidate_id)))
        else:
            excluded.append(_excluded(members))
    return minima, excluded


def _excluded(members: Sequence[ScoredPlacement]) -> ExcludedPair:
    counts = Counter(p.reason for p in members)
    reason = min(counts, key=lambda r: (-counts[r], r))
    first = members[0]
    return ExcludedPair(first.pair_id, first.slab_id, first.adsorbate, reason)


def rank_pairs(placements: Iterable[ScoredPlacement], targets: Mapping[str, Window]) -> Ranking:
    """Rank the pairs whose adsorbate has a target.

    Order: higher probability, then smaller distance of the energy to the window's centre, then
    ``candidate_id``.
    """
    aimed = (p for p in placements if p.adsorbate in targets)
    minima, excluded = pair_minima(aimed)
    scored = [
        (-probability, abs(p.energy_ev - targets[p.adsorbate].centre_ev), p.candidate_id, p)
        for p, probability in zip(minima, _probabilities(minima, targets), strict=True)
    ]
    scored.sort(key=lambda row: row[:3])
    groups = group_ranks([-row[0] for row in scored])
    ranked = [
        RankedPair(rank, group, p, -negative, distance)
        for rank, (group, (negative, distance, _, p)) in enumerate(
            zip(groups, scored, strict=True), start=1
        )
    ]
    return Ranking(ranked, excluded)


def _probabilities(minima: Sequence[ScoredPlacement], targets: Mapping[str, Window]) -> list[float]:
    """Return the probability of each placement, all at once."""
    for p in minima:
        if not p.sigma_ev >= 0:
            raise ValueError(f"sigma_ev must be at least 0 eV, got {p.sigma_ev}")
    found: list[float] = probability_between(
        [targets[p.adsorbate].low_ev for p in minima],
        [targets[p.adsorbate].high_ev for p in minima],
        [p.energy_ev for p in minima],
        [p.sigma_ev for p in minima],
    ).tolist()
    return found


def group_ranks(probabilities: Sequence[float], odds: float = DISTINCT_ODDS) -> list[int]:
    """Return the group, from 1, of each of these falling probabilities.

    Say that exactly one of two pairs turns out to lie in its window. Their errors taken as
    independent, it is the first with odds ``p1 (1 - p2) : p2 (1 - p1)``. Below ``odds`` : 1 the
    two cannot be told apart. A group is its first pair and all that follow it without a gap and
    cannot be told apart from that first one.
    """
    groups: list[int] = []
    leader = math.nan
    for p in probabilities:
        if not groups or _told_apart(leader, p, odds):
            groups.append(groups[-1] + 1 if groups else 1)
            leader = p
        else:
            groups.append(groups[-1])
    return groups


def _told_apart(first: float, second: float, odds: float) -> bool:
    ahead, behind = first * (1 - second), second * (1 - first)
    return ahead > 0 and ahead >= odds * behind
