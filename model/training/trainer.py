"""Train a network on one objective: resumable, checkpointed, and stopped where a number is missing.

AdamW, warm-up and cosine; the weights kept are their exponential moving average, which a small
training set needs.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from model.errors import ModelError
from model.files import new_file
from model.network.qe_catalytic import QECatalytic
from model.training.recipes import Recipe

logger = logging.getLogger(__name__)

STATE = "training-state.pt"
LOG = "log.jsonl"
Report = Callable[[str], None]  # gets a line of JSON for each epoch


@dataclass(frozen=True)
class HeldOutScore:
    """The result of an evaluation on held-out rows: one score, lower is better, and its parts."""

    score: float
    parts: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """The samples and the loss of one stage."""

    name: str

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return the parts of the network that stay as they are."""
        ...

    def draw_batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Yield one epoch's batches, as positions among the samples."""
        ...

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Return the names of some samples, for messages."""
        ...

    def batch(self, chosen: Sequence[int], rng: np.random.Generator, device: torch.device) -> Any:
        """Return some samples as :meth:`loss` reads them."""
        ...

    def loss(self, network: QECatalytic, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and its parts by name."""
        ...

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Score a network in evaluation mode on held-out rows."""
        ...


class Trainer:
    """Runs one stage; its state is on disk after every epoch, so that a kill costs one at most."""

    def __init__(
        self,
        network: QECatalytic,
        objective: Objective,
        recipe: Recipe,
        folder: Path,
        device: torch.device | None = None,
        *,
        report: Report = logger.info,
    ):
        """Continue the stage from its state in ``folder``; ``report`` gets a line each epoch."""
        self.device = device or torch.device("cpu")
        self._report = report
        self.network = network.to(self.device)
        self.objective = objective
        self.recipe = recipe
        self.folder = folder
        self.epoch = 0
        self._steps = 0
        self._steps_per_epoch = len(
            list(objective.draw_batches(np.random.default_rng(recipe.seed)))
        )
        for part in objective.frozen(network):
            part.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            _decayed(network, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98)
        )
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.best: dict[str, Any] = {"score": math.inf, "epoch": 0, "weights": self.average}
        self._warned_of_memory = False
        self._resume()
        live = self.network.state_dict()
        floating = [name for name, value in live.items() if value.dtype.is_floating_point]
        self._live = [live[name] for name in floating]
        self._kept = [self.average[name] for name in floating]

    def run(self) -> QECatalytic:
        """Train to the recipe's last epoch, or until patience ends; return the kept network."""
        while self.epoch < self.recipe.epochs and not self._out_of_patience():
            started = time.monotonic()
            parts = self._epoch()
            self.epoch += 1
            line: dict[str, object] = {
                "stage": self.objective.name,
                "epoch": self.epoch,
                "seconds": round(time.monotonic() - started, 1),
                **parts,
            }
            if self.epoch % self.recipe.watch_every == 0 or self.epoch == self.recipe.epochs:
                line["held_out"] = self._watch()
            self._save()
            self._log(line)
        return self.kept()

    def kept(self) -> QECatalytic:
        """Return the network as this stage leaves it: averaged, the best where patience chose."""
        weights = self.best["weights"] if self.recipe.patience else self.average
        copy = self.network.clone()
        copy.load_state_dict(weights)
        return copy.to(self.device).eval()

    def _epoch(self) -> dict[str, float]:
        """Run one epoch; order, views and noise depend on seed and epoch alone."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**31)))
        self.network.train()
        for part in self.objective.frozen(self.network):
            part.eval()
        seen: list[dict[str, float]] = []
        batches = list(self.objective.draw_batches(rng))
        for first in range(0, len(batches), self.recipe.accumulate):
            seen += self._step(batches[first : first + self.recipe.accumulate], rng)
        return {name: round(float(np.mean([s[name] for s in seen])), 4) for name in seen[0]}

    def _step(
        self, batches: Sequence[list[int]], rng: np.random.Generator
    ) -> list[dict[str, float]]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self._schedule()
        self.optimiser.zero_grad(set_to_none=True)
        total = sum(len(chosen) for chosen in batches)
        parts = [self._backward(chosen, rng, len(chosen) / total) for chosen in batches]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        self._steps += 1
        self._update_average()
        return parts

    def _backward(
        self, chosen: list[int], rng: np.random.Generator, share: float
    ) -> dict[str, float]:
        """Add ``share`` of a batch's gradient; a batch that memory cannot hold is halved."""
        try:
            with self._precision():
                loss, parts = self.objective.loss(
                    self.network, self.objective.batch(chosen, rng, self.device)
                )
            if not torch.isfinite(loss):
                self._refuse(loss.item(), chosen, rng)
            (share * loss).backward()  # type: ignore[no-untyped-call]
            return {name: part.item() for name, part in parts.items()}
        except torch.OutOfMemoryError:
            if len(chosen) == 1:
                raise
        if not self._warned_of_memory:
            logger.warning("memory does not hold %d samples: batches are halved", len(chosen))
            self._warned_of_memory = True
        half = len(chosen) // 2
        first = self._backward(chosen[:half], rng, share * half / len(chosen))
        rest = self._backward(chosen[half:], rng, share * (1 - half / len(chosen)))
        return {name: (first[name] + rest[name]) / 2 for name in first}

    def _refuse(self, loss: float, chosen: list[int], rng: np.random.Generator) -> None:
        """Stop, and name the rows whose loss alone is no number."""
        broken = []
        with torch.no_grad():
            for index in chosen:
                alone, _ = self.objective.loss(
                    self.network, self.objective.batch([index], rng, self.device)
                )
                broken += [] if torch.isfinite(alone) else self.objective.names([index])
        rows = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
        raise ModelError(
            f"the loss is {loss} in epoch {self.epoch + 1} of stage {self.objective.name}, for "
            f"{rows or 'the batch as a whole'}; the state of epoch {self.epoch} is kept in "
            f"{self.folder / STATE}: repair the rows or lower the learning rate"
        )

    def _precision(self) -> AbstractContextManager[Any]:
        """Return bfloat16 where the device computes in it; losses and weights stay float32."""
        on = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on)

    def _schedule(self) -> float:
        steps = math.ceil(self._steps_per_epoch / self.recipe.accumulate) * self.recipe.epochs
        progress = min(1.0, self._steps / max(1, steps))
        warm = min(1.0, progress / self.recipe.warm_up) if self.recipe.warm_up > 0 else 1.0
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _update_average(self) -> None:
        # Early on a long memory would hold the random start.
        decay = min(self.recipe.average, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._kept, self._live, 1 - decay)

    def _watch(self) -> dict[str, float]:
        copy = self.network.clone()
        copy.load_state_dict(self.average)
        watched = self.objective.evaluate(copy.to(self.device).eval())
        if watched.score < self.best["score"]:
            weights = {name: value.clone() for name, value in self.average.items()}
            self.best = {"score": watched.score, "epoch": self.epoch, "weights": weights}
        return {name: round(value, 4) for name, value in watched.parts.items()}

    def _out_of_patience(self) -> bool:
        waited = self.epoch - self.best["epoch"]
        return bool(0 < self.recipe.patience * self.recipe.watch_every <= waited)

    def _save(self) -> None:
        state = {
            "epoch": self.epoch,
            "steps": self._steps,
            "network": self.network.state_dict(),
            "average": self.average,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
        }
        with new_file(self.folder / STATE) as fresh:
            torch.save(state, fresh)

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / STATE).exists():
            return
        state = torch.load(self.folder / STATE, weights_only=True, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.best = state["best"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self._steps = state["epoch"], state["steps"]

    def _log(self, line: dict[str, object]) -> None:
        text = json.dumps(line)
        self._report(text)
        with (self.folder / LOG).open("a") as log:
            log.write(text + "\n")


def ended_weights(folder: Path, recipe: Recipe) -> dict[str, Tensor] | None:
    """Return the weights that a stage left in its folder, or None where it has not ended."""
    if not (folder / STATE).exists():
        return None
    state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    waited = state["epoch"] - state["best"]["epoch"]
    is_patient = not 0 < recipe.patience * recipe.watch_every <= waited
    if state["epoch"] < recipe.epochs and is_patient:
        return None
    weights: dict[str, Tensor] = state["best"]["weights"] if recipe.patience else state["average"]
    return weights


def seconds_spent(folder: Path) -> float:
    """Return how long the epochs of a stage took in all, from its log; 0 where it has none."""
    log = folder / LOG
    lines = log.read_text().splitlines() if log.exists() else []
    return round(sum(float(json.loads(line)["seconds"]) for line in lines), 1)


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices only: biases, norms and embeddings have no scale to lose."""
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    kept = {n for n, p in named if p.ndim < 2 or "embed" in n}
    return [
        {"params": [p for n, p in named if n not in kept], "weight_decay": weight_decay},
        {"params": [p for n, p in named if n in kept], "weight_decay": 0.0},
    ]
