"""QE-Catalytic behind the ``Predictor`` contract, and how a checkpoint becomes one.

Shapes  B systems, M members, R rows. Units: eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from model.baseline import KIND as BASELINE
from model.baseline import BaselinePredictor
from model.batches import Example, Reader, by_budget, make_batch
from model.calibration import LevelCalibration
from model.checkpoint import Checkpoint, open_checkpoint
from model.contract import Configuration, Domain, Prediction, Predictor
from model.decode import EnergyDecoder
from model.domain import domain_from_json, why_outside
from model.errors import ModelError
from model.qe_catalytic import Batch, QECatalytic, QECatalyticConfig
from model.tokenizer import GRAPH, load_tokenizer, token_ids

KIND = "qe-catalytic"


def load_predictor(name_or_path: str | Path, device: str = "cpu") -> Predictor:
    """Return the predictor of an embedded checkpoint (``mini``, ``baseline``) or of a folder.

    ``device`` is where networks run (``cpu``, ``cuda``); gradient boosting needs none.

    Raises:
        ModelError: there is none, a hash differs, or it is of a kind this version cannot read.
    """
    checkpoint = open_checkpoint(name_or_path)
    if checkpoint.kind == BASELINE:
        return BaselinePredictor(checkpoint)
    if checkpoint.kind == KIND:
        return QECatalyticPredictor(checkpoint, torch.device(device))
    raise ModelError(f"this version reads {KIND} and {BASELINE}, got kind {checkpoint.kind!r}")


class QECatalyticPredictor:
    """An ensemble of QE-Catalytic networks that share tokenizer, graphs and calibration."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        settings = checkpoint.read_json("qe-catalytic.json")
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = domain_from_json(settings["domain"])
        self.regression_share: float = settings["regression_share"]
        self.calibration = {k: LevelCalibration(**v) for k, v in settings["calibration"].items()}
        config = QECatalyticConfig.from_json(settings["network"])
        tokenizer = load_tokenizer(checkpoint.folder / "tokenizer.json")
        members = [
            _load_member(config, token_ids(tokenizer, [GRAPH])[0], file)
            for file in sorted(checkpoint.folder.glob("member-*.safetensors"))
        ]
        self.ensemble = Ensemble(members, Reader(config, tokenizer), device)

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order.

        Raises:
            ModelError: a text or structure cannot be read, or a level of theory is unknown.
        """
        answers = self.ensemble.answer(configurations)
        share = self.regression_share
        energy_R = share * answers.regression_R + (1 - share) * answers.token_R
        return [self._prediction(c, answers, energy_R, row) for row, c in enumerate(configurations)]

    def _prediction(
        self,
        configuration: Configuration,
        answers: Answers,
        energy_R: NDArray[np.float64],
        row: int,
    ) -> Prediction:
        if not np.isfinite(energy_R[row]):
            raise ModelError(
                f"energy of {configuration.candidate_id} must be a number, got {energy_R[row]}"
            )
        sigma = self.calibration[configuration.level].sigma(answers.spread_R[row : row + 1])
        reason = why_outside(self.domain, configuration)
        return Prediction(
            candidate_id=configuration.candidate_id,
            level=configuration.level,
            checkpoint_sha256=self.checkpoint_sha256,
            energy_ev=float(energy_R[row]),
            sigma_ev=float(sigma[0]),
            regression_ev=float(answers.regression_R[row]),
            token_ev=float(answers.token_R[row]),
            in_domain=not reason,
            reason=reason,
        )


def _load_member(config: QECatalyticConfig, graph_token: int, file: Path) -> QECatalytic:
    network = QECatalytic(config, graph_token=graph_token)
    stored = load_file(file)
    missing, unexpected = network.load_state_dict(stored, strict=False)
    if missing or unexpected:
        raise ModelError(
            f"{file.name} is of another architecture: lacks {', '.join(missing[:3]) or 'nothing'}, "
            f"has {', '.join(unexpected[:3]) or 'nothing'} beyond it"
        )
    return network
