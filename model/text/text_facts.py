"""Features of texts as input of a network that is too small to have read chemistry.

A language model of this size learns from a few thousand texts that Pt is like Pd; the properties
of the elements that a text names say so from the start.

Shapes  B systems, R rows, F features and K counts of ``model.text.text_features``, D width.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.elements import MAX_ATOMIC_NUMBER
from model.text.text_features import COUNTED, feature_names

_FAR = 4.0  # standard deviations; what lies beyond was hardly seen in training


@dataclass(frozen=True)
class TextInputs:
    """Features and names of the texts of a batch."""

    level_B: Tensor
    adsorbate_B: Tensor  # index among those seen in training, from 1; 0: not seen
    features_BF: Tensor  # model.text.text_features.text_features
    elements_BK: Tensor  # model.text.text_features.element_counts

    def to(self, device: torch.device) -> "TextInputs":
        """Return the same on another device."""
        return TextInputs(*(getattr(self, each.name).to(device) for each in fields(self)))


class TextFacts(nn.Module):
    """Encode the facts of a text as one vector; strong dropout prevents learning rows by heart.

    Elements, adsorbate and level have weights of their own beside the properties that tell
    which elements are alike. A property that a text does not have (of contacts, where nothing
    touches) counts as the mean, and a flag beside it says that it is missing.
    """

    def __init__(self, width: int, levels: int, adsorbates: int):
        super().__init__()
        features = len(feature_names())
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("spread_F", torch.ones(features))
        self.mix = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(2 * features + len(COUNTED) * (MAX_ATOMIC_NUMBER + 1), width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Linear(width, width),
        )
        self.level = nn.Embedding(levels, width)
        # An adsorbate that was not seen in training adds nothing.
        self.adsorbate = nn.Embedding(adsorbates + 1, width, padding_idx=0)

    mean_F: Tensor
    spread_F: Tensor

    def forward(self, named: TextInputs) -> Tensor:
        """Return (B, D) features of each text at its level of theory."""
        is_known_BF = torch.isfinite(named.features_BF)
        standard_BF = ((named.features_BF - self.mean_F) / self.spread_F).clamp(-_FAR, _FAR)
        standard_BF = torch.where(is_known_BF, standard_BF, 0.0)
        parts = [standard_BF, is_known_BF.to(standard_BF), named.elements_BK.log1p()]
        counted_BD: Tensor = self.mix(torch.cat(parts, dim=-1))
        named_BD: Tensor = self.level(named.level_B) + self.adsorbate(named.adsorbate_B)
        return counted_BD + named_BD

    def fit(self, features_RF: NDArray[np.float64]) -> None:
        """Take mean and spread of each feature over the rows that have it."""
        rows_RF = np.ma.masked_invalid(features_RF)
        spread_F = np.ma.filled(rows_RF.std(axis=0), 0.0)
        self.mean_F.copy_(torch.from_numpy(np.ma.filled(rows_RF.mean(axis=0), 0.0)))
        self.spread_F.copy_(torch.from_numpy(np.where(spread_F > 1e-6, spread_F, 1.0)))
