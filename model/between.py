"""Between what a network was and what it became: how far towards new labels old ones allow.

Weights between a network and its fine-tuned self answer better than either where the new labels
are few and the old ones many (Wortsman et al. 2022, arXiv:2109.01903).
"""

from collections.abc import Sequence

import numpy as np
import torch

from model.batches import Reader
from model.ensemble import Ensemble
from model.qe_catalytic import QECatalytic
from model.rows import Row

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the way, tried in this order


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


def furthest(
    before: Sequence[QECatalytic],
    after: Sequence[QECatalytic],
    known: Sequence[Row],
    reader: Reader,
    forget: float,
    device: torch.device,
) -> float:
    """Return the largest share at which the error on ``known`` rows grows by ``forget`` at most.

    Members go the same way together. Where every share forgets more it is the smallest.
    """
    examples = reader.read([row.configuration() for row in known])
    energy_R = np.array([row.energy_ev for row in known])

    def mae(networks: Sequence[QECatalytic]) -> float:
        said_R = Ensemble(networks, reader, device).answer_examples(examples).regression_R
        return float(np.abs(said_R - energy_R).mean())

    limit = (1 + forget) * mae(before)
    for share in SHARES[:-1]:
        if mae([between(a, b, share) for a, b in zip(before, after, strict=True)]) <= limit:
            return share
    return SHARES[-1]
