"""Read weights from files: nothing is unpickled, and every name and shape must agree."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from model.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
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


def require_fitting(build: Callable[[], nn.Module], file: Path) -> None:
    """Compare names and shapes of a file with those of a module before any of it is allocated.

    Args:
        build: Makes the module; it is called where tensors have shapes and no memory.
        file: A .safetensors file.

    Raises:
        ModelError: some differ; the first are named.
    """
    with torch.device("meta"):
        expected = _shapes(build().state_dict())
    with safe_open(file, framework="pt") as stored:
        found = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    _require_same(expected, found, file.name)


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load weights whose every name and shape is the module's, and which are numbers.

    Raises:
        ModelError: some differ, and the first are named, or one is not finite.
    """
    _require_same(_shapes(module.state_dict()), _shapes(state), what)
    for name, values in state.items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise ModelError(
                f"weights are finite numbers, {name} of {what} holds others; restore the file or "
                "train it again"
            )
    module.load_state_dict(state)


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(values.shape) for name, values in state.items()}


def _require_same(expected: Shapes, found: Shapes, what: str) -> None:
    if odd := _differences(expected, found):
        named = ", ".join(odd[:_NAMED])
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        raise ModelError(
            f"{what} must have the configuration's weights, {len(odd)} differ, first {named}"
            f"{more}; set the configuration to that of the weights"
        )


def _differences(own: Shapes, given: Shapes) -> list[str]:
    odd = []
    for name in sorted(own.keys() | given.keys()):
        if name not in given:
            odd.append(f"{name} is missing")
        elif name not in own:
            odd.append(f"{name} is unexpected")
        elif given[name] != own[name]:
            odd.append(f"{name} has shape {given[name]}, not {own[name]}")
    return odd
