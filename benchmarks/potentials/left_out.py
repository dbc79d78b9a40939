"""Learn a difference on four folds and ask it of the fifth, as a campaign would load it."""

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from model.contract import Prediction
from model.data.rows import Row
from model.prediction.difference import DifferencePredictor, Potential
from model.prediction.predictor import load_predictor
from model.training.difference import train_difference

FOLDS = 5


def folds_left_out(
    rows: Sequence[Row], labels: int | None, draw: int, on: Sequence[Potential]
) -> Iterator[tuple[list[int], DifferencePredictor, list[Prediction]]]:
    """Yield of each fold its rows' places, the predictor that never saw them, and its answers.

    Args:
        rows: Labelled rows with the potentials' energies (eV).
        labels: How many of the other folds to learn from, None for all.
        draw: Which draw of labels.
        on: The potentials.
    """
    for fold in range(FOLDS):
        others = [i for i, row in enumerate(rows) if row.fold != fold]
        here = [i for i, row in enumerate(rows) if row.fold == fold]
        rng = np.random.default_rng(zlib.crc32(f"{fold} {draw}".encode()))
        if labels is not None:
            others = [others[k] for k in rng.permutation(len(others))[:labels].tolist()]
        with tempfile.TemporaryDirectory() as folder:
            made = train_difference(
                [rows[i] for i in others], [], Path(folder) / "difference", on=on, seed=0
            )
            predictor = load_predictor(made.folder)
            assert isinstance(predictor, DifferencePredictor)
            yield here, predictor, predictor.predict([rows[i].configuration() for i in here])
