"""Before the stages: the language model reads texts, labelled or not, and learns what comes next.

Shapes  B texts, T tokens, V vocabulary.
A text needs no energy: every enumerated placement has one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model.network.batches import pad_left
from model.network.qe_catalytic import QECatalytic, position_ids
from model.training.recipes import ReadRecipe
from model.training.trainer import HeldOutScore


class LanguageStage:
    """Next-token prediction on configuration texts."""

    name = "read"

    def __init__(
        self,
        texts: Sequence[list[int]],
        held_out: Sequence[list[int]],
        pad: int,
        recipe: ReadRecipe,
    ):
        self.texts = texts
        self.held_out = held_out
        self.pad = pad
        self.recipe = recipe

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return all that does not read."""
        return tuple(part for name, part in network.named_children() if name != "language")

    def draw_batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Yield the positions of one epoch's batches, texts of like length together."""
        size = self.recipe.batch_size
        shuffled = sorted(rng.permutation(len(self.texts)), key=lambda i: len(self.texts[i]))
        starts = range(0, len(shuffled), size)
        for start in rng.permutation(np.array(starts)):
            yield [int(i) for i in shuffled[start : start + size]]

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Return the positions of some texts, for messages."""
        return [f"text {index}" for index in chosen]

    def batch(
        self,
        chosen: Sequence[int],
        rng: np.random.Generator,  # noqa: ARG002  other stages draw from it
        device: torch.device,
    ) -> tuple[Tensor, Tensor]:
        """Return (B, T) tokens and which of them are real."""
        ids_BT, is_token_BT = pad_left([self.texts[index] for index in chosen], self.pad)
        return ids_BT.to(device), is_token_BT.to(device)

    def loss(
        self, network: QECatalytic, batch: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy of the next token."""
        ids_BT, is_token_BT = batch
        read = network.language(
            input_ids=ids_BT, attention_mask=is_token_BT, position_ids=position_ids(is_token_BT)
        )
        logits_BTV = network.logits(read.last_hidden_state[:, :-1])
        target_BT = ids_BT[:, 1:].masked_fill(is_token_BT[:, :-1] == 0, -100)
        loss = nn.functional.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten())
        return loss, {"next_token": loss}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return the loss on held-out texts."""
        device = next(network.parameters()).device
        chosen = self.held_out[:256]
        ids_BT, is_token_BT = pad_left(chosen, self.pad)
        with torch.inference_mode():
            loss, _ = self.loss(network, (ids_BT.to(device), is_token_BT.to(device)))
        return HeldOutScore(loss.item(), {"next_token": loss.item()})
