"""Read weights from files: nothing is unpickled, and every name and shape must agree."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.errors import ModelError

_NAMED = 5  # differences that a message names


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the weights of a .safetensors file, or of a .pt file that holds nothing but data.

    Published checkpoints keep them under ``state_dict``.

    Raises:
        ModelError: the file cannot be read, or reading it would run code in it.
    """
    if not file.is_file():
        raise ModelError(f"there is no file of weights {file}; set its path (encoder_weights)")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        held = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"weights {file} cannot be read without running it: {first}") from None
    state = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{file} must hold tensors by name, or under state_dict; choose another")
    return dict(state)


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load weights whose every name and shape is the module's.

    Raises:
        ModelError: some differ; the first are named.
    """
    if odd := _differences(module.state_dict(), state):
        named = ", ".join(odd[:_NAMED])
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        raise ModelError(
            f"{what} must have the configuration's weights, {len(odd)} differ, first {named}"
            f"{more}; set the configuration to that of the weights"
        )
    module.load_state_dict(state)


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    odd = []
    for name in sorted(own.keys() | given.keys()):
        if name not in given:
            odd.append(f"{name} is missing")
        elif name not in own:
            odd.append(f"{name} is unexpected")
        elif (shape := tuple(given[name].shape)) != (expected := tuple(own[name].shape)):
            odd.append(f"{name} has shape {shape}, not {expected}")
    return odd
