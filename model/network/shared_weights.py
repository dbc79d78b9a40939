"""Weights that a network takes over from elsewhere and leaves as they are.

A frozen encoder and a language model under adapters are larger than all that is learnt around
them. They are not trained, not in the network's state, and shared by its copies.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

from torch import nn


class SharesWeights(nn.Module, ABC):
    """A module of which copies share some weights: :meth:`_is_shared` names them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(_drop_shared)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_missing_shared)  # type: ignore[no-untyped-call]

    @abstractmethod
    def _is_shared(self, name: str) -> bool:
        """Return whether the weight of that name came from elsewhere and never changes."""

    def unfreeze(self) -> None:
        """Let every weight learn that is not shared."""
        for name, weight in self.named_parameters():
            weight.requires_grad_(not self._is_shared(name))

    def clone(self) -> Self:
        """Return a copy with weights of its own but for the shared ones."""
        shared: dict[int, Any] = {
            id(weight): weight for name, weight in self.named_parameters() if self._is_shared(name)
        }
        return copy.deepcopy(self, shared)


def _drop_shared(
    module: SharesWeights,
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],  # noqa: ARG001  torch hands it to every hook
) -> None:
    for name in list(state):
        if name.startswith(prefix) and module._is_shared(name.removeprefix(prefix)):
            del state[name]


def _ignore_missing_shared(module: SharesWeights, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if not module._is_shared(name)]
