"""Two heads, one loss: the max-min tanh-gated sum of arXiv:2512.20084.

The harder task dominates; the easier one is damped the more, the larger it still is.
"""

import torch
from torch import Tensor


def gated_sum(regression: Tensor, tokens: Tensor, *, damping: float = 0.5) -> Tensor:
    """Return max(L) + (1 - damping tanh(sg(min L))) min(L), with sg the stopped gradient.

    Read literally, max(L) (1 - damping tanh(min L)) rewards the easier task for getting worse and
    training collapses; with the gate detached and added, both losses keep falling.
    """
    hard = torch.maximum(regression, tokens)
    easy = torch.minimum(regression, tokens)
    return hard + (1.0 - damping * torch.tanh(easy.detach())) * easy
