"""Weights that a network takes over from elsewhere and leaves as they are.

A frozen encoder and a language model under adapters are larger than all that is learnt around
them. They are not trained, not in the network's state, and shared by its copies.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

from torch import nn


class Borrower(nn.Module, ABC):
    """A module of which some weights are borrowed: :meth:`_is_borrowed` names them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(_without_borrowed)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_expecting_no_borrowed)  # type: ignore[no-untyped-call]

    @abstractmethod
    def _is_borrowed(self, name: str) -> bool:
        """Return whether the weight of that name came from elsewhere and never changes."""

    def thaw(self) -> None:
        """Let every weight learn that is not borrowed."""
        for name, weight in self.named_parameters():
            weight.requires_grad_(not self._is_borrowed(name))

    def twin(self) -> Self:
        """Return a copy whose weights are its own, but for the borrowed ones, which are shared."""
        shared: dict[int, Any] = {
            id(weight): weight
            for name, weight in self.named_parameters()
            if self._is_borrowed(name)
        }
        return copy.deepcopy(self, shared)


def _without_borrowed(
    module: Borrower, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    for name in list(state):
        if name.startswith(prefix) and module._is_borrowed(name.removeprefix(prefix)):
            del state[name]


def _expecting_no_borrowed(module: Borrower, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if not module._is_borrowed(name)]
