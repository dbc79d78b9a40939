"""Made-up labels beside energies of a made-up potential, and differences learnt from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import Checkpoint
from model.contract import LevelEnergy
from model.data.rows import Row
from model.prediction.difference import DifferencePredictor, Potential
from model.prediction.predictor import load_predictor
from model.training import difference_fit
from model.training.difference import train_difference
from support.synthetic import rows as made_up

HASH = "a" * 64
ON = (Potential("potential", HASH),)
# By what the potential is wrong: much for each adsorbate, and a little for each metal.
WRONG_BY = {"O": 0.6, "H": -0.3, "CO": 0.2}


def labelled(
    *names: str, scatter_ev: float = 0.0, by_metal_ev: float = 0.0, seed: int = 0
) -> list[Row]:
    """Return rows with energies of potentials, which scatter around labels without an offset.

    Args:
        names: The potentials; one where none is named.
        scatter_ev: Standard deviation of a potential's energies around what it would say.
        by_metal_ev: What a potential is wrong by on copper, and on no other metal.
        seed: Of the scatter.

    Returns:
        Two hundred and twenty-five labelled rows.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for row in made_up("adslab"):
        on_copper = by_metal_ev if row.group.startswith("Cu") else 0.0
        wrong_ev = WRONG_BY[row.adsorbate] + on_copper
        energies = tuple(
            LevelEnergy(name, HASH, row.energy_ev - wrong_ev + scatter_ev * float(noise))
            for name, noise in zip(
                names or ("potential",), rng.normal(size=max(len(names), 1)), strict=True
            )
        )
        rows.append(replace(row, energies=energies))
    return rows


@contextmanager
def fewer_trees() -> Iterator[None]:
    """Boost quickly: the made-up energies are simple."""
    quick = {"n_estimators": 25, "learning_rate": 0.3, "num_leaves": 6, "colsample_bytree": 0.8}
    with pytest.MonkeyPatch.context() as patch:
        ways = {way: recipe | quick for way, recipe in difference_fit.WAYS.items()}
        patch.setattr(difference_fit, "WAYS", ways)
        patch.setattr(difference_fit, "_ERROR", difference_fit._ERROR | quick)
        yield


def learnt(
    folder: Path,
    train: Sequence[Row],
    *,
    held_out: Sequence[Row] = (),
    on: Sequence[Potential] = ON,
    base: Path | str | None = None,
) -> DifferencePredictor:
    """Return the predictor of a difference that was learnt, sealed and opened again."""
    with fewer_trees():
        made: Checkpoint = train_difference(train, held_out, folder, on=on, base=base, seed=0)
    predictor = load_predictor(made.folder)
    assert isinstance(predictor, DifferencePredictor)
    return predictor
