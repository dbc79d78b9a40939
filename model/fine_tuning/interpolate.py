"""Interpolate between a network and its fine-tuned self, as far as old labels allow.

Weights between a network and its fine-tuned self answer better than either where the new labels
are few and the old ones many (Wortsman et al. 2022, arXiv:2109.01903).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from model.data.rows import Row
from model.network.ensemble import Ensemble
from model.network.qe_catalytic import QECatalytic

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the way
FORGET_EV = 0.003  # so little is no loss, however well something was known


def interpolated(before: QECatalytic, after: QECatalytic, share: float) -> QECatalytic:
    """Return the network that lies ``share`` of the way from ``before`` to ``after``."""
    found = after.clone()
    old, new = before.state_dict(), after.state_dict()
    found.load_state_dict(
        {
            name: torch.lerp(old[name], value, share) if value.is_floating_point() else value
            for name, value in new.items()
        }
    )
    return found.eval()


def best_share(
    before: Sequence[QECatalytic],
    after: Sequence[QECatalytic],
    known: Sequence[Row],
    new: Sequence[Row],
    ensemble: Callable[[Sequence[QECatalytic]], Ensemble],
    forget: float,
) -> float:
    """Return the share that serves the levels of ``new`` rows best and forgets little.

    These are the gate's criteria, on rows that the gate does not see. The error on ``known`` rows,
    on all and on those at the levels of ``new``, may grow by a share ``forget`` of it or by 3 meV.
    Of the shares within these limits the best has the lowest error at these levels, new and known
    rows counting a half each.

    Args:
        before: members before fine-tuning.
        after: the same members after it.
        known: rows of levels and structures that ``before`` was trained on.
        new: rows of the kind that fine-tuning has added.
        ensemble: makes an ensemble from members.
        forget: share by which the error on known rows may grow.

    Returns:
        One of :data:`SHARES`, the same for all members; the smallest where all forget more.
    """
    rows = [*known, *new]
    configurations = [row.configuration() for row in rows]
    energy_R = np.array([row.energy_ev for row in rows])
    is_known_R = np.arange(len(rows)) < len(known)
    levels = {row.level for row in new} or {row.level for row in known}
    at_level_R = np.array([row.level in levels for row in rows])
    looks = [is_known_R, is_known_R & at_level_R, ~is_known_R]

    def maes(networks: Sequence[QECatalytic]) -> list[float]:
        """Return the error on what is known, on that at the levels, and on what is new."""
        off_R = np.abs(ensemble(networks).answer(configurations).regression_R - energy_R)
        return [float(off_R[look_R].mean()) if look_R.any() else 0.0 for look_R in looks]

    limits = [max((1 + forget) * mae, mae + FORGET_EV) for mae in maes(before)[:2]]
    tried = {
        share: maes([interpolated(a, b, share) for a, b in zip(before, after, strict=True)])
        for share in SHARES
    }
    allowed = [
        share
        for share, (known_ev, at_level_ev, _) in tried.items()
        if known_ev <= limits[0] and at_level_ev <= limits[1]
    ]
    return min(allowed or SHARES[-1:], key=lambda share: sum(tried[share][1:]))
