"""Networks that answer together, batch by batch.

Shapes  B systems, M members, R rows, K what is said of a row, D language width, F = M x D.
Units   eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Configuration
from model.network.batches import Example, Reader, by_budget, make_batch
from model.network.energy_decoder import EnergyDecoder
from model.network.qe_catalytic import Batch, QECatalytic

# Edges and tokens of one forward pass. On one CPU core 24,000 was up to a third slower than 8,000:
# small batches stay in cache. A GPU wants to be filled.
Columns = tuple[NDArray[np.float64], NDArray[np.float32]]
BUDGETS = {"cpu": 8_000, "cuda": 400_000}


@dataclass(frozen=True)
class EnsembleOutput:
    """What the members say of some rows; nothing is calibrated yet."""

    regression_R: NDArray[np.float64]
    token_R: NDArray[np.float64]
    head_R: NDArray[np.float64]  # absolute error that the networks expect, mean over members
    disagreement_R: NDArray[np.float64]  # standard deviation of the regressions over members
    latent_RF: NDArray[np.float32]  # where the members see a row, side by side

    def energy(self, regression_share: float) -> NDArray[np.float64]:
        """Return (R,) the weighted mean of the two heads."""
        return regression_share * self.regression_R + (1 - regression_share) * self.token_R


class Ensemble:
    """Networks that answer together: their heads are averaged, their disagreement is kept."""

    def __init__(
        self,
        members: Sequence[QECatalytic],
        reader: Reader,
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.members = [member.to(self.device).eval() for member in members]
        self.reader = reader
        self.decoder = EnergyDecoder(reader.tokenizer)

    def answer(self, configurations: Sequence[Configuration]) -> EnsembleOutput:
        """Return what the members say of each configuration, in order."""
        return self.answer_examples(self.reader.read(configurations))

    def answer_examples(self, examples: Sequence[Example]) -> EnsembleOutput:
        """Return what the members say of each example, in order."""
        width = self.members[0].level.embedding_dim
        said_RK = np.zeros((len(examples), 4))
        latent_RF = np.zeros((len(examples), len(self.members) * width), dtype=np.float32)
        for group in by_budget(examples, BUDGETS[self.device.type]):
            said_RK[group], latent_RF[group] = self._answer_or_halve([examples[i] for i in group])
        regression_R, token_R, head_R, disagreement_R = said_RK.T
        return EnsembleOutput(regression_R, token_R, head_R, disagreement_R, latent_RF)

    def _answer_or_halve(self, examples: Sequence[Example]) -> Columns:
        try:
            return self._answer_batch(make_batch(examples, self.reader.tokenizer.pad_token_id))
        except torch.OutOfMemoryError:
            if len(examples) == 1:
                raise
        half = len(examples) // 2
        parts = [self._answer_or_halve(part) for part in (examples[:half], examples[half:])]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    @torch.inference_mode()
    def _answer_batch(self, batch: Batch) -> Columns:
        batch = batch.to(self.device)
        asked = [self._ask(member, batch) for member in self.members]
        said_MB3 = torch.stack([said_B3 for said_B3, _ in asked])
        disagreement_B = said_MB3[..., 0].std(dim=0, correction=0)
        said_B4 = torch.cat([said_MB3.mean(dim=0), disagreement_B[:, None]], dim=-1)
        latent_BF = torch.cat([latent_BD for _, latent_BD in asked], dim=-1)
        return said_B4.double().cpu().numpy(), latent_BF.float().cpu().numpy()

    def _ask(self, member: QECatalytic, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (B, 3) regression, tokens and expected absolute error in eV, and (B, D) features.

        The features are the pooled graph's, or the text's where there is no graph.
        """
        reading = member.read(batch, keep_cache=True)
        text_BD = reading.hidden_BTD[:, -1]
        latent_BD = torch.where(
            reading.graph.has_graph_B[:, None], reading.graph.pooled_BD, text_BD
        )
        standard_B, log_spread_B = member.regress(reading, -1)
        regression_B = member.scale.to_ev(standard_B, batch)
        error_B = log_spread_B.clamp(-6, 3).exp() * member.scale.scale_L[batch.level_B]
        token_B = self.decoder.decode(member, batch, reading)
        return torch.stack([regression_B, token_B, error_B], dim=-1), latent_BD
