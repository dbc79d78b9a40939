"""What the words of a text say in numbers, for a network too small to have read chemistry.

A language model of this size learns from a few thousand texts that Pt is like Pd; the properties
of the elements that a text names say so from the start.

Shapes  B systems, R rows, F features of ``model.text_features``, D width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.text_features import feature_names

_FAR = 4.0  # standard deviations; what lies beyond was hardly seen in training


class TextFacts(nn.Module):
    """Features of a text, standardised, to one vector; strong dropout keeps it from learning rows.

    A feature that a text does not have (contacts of an atom that touches nothing) counts as the
    mean, and the network is told that it is missing.
    """

    def __init__(self, width: int):
        super().__init__()
        features = len(feature_names())
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("spread_F", torch.ones(features))
        self.mix = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(2 * features, 2 * width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Linear(2 * width, width),
        )

    mean_F: Tensor
    spread_F: Tensor

    def forward(self, text_BF: Tensor) -> Tensor:
        """Return (B, D) what is known of each text."""
        known_BF = torch.isfinite(text_BF)
        standard_BF = ((text_BF - self.mean_F) / self.spread_F).clamp(-_FAR, _FAR)
        standard_BF = torch.where(known_BF, standard_BF, 0.0)
        return torch.as_tensor(self.mix(torch.cat([standard_BF, known_BF.to(standard_BF)], dim=-1)))

    def fit(self, text_RF: NDArray[np.float64]) -> None:
        """Take mean and spread of each feature over the rows that have it."""
        rows_RF = np.ma.masked_invalid(text_RF)
        spread_F = np.ma.filled(rows_RF.std(axis=0), 0.0)
        self.mean_F.copy_(torch.from_numpy(np.ma.filled(rows_RF.mean(axis=0), 0.0)))
        self.spread_F.copy_(torch.from_numpy(np.where(spread_F > 1e-6, spread_F, 1.0)))
