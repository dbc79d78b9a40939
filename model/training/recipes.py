"""How each stage of training is run; every field is stored with the checkpoint."""

import math
from dataclasses import dataclass, field

from model.errors import ModelError
from model.training.loss import COMBINATIONS


@dataclass(frozen=True)
class Recipe:
    """Settings of all stages: AdamW, warm-up and cosine, clipping, a moving average of weights."""

    seed: int = 1
    epochs: int = 60
    batch_size: int = 32
    accumulate: int = 1  # batches whose gradients make one step
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03  # share of all steps
    clip_norm: float = 5.0
    average: float = 0.999  # decay of the moving average of the weights, per step
    watch_every: int = 5  # epochs between two looks at the held-out rows
    patience: int = 0  # looks without a better score before training stops early; 0: never

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "accumulate": 1, "watch_every": 1, "clip_norm": 0.0}
        for name in ("seed", "epochs", "learning_rate", "weight_decay", "warm_up", "patience"):
            least[name] = 0
        for name, lowest in least.items():
            if not lowest <= getattr(self, name) < math.inf:
                raise ModelError(f"{name} is at least {lowest}, got {getattr(self, name)}")
        if not 0 <= self.average < 1 or self.warm_up > 1:
            raise ModelError(
                "average is at least 0 and below 1, warm_up at most 1, got "
                f"{self.average} and {self.warm_up}"
            )


@dataclass(frozen=True)
class ReadRecipe(Recipe):
    """The language model reads texts, labelled or not, and learns to predict the next token."""


@dataclass(frozen=True)
class EncodeRecipe(Recipe):
    """Stage 0: the encoder learns energies from graphs alone."""

    relaxed_share: float = 0.25  # how often the relaxed geometry stands in for the unrelaxed
    jitter_ang: float = 0.03  # noise on edge vectors' end points, one standard deviation


@dataclass(frozen=True)
class AlignRecipe(Recipe):
    """Stage 1: graph and text of one configuration meet, those of two do not."""

    jitter_ang: float = 0.03


@dataclass(frozen=True)
class JointRecipe(Recipe):
    """Stage 2: everything is trained on both heads."""

    loss: str = "gated"  # how the two heads' losses are joined: model.training.loss.COMBINATIONS
    damping: float = 0.5  # lambda of the gated losses
    relaxed_share: float = 0.25  # how often the relaxed geometry stands in for the unrelaxed
    text_share: float = 0.15  # how often the graph is dropped
    jitter_ang: float = 0.03  # noise on edge vectors' end points, one standard deviation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in COMBINATIONS:
            raise ModelError(f"loss is one of {', '.join(COMBINATIONS)}, got {self.loss!r}")


METHODS = ("heads", "lora", "all")


@dataclass(frozen=True)
class TuneRecipe(JointRecipe):
    """Fine-tuning on new labels beside a replay of old ones; 0 leaves a number to the method.

    ``auto`` chooses the method, and epochs and learning rate with it, by the number of labels.
    """

    method: str = "auto"
    epochs: int = 0
    learning_rate: float = 0.0
    weight_decay: float = 0.1
    watch_every: int = 20
    relaxed_share: float = 0.35
    text_share: float = 0.3
    jitter_ang: float = 0.05
    replay_share: float = 0.5  # of an epoch's draws that are old labels, all sets alike
    lora_rank: int = 8  # of the adapters that the method lora adds
    forget: float = 0.035  # how much the error on the hold-out may grow , as a share

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("auto", *METHODS):
            raise ModelError(f"method is one of auto, {', '.join(METHODS)}, got {self.method!r}")
        if not 0 <= self.replay_share < 1:
            raise ModelError(f"replay_share is at least 0 and below 1, got {self.replay_share}")
        if min(self.epochs, self.learning_rate, self.forget) < 0 or self.lora_rank < 1:
            raise ModelError(
                "epochs, learning_rate and forget are at least 0 and lora_rank at least 1, got "
                f"{self.epochs}, {self.learning_rate}, {self.forget} and {self.lora_rank}"
            )


@dataclass(frozen=True)
class InstructRecipe(Recipe):
    """Stage 3: instructions, drawn by their shares; the encoder is frozen."""

    energy_share: float = 0.1
    describe_share: float = 0.1
    structure_share: float = 0.3
    design_share: float = 0.5
    bulk_share: float = 0.7  # how often a design names its bulk
    weights: dict[str, float] = field(default_factory=dict)  # draws of a set in an epoch, else 1
