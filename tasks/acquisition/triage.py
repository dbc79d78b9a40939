"""Decide which ranked pairs deserve a calculation, and when no further round does.

What a pair is worth and how a batch is made is decided in ``tasks.acquisition``; here a ranking
becomes estimates, and a choice becomes pairs again. Energies in eV, costs as in
``tasks.acquisition``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pymatgen.core.composition import Composition

from tasks.acquisition import (
    CostRule,
    PairEstimates,
    Policy,
    Prices,
    SelectionReason,
    element_shares,
    feature_matrix,
    one_hot,
    select,
)
from tasks.acquisition.estimates import Floats
from tasks.acquisition.rank import RankedPair, Window


@dataclass(frozen=True)
class SlabFacts:
    """The properties of a clean slab that triage reads."""

    formula: str  # of its bulk
    miller: tuple[int, int, int]
    shift: float  # of the cut, in plane spacings
    n_atoms: int


@dataclass(frozen=True)
class Budget:
    """How many calculations, and the most they may cost together with their clean slabs.

    Where either leaves part of the other unspent, it stays unspent.
    """

    calculations: int
    cost: float | None = None


@dataclass(frozen=True)
class PriorResults:
    """Results that need not be computed again.

    ``taken`` holds candidates or pairs that have a label or were tried at the level, ``slabs``
    those whose clean energy is there, and ``best_ev`` the smallest verified distance of an energy
    to the middle of its window, for each adsorbate that has one.
    """

    taken: Collection[str] = frozenset()
    slabs: Collection[str] = frozenset()
    best_ev: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """A pair that goes to the queue. ``priority`` starts at 1: the first to be calculated.

    ``cost`` is with its clean slab, where that is not known and none before it has paid for it.
    """

    pair: RankedPair
    why: SelectionReason
    priority: int
    cost: float


def triage(
    ranked: Sequence[RankedPair],
    estimates: PairEstimates,
    policy: Policy,
    budget: Budget,
    *,
    known: PriorResults | None = None,
    seed: int = 0,
) -> list[Selection]:
    """Return the pairs of ``ranked`` that ``policy`` spends ``budget`` on.

    No pair is chosen twice, and none that was taken; ties go to the lower ``candidate_id``.

    Args:
        ranked: R pairs, ranked.
        estimates: Those of ``ranked``, row for row.
        policy: How a batch is chosen.
        budget: The number of calculations and the sum of their costs.
        known: Labels, clean slabs and verified distances that are there already.
        seed: Of the scores that draw by lot.

    Returns:
        The chosen pairs, priority 1 first.

    Raises:
        AcquisitionError: a budget or a score is negative.
    """
    known = known or PriorResults()
    taken = frozenset(known.taken)
    chosen = select(
        estimates,
        policy,
        budget=budget.calculations,
        cost_budget=budget.cost,
        computed_slabs=known.slabs,
        best_ev=np.array([known.best_ev.get(r.minimum.adsorbate, np.nan) for r in ranked]),
        taken=[r.minimum.candidate_id for r in ranked if r.minimum.pair_id in taken] + list(taken),
        seed=seed,
    )
    return [
        Selection(ranked[found.row], found.why, at, found.cost)
        for at, found in enumerate(chosen, 1)
    ]


def pair_estimates(
    ranked: Sequence[RankedPair],
    windows: Mapping[str, Window],
    slabs: Mapping[str, SlabFacts] | None = None,
    *,
    costs: CostRule | None = None,
    prices: Prices | None = None,
    latent_RD: Floats | None = None,
) -> PairEstimates:
    """Return the estimates of ``ranked``, row for row.

    Args:
        ranked: R pairs, ranked.
        windows: The energies wanted (eV) by adsorbate.
        slabs: Facts by slab id, from which follow features, costs and prices; where it is None all
            three are left out.
        costs: The cost of a cell by its atoms; where it is None every adslab costs 1 and slabs
            nothing.
        prices: The prices of elements; where it is None no element is too dear.
        latent_RD: (R, D) features of the model, which join those of elements, surface and
            adsorbate.

    Returns:
        One row for each pair: energies and sigmas in eV, relative costs.
    """
    minima = [r.minimum for r in ranked]
    estimates = PairEstimates.plain(
        [m.candidate_id for m in minima],
        [m.slab_id for m in minima],
        [m.bulk_id for m in minima],
        energy_R=[m.energy_ev for m in minima],
        sigma_R=[m.sigma_ev for m in minima],
        low_R=[windows[m.adsorbate].low_ev for m in minima],
        high_R=[windows[m.adsorbate].high_ev for m in minima],
    )
    if slabs is None:
        return estimates
    facts = [slabs[m.slab_id] for m in minima]
    features_RF = _features(facts, [m.adsorbate for m in minima], latent_RD)
    estimates = replace(estimates, features_RF=features_RF)
    if costs is not None:
        # An adsorbate's few atoms are left out: the exponent is not known that well.
        cost_R = costs.cost([f.n_atoms for f in facts])
        estimates = replace(estimates, cost_R=cost_R, slab_cost_R=cost_R)
    if prices is not None:
        estimates = replace(estimates, penalty_R=prices.penalties([f.formula for f in facts]))
    return estimates


def _features(
    facts: Sequence[SlabFacts], adsorbates: Sequence[str], latent_RD: Floats | None
) -> Floats:
    """Return elements, surface, adsorbate and latent position of each row, each of equal weight."""
    parts = {f.formula: Composition(f.formula).fractional_composition for f in facts}
    shares = {name: {str(e): float(x) for e, x in parts[name].items()} for name in parts}
    surface = np.array([_direction(f) for f in facts]).reshape(len(facts), 4)
    blocks = [element_shares([shares[f.formula] for f in facts]), surface, one_hot(adsorbates)]
    return feature_matrix(blocks if latent_RD is None else [*blocks, latent_RD])


def _direction(facts: SlabFacts) -> tuple[float, ...]:
    """Return the Miller index as a unit vector, and where the planes are cut."""
    length = float(np.linalg.norm(facts.miller)) or 1.0
    return (*(index / length for index in facts.miller), facts.shift)


@dataclass(frozen=True)
class RoundOutcome:
    """The counts of one round.

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
