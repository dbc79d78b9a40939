"""How answers become energies and sigma, fitted apart for graphs and for texts alone.

Shapes  R rows. Units: eV.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from model.checkpoint import Checkpoint
from model.contract import Configuration
from model.errors import ModelError, shortened
from model.network.ensemble import EnsembleOutput
from model.stored_values import StoredValues, checked_values
from model.uncertainty.calibration import Calibration, UncertaintySignal
from model.uncertainty.latent import LatentReference

GRAPH_MODE = "graph"
TEXT_MODE = "text"  # no structure at all


@dataclass(frozen=True)
class UncertaintyMode:
    """The heads' weights, sigma, and the training set's features in the members."""

    regression_share: float
    calibration: Calibration
    reference: LatentReference

    def signal(self, answers: EnsembleOutput) -> UncertaintySignal:
        """Return the uncertainty signal of each answer."""
        return uncertainty_signal(answers, self.reference)


def mode_of(configuration: Configuration) -> str:
    """Return whether a configuration has a structure or only a text."""
    return GRAPH_MODE if len(configuration.numbers_N) else TEXT_MODE


def uncertainty_signal(answers: EnsembleOutput, reference: LatentReference) -> UncertaintySignal:
    """Return the uncertainty signal of each answer, given the training set's features."""
    return UncertaintySignal(
        head_R=answers.head_R,
        disagreement_R=answers.disagreement_R,
        gap_R=np.abs(answers.regression_R - answers.token_R),
        distance_R=reference.distance(answers.latent_RF),
    )


@dataclass(frozen=True)
class _StoredMode(StoredValues):
    """A mode as ``mode_fit.save_mode`` returns it."""

    regression_share: float
    calibration: dict[str, Any]


def load_modes(checkpoint: Checkpoint, values: object) -> dict[str, UncertaintyMode]:
    """Return the modes of a checkpoint, with the files that ``mode_fit.save_mode`` wrote.

    Args:
        checkpoint: Where the files are.
        values: The modes in the checkpoint's settings.

    Returns:
        A mode for graphs, for texts alone, or both.

    Raises:
        ModelError: they are of other names, or damaged.
    """
    stored = checked_values(dict[str, _StoredMode], values, "the modes")
    if not stored or not stored.keys() <= {GRAPH_MODE, TEXT_MODE}:
        raise ModelError(
            f"a checkpoint reads as {GRAPH_MODE}, as {TEXT_MODE} or as both, got "
            f"{shortened(' and '.join(stored) or 'neither')}; restore its folder or train it again"
        )
    modes = {}
    for name, mode in stored.items():
        if not 0 <= mode.regression_share <= 1:
            raise ModelError(
                f"regression_share of mode {name} is between 0 and 1, got {mode.regression_share}; "
                "restore the folder or train it again"
            )
        arrays = load_file(checkpoint.folder / f"reference-{name}.safetensors")
        modes[name] = UncertaintyMode(
            mode.regression_share,
            Calibration.from_json(mode.calibration),
            LatentReference.from_arrays(arrays),
        )
    return modes
