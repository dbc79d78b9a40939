"""Labels with the structures that carry them, and how an epoch draws them.

Shapes  S samples. Units: eV.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.rows import UNRELAXED, Row
from model.network.batches import Example, Reader


@dataclass(frozen=True)
class Sample:
    """One label with the structures that carry it: unrelaxed first, relaxed if there is one."""

    views: tuple[Example, ...]
    energy_ev: float
    set: str
    weight: float = 1.0  # how often it is drawn in an epoch, relative to the others


class SampleObjective:
    """The shared part of stages that learn from labelled structures."""

    def __init__(
        self,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        reader: Reader,
        batch_size: int,
    ):
        self.samples = samples
        self.held_out = held_out
        self.reader = reader
        self.batch_size = batch_size
        self.pad = int(reader.tokenizer.pad_token_id)

    def draw_batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Yield the positions of one epoch's batches."""
        return draw_batches(self.samples, self.batch_size, rng)

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Return the names of some samples, for messages."""
        return [self.samples[index].views[0].name for index in chosen]


def make_samples(rows: Sequence[Row], reader: Reader, weights: dict[str, float]) -> list[Sample]:
    """Group the rows of each pair into one sample, its unrelaxed view first."""
    pairs: dict[str, list[Row]] = {}
    for row in rows:
        pairs.setdefault(row.pair, []).append(row)
    samples = []
    for views in pairs.values():
        views.sort(key=lambda row: (row.kind not in UNRELAXED, row.uid))
        examples = tuple(reader.read([row.configuration() for row in views]))
        name = views[0].set
        samples.append(Sample(examples, views[0].energy_ev, name, weights.get(name, 1.0)))
    return samples


def draw_batches(
    samples: Sequence[Sample], batch_size: int, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Yield the positions of one epoch's batches; a sample comes ``weight`` times on average."""
    chosen = rng.permutation(draw_copies(np.array([sample.weight for sample in samples]), rng))
    # Only texts are padded: those of like length share a batch, sorted within pools large enough
    # to stay random.
    pool = 16 * batch_size
    for start in range(0, len(chosen), pool):
        part = sorted(chosen[start : start + pool], key=lambda i: samples[i].views[0].tokens)
        groups = [
            [int(i) for i in part[first : first + batch_size]]
            for first in range(0, len(part), batch_size)
        ]
        for index in rng.permutation(len(groups)):
            yield groups[index]


def draw_copies(weight_S: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions in ascending order, each as often as its weight says on average."""
    copies_S = np.floor(weight_S + rng.random(len(weight_S))).astype(np.int64)
    return np.repeat(np.arange(len(weight_S)), copies_S)
