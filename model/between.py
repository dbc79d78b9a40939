"""Between what a network was and what it became: how far towards new labels old ones allow.

Weights between a network and its fine-tuned self answer better than either where the new labels
are few and the old ones many (Wortsman et al. 2022, arXiv:2109.01903).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from model.ensemble import Ensemble
from model.qe_catalytic import QECatalytic
from model.rows import Row

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the way


def between(before: QECatalytic, after: QECatalytic, share: float) -> QECatalytic:
    """Return the network that lies ``share`` of the way from ``before`` to ``after``."""
    found = after.twin()
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

    It is what the gate will ask, on rows that the gate does not see: the error on ``known`` rows
    may grow by ``forget`` (a share of it), and at the levels of the new ones that on new and known
    rows, a half each, is lowest. Members go the same way. Where all forget more it is the smallest.
    """
    rows = [*known, *new]
    configurations = [row.configuration() for row in rows]
    energy_R = np.array([row.energy_ev for row in rows])
    is_known_R = np.arange(len(rows)) < len(known)
    levels = {row.level for row in new}
    at_level_R = np.array([row.level in levels or not levels for row in rows])
    halves = [
        half_R for half_R in (at_level_R & is_known_R, at_level_R & ~is_known_R) if half_R.any()
    ]

    def maes(networks: Sequence[QECatalytic]) -> tuple[float, float]:
        off_R = np.abs(ensemble(networks).answer(configurations).regression_R - energy_R)
        at_level = np.mean([off_R[half_R].mean() for half_R in halves])
        return float(off_R[is_known_R].mean()), float(at_level)

    limit = (1 + forget) * maes(before)[0]
    tried = {
        share: maes([between(a, b, share) for a, b in zip(before, after, strict=True)])
        for share in SHARES
    }
    allowed = [share for share, (forgot, _) in tried.items() if forgot <= limit]
    return min(allowed or SHARES[-1:], key=lambda share: tried[share][1])
