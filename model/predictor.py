"""QE-Catalytic behind the ``Predictor`` contract, and how a checkpoint becomes one.

Shapes  B systems, M members, R rows. Units: eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from model.baseline import KIND as BASELINE
from model.baseline import BaselinePredictor
from model.batches import Reader
from model.calibration import LevelCalibration
from model.checkpoint import Checkpoint, open_checkpoint
from model.config import QECatalyticConfig
from model.contract import Configuration, Domain, Prediction, Predictor
from model.domain import domain_from_json, why_outside
from model.ensemble import Answers, Ensemble
from model.errors import ModelError
from model.qe_catalytic import QECatalytic
from model.tokenizer import GRAPH, load_tokenizer, token_ids

KIND = "qe-catalytic"
GRAPH_MODE = "graph"
TEXT_MODE = "text"  # no structure at all


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


@dataclass(frozen=True)
class Mode:
    """How answers become energies and sigma: fitted apart for graphs and for texts alone."""

    regression_share: float
    calibration: dict[str, LevelCalibration]


class QECatalyticPredictor:
    """An ensemble of QE-Catalytic networks that share tokenizer, graphs and calibration."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        settings = checkpoint.read_json("qe-catalytic.json")
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = domain_from_json(settings["domain"])
        self.modes = {name: _mode(values) for name, values in settings["modes"].items()}
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
            ModelError: a text or structure cannot be read, they contradict one another, or a level
                of theory is unknown.
        """
        answers = self.ensemble.answer(configurations)
        return [self._prediction(c, answers, row) for row, c in enumerate(configurations)]

    def _prediction(self, configuration: Configuration, answers: Answers, row: int) -> Prediction:
        mode = self._mode_of(configuration)
        regression, token = float(answers.regression_R[row]), float(answers.token_R[row])
        energy = mode.regression_share * regression + (1 - mode.regression_share) * token
        if not np.isfinite(energy):
            raise ModelError(
                f"energy of {configuration.candidate_id} must be a number, got {energy}"
            )
        sigma = mode.calibration[configuration.level].sigma(answers.spread_R[row : row + 1])
        reason = why_outside(self.domain, configuration)
        return Prediction(
            candidate_id=configuration.candidate_id,
            level=configuration.level,
            checkpoint_sha256=self.checkpoint_sha256,
            energy_ev=energy,
            sigma_ev=float(sigma[0]),
            regression_ev=regression,
            token_ev=token,
            in_domain=not reason,
            reason=reason,
        )

    def _mode_of(self, configuration: Configuration) -> Mode:
        name = GRAPH_MODE if len(configuration.numbers_N) else TEXT_MODE
        if name not in self.modes:
            raise ModelError(
                f"checkpoint {self.checkpoint_sha256[:12]} reads "
                f"{' and '.join(self.modes)}, got {configuration.candidate_id} as {name}; "
                f"{'give its structure' if name == TEXT_MODE else 'give its text alone'}"
            )
        return self.modes[name]


def _mode(values: dict[str, Any]) -> Mode:
    levels = {k: LevelCalibration(**v) for k, v in values["calibration"].items()}
    return Mode(values["regression_share"], levels)


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
