"""The stage of fine-tuning: new labels beside a replay of old ones, on as much as a method frees.

Shapes  S samples.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from model.data.rows import Row
from model.errors import ModelError
from model.network.batches import Reader
from model.network.language.adapters import add_adapters, merge_adapters
from model.network.qe_catalytic import QECatalytic
from model.training.joint_stage import JointStage
from model.training.recipes import TuneRecipe
from model.training.samples import Sample, make_samples

_HEADS = ("regression", "recall", "spread")


class TuneStage(JointStage):
    """Energies of new and old labels, with all but what the method frees as it was."""

    name = "tune"
    recipe: TuneRecipe

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return the parts that stay as they are."""
        free: tuple[str, ...] = _HEADS
        if self.recipe.method == "all":
            return ()
        if self.recipe.method == "lora":
            free = (*_HEADS, "language")  # of which only the adapters learn
        return [part for name, part in network.named_children() if name not in free]


def prepare_for_tuning(network: QECatalytic, recipe: TuneRecipe) -> None:
    """Free what learns at all, and put adapters where the method asks for them.

    Raises:
        ModelError: the method asks for peft, which is not installed.
    """
    network.unfreeze()
    if recipe.method == "lora" and not network.config.has_adapters:
        torch.manual_seed(recipe.seed)
        add_adapters(network.language, recipe.lora_rank)


def merge_adapters_of_parent(network: QECatalytic) -> QECatalytic:
    """Return a trained network in the form of its parent: adapters of ours are merged."""
    if not network.config.has_adapters:
        merge_adapters(network.language)
    network.unfreeze()
    return network.eval()


def tuning_samples(
    new: Sequence[Row], old: Sequence[Row], reader: Reader, replay_share: float
) -> list[Sample]:
    """Return samples whose weights draw ``replay_share`` of an epoch from the old, sets alike."""
    fresh = make_samples(new, reader, {})
    if replay_share == 0 or not old:
        return fresh
    kept = make_samples(old, reader, {})
    sizes = {name: sum(sample.set == name for sample in kept) for name in {s.set for s in kept}}
    drawn = len(fresh) * replay_share / (1 - replay_share)  # in an epoch
    return fresh + [
        replace(sample, weight=drawn / len(sizes) / sizes[sample.set]) for sample in kept
    ]


def resolve_recipe(recipe: TuneRecipe, labels: int) -> TuneRecipe:
    """Return the recipe with method, epochs and learning rate for so many labels to learn from.

    Raises:
        ModelError: there are too few labels.
    """
    if labels < MIN_LABELS:
        raise ModelError(
            f"fine-tuning needs at least {MIN_LABELS} labels to learn from, got {labels}; with "
            "fewer it was never shown to help: verify more candidates"
        )
    method = recipe.method
    if method == "auto":
        method = next(name for limit, name in AUTO if labels >= limit)
    drawn = labels / (1 - recipe.replay_share) / recipe.batch_size  # steps of an epoch
    fitting = round(_STEPS / max(drawn, 1.0))
    return replace(
        recipe,
        method=method,
        epochs=recipe.epochs or min(max(fitting, _EPOCHS[0]), _EPOCHS[1]),
        learning_rate=recipe.learning_rate or _LEARNING_RATES[method],
    )


# benchmarks/RESULTS.md, Fine-tuning
MIN_LABELS = 25
AUTO = ((0, "all"),)  # labels to learn from, from which on a method is taken
_LEARNING_RATES = {"heads": 2e-3, "lora": 2e-3, "all": 3e-4}
_STEPS = 200  # about as many for few labels as for many
_EPOCHS = (10, 60)
