"""Joint training of encoder, language model and both heads on several levels of theory.

Shapes  B systems, T tokens, V vocabulary. Units: eV; losses are in standardised units.
Source  arXiv:2512.20084, stage 2. AdamW, warm-up and cosine; the weights kept are their
        exponential moving average, which a small training set needs.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from model.batches import Example, make_batch
from model.energy_tokens import WIDTH, format_energy
from model.errors import ModelError
from model.loss import gated_sum
from model.qe_catalytic import Batch, QECatalytic
from model.tokenizer import token_ids

STATE = "training-state.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How one member is trained; every field is stored with the checkpoint."""

    seed: int
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03  # share of all steps
    clip_norm: float = 5.0
    average: float = 0.999  # decay of the moving average of the weights, per step
    damping: float = 0.5  # lambda of the gated loss
    relaxed_share: float = 0.25  # how often the relaxed geometry stands in for the unrelaxed
    jitter_ang: float = 0.03  # noise on edge vectors' end points, one standard deviation


@dataclass(frozen=True)
class Sample:
    """One label with the structures that carry it: unrelaxed first, relaxed if there is one."""

    views: tuple[Example, ...]
    energy_ev: float
    weight: float = 1.0  # how often it is drawn in an epoch, relative to the others


class Trainer:
    """Trains one member; state is on disk after every epoch, so that a kill costs one at most."""

    def __init__(
        self,
        network: QECatalytic,
        tokenizer: PreTrainedTokenizerFast,
        samples: Sequence[Sample],
        recipe: Recipe,
        folder: Path,
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device)
        self.pad = int(tokenizer.pad_token_id)
        self.samples = samples
        self.answers = [token_ids(tokenizer, format_energy(s.energy_ev)) for s in samples]
        self.recipe = recipe
        self.folder = folder
        self.epoch = 0
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            _decayed(network, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98)
        )
        self._resume()
        live = self.network.state_dict()
        floating = [name for name, value in live.items() if value.dtype.is_floating_point]
        self._live = [live[name] for name in floating]
        self._kept = [self.average[name] for name in floating]

    def run(self, *, watch: Callable[["Trainer"], str], every: int = 5) -> None:
        """Train to the recipe's last epoch; ``watch`` scores the averaged weights now and then."""
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            losses = [self._step(batch, energy_B) for batch, energy_B in self._batches()]
            self.epoch += 1
            self._save()
            line: dict[str, object] = {
                "epoch": self.epoch,
                "seconds": round(time.monotonic() - started, 1),
                "regression_loss": round(float(np.mean([r for r, _ in losses])), 4),
                "token_loss": round(float(np.mean([t for _, t in losses])), 4),
            }
            if self.epoch % every == 0 or self.epoch == self.recipe.epochs:
                line["watch"] = watch(self)
            self._log(line)

    def averaged(self) -> QECatalytic:
        """Return the network with its averaged weights, for evaluation (training goes on)."""
        copy = QECatalytic(self.network.config, graph_token=self.network.graph_token)
        copy.load_state_dict(self.average)
        return copy.to(self.device).eval()

    def _batches(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield this epoch's batches; order and views depend on seed and epoch alone."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**31)))
        weight_S = np.array([sample.weight for sample in self.samples])
        copies_S = np.floor(weight_S + rng.random(len(weight_S))).astype(int)
        chosen = rng.permutation(np.repeat(np.arange(len(weight_S)), copies_S))
        # Texts of like length share a batch: sort within pools large enough to stay random.
        pool = 16 * self.recipe.batch_size
        for start in range(0, len(chosen), pool):
            part = sorted(chosen[start : start + pool], key=lambda i: self.samples[i].views[0].cost)
            groups = [
                part[first : first + self.recipe.batch_size]
                for first in range(0, len(part), self.recipe.batch_size)
            ]
            for index in rng.permutation(len(groups)):
                yield self._batch(groups[index], rng)

    def _batch(self, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Tensor]:
        samples = [self.samples[index] for index in chosen]
        examples = [
            sample.views[-1] if rng.random() < self.recipe.relaxed_share else sample.views[0]
            for sample in samples
        ]
        answers = [self.answers[index] for index in chosen]
        batch = make_batch(examples, self.pad, answers=answers).to(self.device)
        energy_B = torch.tensor([sample.energy_ev for sample in samples], dtype=torch.float32)
        return jitter(batch, self.recipe.jitter_ang), energy_B.to(self.device)

    def _step(self, batch: Batch, energy_B: Tensor) -> tuple[float, float]:
        self.network.train()
        regression, tokens, spread = losses(self.network, batch, energy_B)
        loss = gated_sum(regression, tokens, damping=self.recipe.damping) + 0.1 * spread
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {loss.item()} in epoch {self.epoch + 1}; the state before it is kept "
                f"in {self.folder / STATE}: lower the learning rate or look for broken labels"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self._schedule()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        self._steps += 1
        self._update_average()
        return regression.item(), tokens.item()

    _steps: int = 0

    def _schedule(self) -> float:
        drawn = sum(sample.weight for sample in self.samples)
        total = max(1, math.ceil(drawn / self.recipe.batch_size)) * self.recipe.epochs
        progress = min(1.0, self._steps / total)
        warm = min(1.0, progress / self.recipe.warm_up) if self.recipe.warm_up > 0 else 1.0
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _update_average(self) -> None:
        # Early on a long memory would hold the random start.
        decay = min(self.recipe.average, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._kept, self._live, 1 - decay)

    def _save(self) -> None:
        state = {
            "epoch": self.epoch,
            "steps": self._steps,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        fresh = self.folder / f"{STATE}.new"
        torch.save(state, fresh)
        fresh.replace(self.folder / STATE)

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / STATE).exists():
            return
        state = torch.load(self.folder / STATE, weights_only=True, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self._steps = state["epoch"], state["steps"]

    def _log(self, line: dict[str, object]) -> None:
        text = json.dumps(line)
        print(text, flush=True)
        with (self.folder / LOG).open("a") as log:
            log.write(text + "\n")


def losses(network: QECatalytic, batch: Batch, energy_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the regression, token and spread losses of a batch whose texts carry answers."""
    reading = network.read(batch)
    question = -1 - WIDTH  # the position that asks; what follows is the answer
    standard_B, log_spread_B = network.regress(reading, question)
    target_B = network.scale.to_standard(energy_B, batch)
    regression = nn.functional.smooth_l1_loss(standard_B, target_B, beta=0.05)
    logits_BTV = network.logits(reading.hidden_BTD[:, question:-1])
    answer_BT = batch.token_ids_BT[:, -WIDTH:]
    tokens = nn.functional.cross_entropy(logits_BTV.flatten(0, 1), answer_BT.flatten())
    return regression, tokens, _laplace(standard_B, target_B, log_spread_B)


def _laplace(standard_B: Tensor, target_B: Tensor, log_spread_B: Tensor) -> Tensor:
    """Return the negative log-likelihood of a Laplace error whose scale the network names."""
    error_B = (standard_B - target_B).detach().abs()
    log_spread_B = log_spread_B.clamp(-6, 3)
    return (error_B * torch.exp(-log_spread_B) + log_spread_B).mean()


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices only: biases, norms and embeddings have no scale to lose."""
    named = list(network.named_parameters())
    kept = {n for n, p in named if p.ndim < 2 or "embed" in n}
    return [
        {"params": [p for n, p in named if n not in kept], "weight_decay": weight_decay},
        {"params": [p for n, p in named if n in kept], "weight_decay": 0.0},
    ]


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
