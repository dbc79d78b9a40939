"""Join the losses of two heads: versions of the max-min tanh-gated sum of arXiv:2512.20084.

The paper writes max(L) (1 - lambda tanh(min L)): the harder task dominates, the easier gates it.
Taken literally, the easier task is rewarded for getting worse. All versions are kept, so that they
can be compared.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def _literal(regression: Tensor, tokens: Tensor, damping: float) -> Tensor:
    hard, easy = _ordered(regression, tokens)
    return hard * (1.0 - damping * torch.tanh(easy))


def _detached(regression: Tensor, tokens: Tensor, damping: float) -> Tensor:
    hard, easy = _ordered(regression, tokens)
    return hard * (1.0 - damping * torch.tanh(easy.detach()))


def _gated(regression: Tensor, tokens: Tensor, damping: float) -> Tensor:
    hard, easy = _ordered(regression, tokens)
    return hard + (1.0 - damping * torch.tanh(easy.detach())) * easy


def _ordered(regression: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    return torch.maximum(regression, tokens), torch.minimum(regression, tokens)


COMBINATIONS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "literal": _literal,  # max (1 - damping tanh(min)): both gradients through the product
    "detached": _detached,  # the same with the gate's gradient stopped: the easier task idles
    "gated": _gated,  # max + (1 - damping tanh(sg(min))) min: both keep falling
    "sum": lambda regression, tokens, _: regression + tokens,
    "regression": lambda regression, *_: regression,
    "tokens": lambda _, tokens, __: tokens,
}


def combine_losses(name: str, regression: Tensor, tokens: Tensor, damping: float) -> Tensor:
    """Return one loss from the two heads' losses, by one of :data:`COMBINATIONS`."""
    return COMBINATIONS[name](regression, tokens, damping)
