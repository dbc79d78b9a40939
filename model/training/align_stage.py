"""Stage 1: graph and text of one configuration are brought together, the language model frozen.

Shapes  B systems, R rows, D language width.
Source  arXiv:2512.20084, stage 1; InfoNCE over a batch, van den Oord et al. 2018, arXiv:1807.03748,
        eq. 4, in both directions. The features are invariant: a turned adslab keeps its place.

Two configurations may share one text (rotations of an adsorbate on one site): their graphs answer
it equally well, and the target is spread over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.batches import Reader, make_batch
from model.network.qe_catalytic import Batch, QECatalytic
from model.training.joint_stage import jitter
from model.training.recipes import AlignRecipe
from model.training.samples import Sample, SampleObjective
from model.training.trainer import HeldOutScore

EVALUATED = 256  # rows among which a text has to find its graph


class AlignStage(SampleObjective):
    """Each text finds its graph among those of its batch, and each graph its text."""

    name = "align"

    def __init__(
        self,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        reader: Reader,
        recipe: AlignRecipe,
    ):
        super().__init__(samples, held_out, reader, recipe.batch_size)
        self.recipe = recipe

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return the language model."""
        return (network.language,)

    def batch(self, chosen: Sequence[int], rng: np.random.Generator, device: torch.device) -> Batch:
        """Return one batch of graphs and texts."""
        views = [self.samples[index].views for index in chosen]
        examples = [v[int(rng.integers(len(v)))] for v in views]
        return jitter(make_batch(examples, self.pad).to(device), self.recipe.jitter_ang)

    def loss(self, network: QECatalytic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return InfoNCE, both ways."""
        graph_BD, text_BD = network.align(batch)
        loss = info_nce(
            graph_BD, text_BD, network.temperature(), same_text(batch, network.graph_token)
        )
        return loss, {"info_nce": loss}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return retrieval among held-out rows; the score is what R@1 leaves to wish for."""
        parts = retrieval(similarity(network, self.held_out[:EVALUATED], self.pad))
        return HeldOutScore(1.0 - parts["R@1"], parts)


@dataclass(frozen=True)
class Similarity:
    """Cosines between texts (rows) and graphs (columns), and which pairs share one text."""

    cosine_RR: NDArray[np.float64]
    is_same_RR: NDArray[np.bool_]


def similarity(network: QECatalytic, samples: Sequence[Sample], pad: int) -> Similarity:
    """Return how alike each text is to each graph."""
    device = next(network.parameters()).device
    batch = make_batch([sample.views[0] for sample in samples], pad).to(device)
    with torch.inference_mode():
        graph_RD, text_RD = network.align(batch)
        is_same_RR = same_text(batch, network.graph_token)
        cosine_RR = (text_RD @ graph_RD.T).double()
        return Similarity(cosine_RR.cpu().numpy(), is_same_RR.cpu().numpy())


def retrieval(seen: Similarity) -> dict[str, float]:
    """Return R@1, R@5 (text finds graph), and the mean cosine on and off the diagonal."""
    order_RR = np.argsort(-seen.cosine_RR, axis=1, kind="stable")
    hit_RR = np.take_along_axis(seen.is_same_RR, order_RR, axis=1)
    return {
        "R@1": float(hit_RR[:, :1].any(axis=1).mean()),
        "R@5": float(hit_RR[:, :5].any(axis=1).mean()),
        "diagonal": float(np.diag(seen.cosine_RR).mean()),
        "off_diagonal": float(seen.cosine_RR[~seen.is_same_RR].mean()),
    }


def same_text(batch: Batch, graph_token: int) -> Tensor:
    """Return (B, B) which systems share one text, level and adsorbate included."""
    is_other_BT = (batch.is_token_BT == 0) | (batch.token_ids_BT == graph_token)
    text_BT = batch.token_ids_BT.masked_fill(is_other_BT, -1)
    return (text_BT[:, None, :] == text_BT[None, :, :]).all(-1)


def info_nce(graph_BD: Tensor, text_BD: Tensor, temperature: Tensor, same_BB: Tensor) -> Tensor:
    """Return the mean cross-entropy of finding one's partner, from either side."""
    logits_BB = text_BD @ graph_BD.T / temperature
    target_BB = same_BB.to(logits_BB.dtype)
    target_BB = target_BB / target_BB.sum(-1, keepdim=True)
    one_way = nn.functional.cross_entropy(logits_BB, target_BB)
    return 0.5 * (one_way + nn.functional.cross_entropy(logits_BB.T, target_BB.T))
