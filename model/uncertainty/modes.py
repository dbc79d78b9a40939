"""How answers become energies and sigma, fitted apart for graphs and for texts alone.

Shapes  R rows. Units: eV.
"""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load_file

from model.checkpoint import Checkpoint
from model.contract import Configuration
from model.network.ensemble import EnsembleOutput
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


def load_mode(checkpoint: Checkpoint, name: str) -> UncertaintyMode:
    """Read a file of ``mode_fit.save_mode``."""
    values = checkpoint.read_json("qe-catalytic.json")["modes"][name]
    arrays = load_file(checkpoint.folder / f"reference-{name}.safetensors")
    return UncertaintyMode(
        values["regression_share"],
        Calibration.from_json(values["calibration"]),
        LatentReference.from_arrays(arrays),
    )
