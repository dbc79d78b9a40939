"""QE-Catalytic behind the ``Predictor`` contract.

Shapes  B systems, M members, R rows. Units: eV.
"""

from collections.abc import Sequence
from itertools import repeat

import torch

from model.checkpoint import Checkpoint, stated_bond_rule
from model.contract import BondRule, Configuration, Domain, Prediction
from model.data.domain import out_of_domain_reason, read_domain
from model.errors import ModelError
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble, load_members
from model.prediction.answers import make_prediction
from model.text.configuration_text import parse_text
from model.text.tokenizer import GRAPH, load_tokenizer, token_ids
from model.uncertainty.modes import GRAPH_MODE, TEXT_MODE, UncertaintyMode, load_modes, mode_of


class QECatalyticPredictor:
    """An ensemble of QE-Catalytic networks that share tokenizer, graphs and calibration."""

    def __init__(self, checkpoint: Checkpoint, device: str):
        settings = checkpoint.settings()
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = read_domain(checkpoint, settings["domain"])
        self.bond_rule: BondRule = stated_bond_rule(checkpoint)
        self.modes = load_modes(checkpoint, settings["modes"])
        config = QECatalyticConfig.from_json(settings["network"])
        tokenizer = load_tokenizer(checkpoint.folder / "tokenizer.json", config.vocabulary)
        graph_token = token_ids(tokenizer, [GRAPH])[0]
        members = load_members(config, graph_token, checkpoint.folder, torch.device(device))
        self.ensemble = Ensemble(members, Reader(config, tokenizer), torch.device(device))

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order.

        Raises:
            ModelError: a text or structure cannot be read, they contradict one another, or a level
                of theory is unknown.
        """
        predictions: dict[int, Prediction] = {}
        for name in (GRAPH_MODE, TEXT_MODE):
            rows = [r for r, c in enumerate(configurations) if mode_of(c) == name]
            if rows:
                found = self._predict([configurations[row] for row in rows], name)
                predictions |= dict(zip(rows, found, strict=True))
        return [predictions[row] for row in range(len(configurations))]

    def _predict(self, configurations: Sequence[Configuration], name: str) -> list[Prediction]:
        mode = self._mode(name, configurations[0])
        answers = self.ensemble.answer(configurations)
        energy_R = answers.energy(mode.regression_share)
        signal = mode.signal(answers)
        levels = [c.level for c in configurations]
        adsorbates = [parse_text(c.text).adsorbate for c in configurations]
        sigma_R = mode.calibration.sigma(levels, adsorbates, signal)
        limits = [mode.calibration.level(level).distance_limit for level in levels]
        reasons = map(
            out_of_domain_reason, repeat(self.domain), configurations, signal.distance_R, limits
        )
        columns = (energy_R, sigma_R, answers.regression_R, answers.token_R)
        return [
            make_prediction(
                configuration,
                self.checkpoint_sha256,
                reason,
                energy_ev=float(energy),
                sigma_ev=float(sigma),
                regression_ev=float(regression),
                token_ev=float(token),
            )
            for configuration, reason, energy, sigma, regression, token in zip(
                configurations, reasons, *columns, strict=True
            )
        ]

    def _mode(self, name: str, configuration: Configuration) -> UncertaintyMode:
        if name not in self.modes:
            raise ModelError(
                f"checkpoint {self.checkpoint_sha256[:12]} reads {' and '.join(self.modes)}, got "
                f"{configuration.candidate_id} as {name}; "
                f"{'give its structure' if name == TEXT_MODE else 'give its text alone'}"
            )
        return self.modes[name]
