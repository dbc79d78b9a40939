"""Choose what a campaign verifies next, with all that its database holds."""

from collections.abc import Collection, Mapping, Sequence

from flows.config.campaign import Campaign
from screening_db.database.engine import Database
from screening_db.queries.enumeration import bulk_formulas, slabs_by_id
from screening_db.queries.labels import (
    attempted_candidates,
    labelled_predictions,
    slabs_with_energy,
)
from tasks.acquisition import Prices
from tasks.acquisition.rank import RankedPair, Window
from tasks.acquisition.triage import (
    Budget,
    PriorResults,
    Selection,
    SlabFacts,
    pair_estimates,
    triage,
)


def choose_pairs(
    db: Database,
    campaign: Campaign,
    windows: Mapping[str, Window],
    ranked: Sequence[RankedPair],
    *,
    prices: Prices | None = None,
    budget: Budget | None = None,
    paid: Collection[str] = (),
    repeat: bool = False,
) -> list[Selection]:
    """Return the pairs of ``ranked`` that are to be calculated, as the campaign's file says.

    Candidates with a label or an attempt at the level are not chosen; slabs with an energy cost
    nothing.

    Args:
        db: The database.
        campaign: The campaign, with its policy, limits and budget.
        windows: The target of each adsorbate (eV).
        ranked: The pairs to choose from.
        prices: What a model predicts of the cost of calculations.
        budget: Replaces the campaign's budget, for one round.
        paid: Slabs that are free because a calculation on them has begun.
        repeat: Ignore labels, attempts and energies that are the campaign's own work: the choice
            of the screening, made again after a kill, is then the same.

    Returns:
        The chosen pairs, in the order in which they are calculated.
    """
    stated = campaign.triage
    estimates = pair_estimates(
        ranked,
        windows,
        _facts(db, ranked),
        costs=stated.costs.rule() if stated.costs else None,
        prices=prices,
    )
    taken = attempted_candidates(db, campaign.name, except_own=repeat)
    known = PriorResults(
        taken=taken,
        slabs={*slabs_with_energy(db, campaign.name, except_own=repeat), *paid},
        best_ev=best_found(db, campaign.name, windows, taken),
    )
    return triage(
        ranked,
        estimates,
        stated.as_policy(),
        budget or stated.as_budget(),
        known=known,
        seed=campaign.seed,
    )


def best_found(
    db: Database, campaign: str, windows: Mapping[str, Window], among: Collection[str]
) -> dict[str, float]:
    """Return, by adsorbate, the smallest distance (eV) of a clean label to its window's middle.

    Labels of ``among`` count. Windows are of the level that is predicted, so labels of another say
    nothing of them.
    """
    best: dict[str, float] = {}
    for row in labelled_predictions(db, campaign):
        clean = row.trainable and row.level == row.predicted_level
        if clean and row.candidate_id in among and row.adsorbate in windows:
            distance = abs(row.label_ev - windows[row.adsorbate].centre_ev)
            best[row.adsorbate] = min(distance, best.get(row.adsorbate, distance))
    return best


def _facts(db: Database, ranked: Sequence[RankedPair]) -> dict[str, SlabFacts]:
    found = slabs_by_id(db, sorted({r.minimum.slab_id for r in ranked}))
    formulas = bulk_formulas(db, {row.bulk_id for row in found.values()})
    return {
        slab_id: SlabFacts(
            formulas[row.bulk_id],
            (row.miller_h, row.miller_k, row.miller_l),
            row.shift,
            row.n_atoms,
        )
        for slab_id, row in found.items()
    }
