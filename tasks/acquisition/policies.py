"""Policies by the names that a campaign file gives them."""

from dataclasses import dataclass

from tasks.acquisition.batch import Policy, SelectionReason, Share
from tasks.acquisition.diversity import DIVERSITY, RADIUS
from tasks.acquisition.estimates import AcquisitionError
from tasks.acquisition.scores import SCORES, ConfidenceBound, Score

BATCH = "batch"
POLICIES = (BATCH, *SCORES)
_UNCERTAIN = ("uncertainty", "doubt", "random")  # they look for what is not known


@dataclass(frozen=True)
class SelectionLimits:
    """Limits that hold under every policy: see ``Policy``."""

    per_slab: int | None = None
    per_bulk: int | None = None
    min_probability: float = 0.0


def named_policy(
    name: str = BATCH,
    *,
    promising: float = 0.5,
    promising_by: str = "probability",
    uncertain_by: str = "doubt",
    kappa: float = 2.0,
    diversity: float | None = None,
    radius: float = RADIUS,
    cost_weight: float = 0.0,
    limits: SelectionLimits | None = None,
) -> Policy:
    """Return the policy ``name``: a score by its own name, or ``batch``, which mixes two.

    ``batch`` gives the share ``promising`` to the first by ``promising_by`` and the rest to the
    first by ``uncertain_by``.

    Args:
        name: ``batch`` or one of ``SCORES``.
        promising: The share of the first score in ``batch``, 0 to 1.
        promising_by: The score of ``batch`` that looks for energies inside the window.
        uncertain_by: The score of ``batch`` that looks for pairs the model knows little of.
        kappa: Standard deviations of the confidence bound, read by that score alone.
        diversity: Exponent of novelty; None is ``DIVERSITY`` for ``batch`` and 0 for a score alone.
        radius: The range of likeness, in units of the root mean square distance of two pairs.
        cost_weight: Exponent of one over the cost; 0 leaves costs out.
        limits: Calculations for each slab and bulk, and the least probability; none where it is
            None.

    Returns:
        The policy that ``select`` reads.

    Raises:
        AcquisitionError: a number is out of its range, or no score has that name.
    """
    if not 0 <= promising <= 1:
        raise AcquisitionError(f"promising must be a share between 0 and 1, got {promising}")
    if name == BATCH:
        shares: tuple[Share, ...] = (
            Share(_score(promising_by, kappa), promising, "promising"),
            Share(_score(uncertain_by, kappa), 1 - promising, "uncertain"),
        )
    else:
        why: SelectionReason = "uncertain" if name in _UNCERTAIN else "promising"
        shares = (Share(_score(name, kappa), 1.0, why),)
    bounds = limits or SelectionLimits()
    usual = DIVERSITY if name == BATCH else 0.0
    return Policy(
        shares,
        usual if diversity is None else diversity,
        radius,
        cost_weight,
        bounds.per_slab,
        bounds.per_bulk,
        bounds.min_probability,
    )


def _score(name: str, kappa: float) -> Score:
    if name not in SCORES:
        raise AcquisitionError(f"a score is one of {', '.join(SCORES)}, got {name!r}")
    return ConfidenceBound(kappa) if name == "confidence_bound" else SCORES[name]
