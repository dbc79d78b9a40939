"""Build predictions, each with the reason why its configuration is out of domain."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.contract import Configuration, Domain, Prediction, Predictor
from model.data.domain import out_of_domain_reason
from model.errors import ModelError


def make_prediction(
    configuration: Configuration,
    checkpoint_sha256: str,
    reason: str,
    *,
    energy_ev: float,
    sigma_ev: float,
    regression_ev: float,
    token_ev: float,
) -> Prediction:
    """Return the prediction of one configuration.

    Args:
        configuration: The configuration.
        checkpoint_sha256: Hash of the checkpoint that predicts.
        reason: Why the configuration is out of domain, empty where it is inside.
        energy_ev: Relaxed adsorption energy in eV.
        sigma_ev: One standard deviation of it in eV.
        regression_ev: Answer of the regression head in eV.
        token_ev: Answer of the language head in eV.

    Returns:
        The prediction.

    Raises:
        ModelError: the energy or its sigma is not a number.
    """
    for name, value in (("energy", energy_ev), ("sigma", sigma_ev)):
        if not math.isfinite(value):
            raise ModelError(
                f"{name} of {configuration.candidate_id} must be a number, got {value}"
            )
    return Prediction(
        candidate_id=configuration.candidate_id,
        level=configuration.level,
        checkpoint_sha256=checkpoint_sha256,
        energy_ev=energy_ev,
        sigma_ev=sigma_ev,
        regression_ev=regression_ev,
        token_ev=token_ev,
        in_domain=not reason,
        reason=reason,
    )


def single_head_predictions(
    predictor: Predictor,
    configurations: Sequence[Configuration],
    energy_R: NDArray[np.float64],
    sigma_R: NDArray[np.float64],
    domain: Domain | None = None,
) -> list[Prediction]:
    """Return the predictions of a predictor whose energy comes from one head.

    Args:
        predictor: The predictor, which gives its checkpoint's hash and its domain.
        configurations: The configurations, R of them.
        energy_R: Relaxed adsorption energies in eV.
        sigma_R: One standard deviation of each in eV.
        domain: What these energies were learnt from, where the predictor knows more than that.

    Returns:
        A prediction for each configuration, in their order; both heads say the same.

    Raises:
        ModelError: an energy or its sigma is not a number.
    """
    return [
        make_prediction(
            configuration,
            predictor.checkpoint_sha256,
            out_of_domain_reason(domain or predictor.domain, configuration),
            energy_ev=energy_ev,
            sigma_ev=sigma_ev,
            regression_ev=energy_ev,
            token_ev=energy_ev,
        )
        for configuration, energy_ev, sigma_ev in zip(
            configurations, energy_R.tolist(), sigma_R.tolist(), strict=True
        )
    ]
