"""Fit on held-out rows how answers become energies and sigma.

Shapes  R rows. Units: eV. Apart from ``modes``, since a prediction needs no statistics library.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from model.data.rows import UNRELAXED, Row
from model.network.batches import Example
from model.network.ensemble import Ensemble
from model.text.configuration_text import parse_text
from model.uncertainty.calibration import head_weight
from model.uncertainty.calibration_fit import fit_calibration
from model.uncertainty.latent import latent_reference
from model.uncertainty.modes import GRAPH_MODE, TEXT_MODE, UncertaintyMode, uncertainty_signal


def fit_modes(
    ensemble: Ensemble,
    train: Sequence[Row],
    held_out: Sequence[Row],
    *,
    seed: int,
    from_text: bool,
) -> dict[str, UncertaintyMode]:
    """Fit the weights of the heads and sigma, with a graph and from the text alone.

    Args:
        ensemble: Trained members.
        train: Rows that they were trained on; only the unrelaxed ones count as near.
        held_out: Rows to fit on, energies in eV.
        seed: Of the reference's choice of rows and of the calibration.
        from_text: Whether the members were also trained on texts without graphs.

    Returns:
        The modes by name; there is none for graphs where no held-out row has one.
    """
    near = ensemble.reader.read([row.configuration() for row in train if row.kind in UNRELAXED])
    examples = ensemble.reader.read([row.configuration() for row in held_out])
    seen = [(row, e) for row, e in zip(held_out, examples, strict=True) if e.graph_tokens]
    modes = {}
    if seen:
        modes[GRAPH_MODE] = fit_mode(ensemble, [e for e in near if e.graph_tokens], seen, seed=seed)
    if not seen or from_text:
        alone = [(row, e.without_graph()) for row, e in zip(held_out, examples, strict=True)]
        modes[TEXT_MODE] = fit_mode(ensemble, [e.without_graph() for e in near], alone, seed=seed)
    return modes


def fit_mode(
    ensemble: Ensemble,
    train: Sequence[Example],
    held_out: Sequence[tuple[Row, Example]],
    *,
    seed: int,
) -> UncertaintyMode:
    """Fit the heads' weights and sigma on held-out rows; ``train`` is what counts as near."""
    seen = ensemble.answer_examples(train)
    reference = latent_reference(seen.latent_RF, seed=seed)
    answers = ensemble.answer_examples([example for _, example in held_out])
    truth_R = np.array([row.energy_ev for row, _ in held_out])
    share = head_weight(answers.regression_R, answers.token_R, truth_R)
    calibration = fit_calibration(
        [row.level for row, _ in held_out],
        [parse_text(row.text).adsorbate for row, _ in held_out],
        answers.energy(share) - truth_R,
        uncertainty_signal(answers, reference),
        seed=seed,
        groups=[row.pair for row, _ in held_out],
    )
    return UncertaintyMode(share, calibration, reference)


def save_mode(mode: UncertaintyMode, name: str, folder: Path) -> dict[str, Any]:
    """Write the reference beside the weights and return the values for the settings."""
    save_file(mode.reference.arrays(), folder / f"reference-{name}.safetensors")
    return {
        "regression_share": mode.regression_share,
        "calibration": mode.calibration.to_json(),
    }
