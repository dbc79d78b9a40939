"""Fine-tune one network on new labels beside a replay of old ones, then go back part of the way.

The method says which weights learn. Weights between a network and its fine-tuned self answer
better than either where the new labels are few and the old ones many (Wortsman et al. 2022,
arXiv:2109.01903).

Shapes  S samples, R rows. Units: eV.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from model.data.rows import Row
from model.errors import ModelError
from model.network.batches import Reader
from model.network.ensemble import Ensemble
from model.network.language.adapters import add_adapters, merge_adapters
from model.network.qe_catalytic import QECatalytic
from model.training.joint_stage import JointStage
from model.training.recipes import TuneRecipe
from model.training.samples import Sample, make_samples

_HEADS = ("regression", "recall", "spread")

# benchmarks/RESULTS.md, Fine-tuning
MIN_LABELS = 25
AUTO = ((0, "all"),)  # labels to learn from, from which on a method is taken
_LEARNING_RATES = {"heads": 2e-3, "lora": 2e-3, "all": 3e-4}
_STEPS = 200  # about as many for few labels as for many
_EPOCHS = (10, 60)
SHARES = (1.0, 0.75, 0.5, 0.25)  # of the way from the network before to the one after
FORGET_EV = 0.003  # growth of an error that counts as none, however small the error was


class TuneStage(JointStage):
    """Energies of new and old labels; only the parts that the method frees are trained."""

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
    """Unfreeze the weights that are trained, and add adapters where the method has them.

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


def interpolated(before: QECatalytic, after: QECatalytic, share: float) -> QECatalytic:
    """Return the network that lies ``share`` of the way from ``before`` to ``after``."""
    found = after.clone()
    old, new = before.state_dict(), after.state_dict()
    found.load_state_dict(
        {
            name: torch.lerp(old[name], value, share) if value.is_floating_point() else value
            for name, value in new.items()
        }
    )
    return found.eval()


def best_share(
    before: Sequence[QECatalytic],
    after: Sequence[QECatalytic],
    old: Sequence[Row],
    new: Sequence[Row],
    ensemble: Callable[[Sequence[QECatalytic]], Ensemble],
    forget: float,
) -> float:
    """Return the share that serves the levels of ``new`` rows best and forgets little.

    These are the gate's criteria, on rows that the gate does not see. The error on ``old`` rows,
    on all and on those at the levels of ``new``, may grow by a share ``forget`` of it or by 3 meV.
    Of the shares within these limits the best has the lowest error at these levels, new and old
    rows counting a half each.

    Args:
        before: Members before fine-tuning.
        after: The same members after it.
        old: Rows of levels and structures that ``before`` was trained on.
        new: Rows of the kind that fine-tuning has added.
        ensemble: Makes an ensemble from members.
        forget: Share by which the error on old rows may grow.

    Returns:
        One of :data:`SHARES`, the same for all members; the smallest where all forget more.
    """
    rows = [*old, *new]
    configurations = [row.configuration() for row in rows]
    energy_R = np.array([row.energy_ev for row in rows])
    is_old_R = np.arange(len(rows)) < len(old)
    levels = {row.level for row in new} or {row.level for row in old}
    at_level_R = np.array([row.level in levels for row in rows])
    looks = [is_old_R, is_old_R & at_level_R, ~is_old_R]

    def maes(networks: Sequence[QECatalytic]) -> list[float]:
        """Return the error on old rows, on those at the levels, and on new rows."""
        off_R = np.abs(ensemble(networks).answer(configurations).regression_R - energy_R)
        return [float(off_R[look_R].mean()) if look_R.any() else 0.0 for look_R in looks]

    limits = [max((1 + forget) * mae, mae + FORGET_EV) for mae in maes(before)[:2]]
    maes_of = {
        share: maes([interpolated(a, b, share) for a, b in zip(before, after, strict=True)])
        for share in SHARES
    }
    allowed = [
        share
        for share, (old_ev, at_level_ev, _) in maes_of.items()
        if old_ev <= limits[0] and at_level_ev <= limits[1]
    ]
    return min(allowed or SHARES[-1:], key=lambda share: sum(maes_of[share][1:]))
