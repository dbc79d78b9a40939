"""Stage 2: encoder, language model and both heads learn together, on several levels of theory.

Shapes  B systems, T tokens, V vocabulary. Units: eV; losses are in standardised units.
Source  arXiv:2512.20084, stage 2.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.batches import Batch, Example, Reader, make_batch
from model.network.ensemble import Ensemble
from model.network.qe_catalytic import QECatalytic
from model.text.tokenizer import WIDTH, format_energy, token_ids
from model.training.loss import combine_losses
from model.training.recipes import JointRecipe
from model.training.samples import Sample, SampleObjective
from model.training.trainer import HeldOutScore

Labelled = tuple[Batch, Tensor]


class JointStage(SampleObjective):
    """Energies from graph and text, and now and then from the text alone."""

    name = "joint"

    def __init__(
        self,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        reader: Reader,
        recipe: JointRecipe,
    ):
        super().__init__(samples, held_out, reader, recipe.batch_size)
        self.recipe = recipe
        self.answers = [token_ids(reader.tokenizer, format_energy(s.energy_ev)) for s in samples]

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:  # noqa: ARG002  as other stages
        """Return the parts that stay as they are: none."""
        return ()

    def batch(
        self, chosen: Sequence[int], rng: np.random.Generator, device: torch.device
    ) -> Labelled:
        """Return one batch: views and dropped graphs drawn anew each time."""
        examples = [self._view(self.samples[index], rng) for index in chosen]
        answers = [self.answers[index] for index in chosen]
        batch = make_batch(examples, self.pad, answers=answers).to(device)
        energies = [self.samples[index].energy_ev for index in chosen]
        energy_B = torch.tensor(energies, dtype=torch.float32, device=device)
        return jitter(batch, self.recipe.jitter_ang), energy_B

    def _view(self, sample: Sample, rng: np.random.Generator) -> Example:
        relaxed, alone = rng.random(2)
        view = sample.views[-1] if relaxed < self.recipe.relaxed_share else sample.views[0]
        return view.without_graph() if alone < self.recipe.text_share else view

    def loss(self, network: QECatalytic, labelled: Labelled) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the joined loss of a batch, and its parts."""
        regression, tokens, spread = joint_losses(network, *labelled)
        joined = combine_losses(self.recipe.loss, regression, tokens, self.recipe.damping)
        return joined + 0.1 * spread, {"regression": regression, "tokens": tokens}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return MAE in eV of the regression head, by set, with the graph and without it.

        The score is the mean over sets, each in units of its labels' spread.
        """
        ensemble = Ensemble([network], self.reader, next(network.parameters()).device)
        examples = [sample.views[0] for sample in self.held_out]
        score, seen = score_by_set(self.held_out, ensemble.answer_examples(examples).regression_R)
        if self.recipe.text_share > 0:
            without = ensemble.answer_examples([example.without_graph() for example in examples])
            _, alone = score_by_set(self.held_out, without.regression_R)
            seen |= {f"{name} text": mae for name, mae in alone.items()}
        return HeldOutScore(score, seen)


def score_by_set(
    samples: Sequence[Sample], predicted_R: NDArray[np.float64]
) -> tuple[float, dict[str, float]]:
    """Return MAE in units of the labels' spread, the mean over sets, and MAE in eV by set."""
    energy_R = np.array([sample.energy_ev for sample in samples])
    error_R = np.abs(predicted_R - energy_R)
    sets = np.array([sample.set for sample in samples])
    maes = {str(name): float(error_R[sets == name].mean()) for name in np.unique(sets)}
    spreads = {name: max(float(energy_R[sets == name].std()), 1e-3) for name in maes}
    return float(np.mean([maes[name] / spreads[name] for name in maes])), maes


def joint_losses(
    network: QECatalytic, batch: Batch, energy_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the regression, token and spread losses of a batch whose texts carry answers."""
    states = network.read(batch)
    question = -1 - WIDTH  # the position that asks; what follows is the answer
    standard_B, log_spread_B = network.regress(states, question)
    target_B = network.scale.to_standard(energy_B, batch)
    regression = nn.functional.smooth_l1_loss(standard_B, target_B, beta=0.05)
    logits_BTV = network.logits(states.hidden_BTD[:, question:-1])
    answer_BT = batch.token_ids_BT[:, -WIDTH:]
    tokens = nn.functional.cross_entropy(logits_BTV.flatten(0, 1), answer_BT.flatten())
    return regression, tokens, _laplace(standard_B, target_B, log_spread_B)


def _laplace(standard_B: Tensor, target_B: Tensor, log_spread_B: Tensor) -> Tensor:
    """Return the negative log-likelihood of a Laplace error whose scale the network names."""
    error_B = (standard_B - target_B).detach().abs()
    log_spread_B = log_spread_B.clamp(-6, 3)
    return (error_B * torch.exp(-log_spread_B) + log_spread_B).mean()


def jitter(batch: Batch, width_ang: float) -> Batch:
    """Return the batch with its atoms moved at random by ``width_ang`` in each direction."""
    if width_ang <= 0:
        return batch
    graph = batch.graph
    moved_N3 = width_ang * torch.randn_like(graph.positions_N3)
    source_E, target_E = graph.edge_index_2E
    vectors_E3 = graph.edge_vectors_E3 + moved_N3[source_E] - moved_N3[target_E]
    shaken = replace(
        graph,
        positions_N3=graph.positions_N3 + moved_N3,
        edge_vectors_E3=vectors_E3,
        edge_distances_E=vectors_E3.norm(dim=-1),
    )
    return replace(batch, graph=shaken)
