"""Stage 0: energies from graphs alone and from texts' numbers alone, the language model left out.

The paper starts from an encoder that was pretrained on millions of structures. One of our own is
pretrained here, on the same rows as all else: an epoch without the language model costs a fifth.

Shapes  B systems, R rows. Units: eV; losses are in standardised units.
Source  arXiv:2512.20084 takes EquiformerV2 pretrained on OC20.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model.network.batches import Reader, by_budget, make_batch
from model.network.ensemble import BUDGETS
from model.network.qe_catalytic import QECatalytic
from model.training.joint_stage import Labelled, jitter, score_by_set
from model.training.recipes import EncodeRecipe
from model.training.samples import Sample, SampleObjective
from model.training.trainer import HeldOutScore


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
        text = _loss(network.regress_text(batch), target_B)
        if not len(batch.graph.numbers_N):
            return text, {"text": text}
        graph = _loss(network.regress_graph(batch), target_B)
        return graph + text, {"graph": graph, "text": text}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return MAE in eV by set, on held-out rows."""
        device = next(network.parameters()).device
        examples = [sample.views[0] for sample in self.held_out]
        said_R2 = np.zeros((len(examples), 2))
        with torch.inference_mode():
            for group in by_budget(examples, BUDGETS[device.type]):
                batch = make_batch([examples[i] for i in group], self.pad).to(device)
                answers = (network.regress_graph(batch), network.regress_text(batch))
                energy_B2 = torch.stack([network.scale.to_ev(a, batch) for a in answers], dim=-1)
                said_R2[group] = energy_B2.double().cpu().numpy()
        score, seen = score_by_set(self.held_out, said_R2[:, 0])
        text_score, alone = score_by_set(self.held_out, said_R2[:, 1])
        return HeldOutScore(score + text_score, seen | {f"{k} text": v for k, v in alone.items()})


def _loss(standard_B: Tensor, target_B: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(standard_B, target_B, beta=0.05)
