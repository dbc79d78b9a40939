"""The stages before the joint one: texts, then energies of graphs, then graph and text together.

``read``    The language model reads texts, labelled or not, and learns the next token. A text needs
            no energy: every enumerated placement has one.
``encode``  Stage 0: energies from graphs alone and from texts' numbers alone, the language model
            left out. The paper starts from an encoder pretrained on millions of structures
            (EquiformerV2 on OC20); ours is pretrained here on the same rows, since an epoch without
            the language model costs a fifth.
``align``   Stage 1: graph and text of one configuration are brought together, the language model
            frozen. InfoNCE over a batch, in both directions (van den Oord et al. 2018,
            arXiv:1807.03748, eq. 4). Two configurations may share one text (rotations of an
            adsorbate on one site): their graphs fit it equally well, and the target is spread over
            them.

Shapes  B systems, R rows, T tokens, V vocabulary, D language width.
Units   eV; losses are in standardised units.
Source  arXiv:2512.20084.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.batches import Batch, Reader, by_budget, make_batch, pad_left
from model.network.ensemble import BUDGETS
from model.network.qe_catalytic import QECatalytic, position_ids
from model.training.joint_stage import Labelled, jitter, score_by_set
from model.training.recipes import AlignRecipe, EncodeRecipe, ReadRecipe
from model.training.samples import Sample, SampleObjective
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


class EncoderStage(SampleObjective):
    """Energies twice, from graph and from numbers; heads see nothing where a text was read."""

    name = "encode"

    def __init__(
        self,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        reader: Reader,
        recipe: EncodeRecipe,
    ):
        super().__init__(samples, held_out, reader, recipe.batch_size)
        self.recipe = recipe

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return the language model."""
        return (network.language,)

    def batch(
        self, chosen: Sequence[int], rng: np.random.Generator, device: torch.device
    ) -> Labelled:
        """Return one batch of graphs: views drawn anew each time."""
        samples = [self.samples[index] for index in chosen]
        is_relaxed_S = rng.random(len(samples)) < self.recipe.relaxed_share
        views = [s.views[-1 if r else 0] for s, r in zip(samples, is_relaxed_S, strict=True)]
        batch = make_batch(views, self.pad).to(device)
        energies = [sample.energy_ev for sample in samples]
        energy_B = torch.tensor(energies, dtype=torch.float32, device=device)
        return jitter(batch, self.recipe.jitter_ang), energy_B

    def loss(self, network: QECatalytic, labelled: Labelled) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses of both, added: they share no weight."""
        batch, energy_B = labelled
        target_B = network.scale.to_standard(energy_B, batch)
        text = _energy_loss(network.regress_text(batch), target_B)
        if not len(batch.graph.numbers_N):
            return text, {"text": text}
        graph = _energy_loss(network.regress_graph(batch), target_B)
        return graph + text, {"graph": graph, "text": text}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return MAE in eV by set, on held-out rows."""
        device = next(network.parameters()).device
        examples = [sample.views[0] for sample in self.held_out]
        energy_R2 = np.zeros((len(examples), 2))
        with torch.inference_mode():
            for group in by_budget(examples, BUDGETS[device.type]):
                batch = make_batch([examples[i] for i in group], self.pad).to(device)
                answers = (network.regress_graph(batch), network.regress_text(batch))
                energy_B2 = torch.stack([network.scale.to_ev(a, batch) for a in answers], dim=-1)
                energy_R2[group] = energy_B2.double().cpu().numpy()
        score, seen = score_by_set(self.held_out, energy_R2[:, 0])
        text_score, alone = score_by_set(self.held_out, energy_R2[:, 1])
        return HeldOutScore(score + text_score, seen | {f"{k} text": v for k, v in alone.items()})


def _energy_loss(standard_B: Tensor, target_B: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(standard_B, target_B, beta=0.05)


RETRIEVAL_ROWS = 256  # rows among which a text has to find its graph


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
        """Return retrieval among held-out rows; the score is 1 - R@1."""
        parts = retrieval(similarity(network, self.held_out[:RETRIEVAL_ROWS], self.pad))
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
