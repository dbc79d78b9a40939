"""Estimates of the pairs that a calculation may be spent on.

Shapes  R pairs, each stood for by its lowest placement; F features.
Units   eV; costs are relative (see ``costs``), penalties have no unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.errors import UserError

Floats = NDArray[np.float64]


class AcquisitionError(UserError, ValueError):
    """Estimates or a policy that nothing can be selected with."""


@dataclass(frozen=True, eq=False)
class PairEstimates:
    """Estimates of R pairs, from which a policy chooses; ``plain`` leaves out the optional ones.

    ``slab_cost_R`` is that of the row's clean slab, paid once for each slab, so that rows of one
    slab must agree on it. ``features_RF`` says where a pair lies (elements, text, latent) and may
    have no column. ``penalty_R`` is the supply risk or price, 0 where the campaign states neither.
    """

    candidate_ids: tuple[str, ...]
    slab_ids: tuple[str, ...]
    bulk_ids: tuple[str, ...]
    energy_R: Floats
    sigma_R: Floats
    low_R: Floats  # the target window of the row's adsorbate
    high_R: Floats
    cost_R: Floats  # of the adslab alone
    slab_cost_R: Floats
    features_RF: Floats
    penalty_R: Floats

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)
        _check_ids(self)

    @classmethod
    def plain(
        cls,
        candidate_ids: Sequence[str],
        slab_ids: Sequence[str],
        bulk_ids: Sequence[str],
        *,
        energy_R: ArrayLike,
        sigma_R: ArrayLike,
        low_R: ArrayLike,
        high_R: ArrayLike,
    ) -> "PairEstimates":
        """Return estimates without features, penalties or slab costs; every adslab costs 1.

        A window may be given as two numbers for all rows. ``dataclasses.replace`` adds the rest.

        Args:
            candidate_ids: Of the R rows.
            slab_ids: Of the clean slab of each row.
            bulk_ids: Of the bulk of each row.
            energy_R: Predicted energies, eV.
            sigma_R: One standard deviation of each, eV.
            low_R: The lower end of each row's window, eV.
            high_R: The upper end, eV.

        Returns:
            The estimates; costs are relative to one adslab.
        """
        n = len(candidate_ids)
        rows = [_floats(v, n) for v in (energy_R, sigma_R, low_R, high_R)]
        return cls(
            tuple(candidate_ids),
            tuple(slab_ids),
            tuple(bulk_ids),
            energy_R=rows[0],
            sigma_R=rows[1],
            low_R=rows[2],
            high_R=rows[3],
            cost_R=np.ones(n),
            slab_cost_R=np.zeros(n),
            features_RF=np.zeros((n, 0)),
            penalty_R=np.zeros(n),
        )

    def __len__(self) -> int:
        return len(self.candidate_ids)

    @property
    def centre_ev(self) -> Floats:
        """The middle of each row's window, in eV."""
        return (self.low_R + self.high_R) / 2

    @property
    def distance_ev(self) -> Floats:
        """How far each predicted energy lies from the middle of its window, in eV."""
        return np.abs(self.energy_R - self.centre_ev)


def _floats(values: ArrayLike, n: int) -> Floats:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), (n,)).copy()


_ROWS = ("energy_R", "sigma_R", "low_R", "high_R", "cost_R", "slab_cost_R", "penalty_R")


def _check_shapes(estimates: PairEstimates) -> None:
    n = len(estimates)
    for name in (*_ROWS, "slab_ids", "bulk_ids"):
        found = np.shape(getattr(estimates, name))
        if found != (n,):
            raise AcquisitionError(
                f"each of the {n} candidates needs one value of {name}, got shape {found}; "
                "give one for each row"
            )
    if estimates.features_RF.ndim != 2 or len(estimates.features_RF) != n:
        raise AcquisitionError(
            f"features need one row for each of the {n} candidates, got shape "
            f"{estimates.features_RF.shape}; give (R, 0) where there are none"
        )


def _check_values(estimates: PairEstimates) -> None:
    for name in (*_ROWS, "features_RF"):
        if not np.isfinite(getattr(estimates, name)).all():
            raise AcquisitionError(
                f"{name} must be finite numbers, got a NaN or an infinity; leave that pair out"
            )
    for name in ("sigma_R", "slab_cost_R", "penalty_R"):
        _require(name, getattr(estimates, name) >= 0, "at least 0", estimates)
    _require("cost_R", estimates.cost_R > 0, "above 0", estimates)
    _require("low_R", estimates.low_R < estimates.high_R, "below high_R", estimates)


def _require(name: str, holds_R: NDArray[np.bool_], rule: str, estimates: PairEstimates) -> None:
    if not holds_R.all():
        row = int(np.argmin(holds_R))
        raise AcquisitionError(
            f"{name} must be {rule}, got {getattr(estimates, name)[row]} of candidate "
            f"{estimates.candidate_ids[row]}; correct it"
        )


def _check_ids(estimates: PairEstimates) -> None:
    if len(set(estimates.candidate_ids)) != len(estimates):
        raise AcquisitionError("each candidate is one row, got one of them twice; remove one")
    cost_of: dict[str, float] = {}
    for slab, cost in zip(estimates.slab_ids, estimates.slab_cost_R.tolist(), strict=True):
        if cost_of.setdefault(slab, cost) != cost:
            raise AcquisitionError(
                f"a clean slab has one cost, got {cost_of[slab]} and {cost} of slab {slab}; "
                "give all its rows the same"
            )
