"""Networks that answer together, batch by batch.

Shapes  B systems, M members, R rows, D language width. Units: eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.batches import Example, Reader, by_budget, make_batch
from model.contract import Configuration
from model.decode import EnergyDecoder
from model.qe_catalytic import Batch, QECatalytic

# Edges and tokens of one forward pass. On one CPU core 24,000 was up to a third slower than 8,000:
# small batches stay in cache. A GPU wants to be filled.
BUDGETS = {"cpu": 8_000, "cuda": 400_000}


@dataclass(frozen=True)
class Answers:
    """What the members say of some rows: heads in eV, and one uncalibrated spread."""

    regression_R: NDArray[np.float64]
    token_R: NDArray[np.float64]
    spread_R: NDArray[np.float64]


class Ensemble:
    """Networks that answer together: heads are averaged, disagreement widens the spread."""

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

    def answer(self, configurations: Sequence[Configuration]) -> Answers:
        """Return what the members say of each configuration, in order."""
        return self.answer_examples(self.reader.read(configurations))

    def answer_examples(self, examples: Sequence[Example]) -> Answers:
        """Return what the members say of each example, in order."""
        said_R3 = np.zeros((len(examples), 3))
        for group in by_budget(examples, BUDGETS[self.device.type]):
            said_R3[group] = self._answer_or_halve([examples[i] for i in group])
        return Answers(said_R3[:, 0], said_R3[:, 1], said_R3[:, 2])

    def _answer_or_halve(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        try:
            return self._answer_batch(make_batch(examples, self.reader.tokenizer.pad_token_id))
        except torch.OutOfMemoryError:
            if len(examples) == 1:
                raise
        half = len(examples) // 2
        parts = [self._answer_or_halve(part) for part in (examples[:half], examples[half:])]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _answer_batch(self, batch: Batch) -> NDArray[np.float64]:
        batch = batch.to(self.device)
        said_MB3 = torch.stack([self._ask(member, batch) for member in self.members])
        disagreement_B = said_MB3[..., 0].var(dim=0, correction=0)
        spread_B = (said_MB3[..., 2].mean(dim=0) ** 2 + disagreement_B).sqrt()
        heads_B2 = said_MB3[..., :2].mean(dim=0)
        said_B3 = torch.cat([heads_B2, spread_B[:, None]], dim=-1)
        return said_B3.double().cpu().numpy()

    def _ask(self, member: QECatalytic, batch: Batch) -> Tensor:
        """Return (B, 3): regression, tokens and expected absolute error, in eV."""
        reading = member.read(batch, keep_cache=True)
        standard_B, log_spread_B = member.regress(reading, -1)
        regression_B = member.scale.to_ev(standard_B, batch.level_B, batch.adsorbate_BZ)
        error_B = log_spread_B.clamp(-6, 3).exp() * member.scale.scale_L[batch.level_B]
        token_B = self.decoder.decode(member, batch, reading)
        return torch.stack([regression_B, token_B, error_B], dim=-1)
