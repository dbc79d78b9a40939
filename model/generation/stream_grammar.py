"""The grammar of structure streams: which tokens may come next, and the structure they write.

Reading and writing under constraint are one thing: a parser that says at each step which tokens
are well formed, takes one of them, and ends with the structure. A sampler lets the model choose
among the admitted tokens; ``decode_stream`` gives it the tokens of a stream that is there.

The grammar admits streams that are well formed and meet the constraints: the elements of the slab
and, where it is named, its stoichiometry; the formula and bond graph of the adsorbate. It checks
two distances: a bond is at least 0.5 Å long, and an atom comes only so near to those of the slab.
Whether a slab is whole, a ring closes, or the adsorbate lies on the surface is left to the model.

A stoichiometry holds in every block of one formula unit, bottom-up, as it does in all ordered
alloys of the training sets: a model that need not look ahead does not run out of one element.

Shapes  K primitive cells.
Units   Å.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from model.contract import ADSORBATE_TAG, SURFACE_TAG
from model.errors import ModelError
from model.generation.skeleton import Skeleton
from model.generation.stream_adsorbate import (
    SlabClearance,
    StreamAdsorbate,
    read_adsorbate,
    read_height,
)
from model.generation.stream_coordinates import cells_within
from model.generation.structure_stream import (
    Structure,
    primitive_vectors,
)
from model.text.stream_tokens import (
    ADSORBATE,
    ELEMENTS,
    FRACTION,
    HUNDREDTHS,
    REPEAT,
    SURFACE,
    WHOLE,
    Tokens,
)
from model.text.tokenizer import END

# Yields the tokens that may come, is sent the one that does, returns what they stand for.
Parser = Generator[Tokens, str, Structure]
MOST_SLAB_ATOMS = 128
_SIDES = WHOLE.tokens[1:]  # a side is 1 Å or longer
_HEIGHTS = WHOLE.tokens[8:]
_NOT_ZERO = tuple(token for token in REPEAT.tokens if REPEAT.value(token) != 0)


@dataclass(frozen=True)
class StreamConstraints:
    """The constraints on a stream; the default admits every well-formed one.

    ``slab`` are the elements of the slab; ``ratio`` their counts in the bulk's formula, None where
    any will do; ``adsorbates`` the bond graphs of which one is written. Where ``nearest`` is not 0,
    atoms come no nearer to those of the slab than that times the sum of their covalent radii.
    """

    slab: tuple[str, ...] = ELEMENTS
    ratio: Mapping[str, int] | None = None
    adsorbates: tuple[Skeleton, ...] | None = None
    most_slab_atoms: int = 10_000
    nearest: float = 0.0


@dataclass(frozen=True)
class _Cell:
    """The surface's index, primitive vectors, their multiples in the cell, its height."""

    miller: tuple[int, int, int]
    primitive_22: NDArray[np.float64]
    repeats_22: NDArray[np.int64]
    height_ang: float


@dataclass(frozen=True)
class _Site:
    """An atom of the primitive cell: fractions of its vectors, height above the lowest atom."""

    symbol: str
    tag: int
    u: float
    v: float
    z: float


def decode_stream(tokens: Iterable[str]) -> Structure:
    """Return the structure of a stream: slab atoms first, vacuum half below and half above.

    Raises:
        ModelError: a token stands where it may not, or the stream ends early.
    """
    parser = stream_parser(StreamConstraints())
    admitted = next(parser)
    try:
        for index, token in enumerate([*tokens, END]):
            if token not in admitted:
                raise ModelError(
                    f"token {index} of a stream is one of {' '.join(admitted[:4])} ..., got {token}"
                )
            admitted = parser.send(token)
    except StopIteration as finished:
        structure: Structure = finished.value
        return structure
    raise ModelError("a stream ends with its adsorbate; more tokens follow this one's")


def stream_parser(constraints: StreamConstraints) -> Parser:
    """Return a parser of one stream: start it with ``next``, then ``send`` token after token."""
    miller = yield from _miller()
    lengths: list[float] = []
    for whole in (_SIDES, WHOLE.tokens, _SIDES, _HEIGHTS):
        first = yield whole
        second = yield HUNDREDTHS.tokens
        lengths.append(WHOLE.value(first) + HUNDREDTHS.value(second) / 100)
    p, q, r, height = lengths
    repeats = yield from _repeats(constraints)
    primitive_22 = primitive_vectors(p, q, r)
    room = SlabClearance(primitive_22, constraints.nearest)
    sites = yield from _slab(constraints, room, round(float(np.linalg.det(repeats))))
    adsorbed = yield from read_adsorbate(constraints.adsorbates, room)
    yield (END,)
    cell = _Cell(miller, primitive_22, repeats, height)
    return _structure(cell, sites, adsorbed)


def _miller() -> Generator[Tokens, str, tuple[int, int, int]]:
    read: list[int] = []
    while len(read) < 3:
        token = yield REPEAT.tokens if len(read) < 2 or any(read) else _NOT_ZERO
        read.append(int(REPEAT.value(token)))
    return read[0], read[1], read[2]


def _repeats(constraints: StreamConstraints) -> Generator[Tokens, str, NDArray[np.int64]]:
    """Read four multiples whose determinant, the number of primitive cells, is 1 or more."""
    smallest = sum((constraints.ratio or {"any": 1}).values())
    most = max(constraints.most_slab_atoms // smallest, 1)
    read: list[int] = []
    while len(read) < 4:
        admitted = tuple(
            token
            for token in REPEAT.tokens
            if _can_become_cell([*read, int(REPEAT.value(token))], most)
        )
        token = yield admitted
        read.append(int(REPEAT.value(token)))
    return np.array(read).reshape(2, 2)


def _can_become_cell(read: Sequence[int], most: int) -> bool:
    """Return whether multiples can be completed to a determinant from 1 to ``most``."""
    if len(read) == 1:  # (m, 1) and (-1, 0) have the determinant 1
        return True
    values = REPEAT.values.astype(np.int64)
    third = values if len(read) < 3 else np.array(read[2:3])
    last = values if len(read) < 4 else np.array(read[3:])
    determinants = read[0] * last[:, None] - read[1] * third[None]
    return bool(((determinants >= 1) & (determinants <= most)).any())


def _slab(
    constraints: StreamConstraints, room: SlabClearance, cells: int
) -> Generator[Tokens, str, list[_Site]]:
    sites: list[_Site] = []
    height = 0.0
    while True:
        counts = Counter(site.symbol for site in sites)
        elements = tuple(
            e for e in constraints.slab if _can_become_slab(counts, e, constraints, cells)
        )
        starts = (*elements, SURFACE) if elements else ()
        token = yield (*starts, ADSORBATE) if _is_slab(counts, constraints) else starts
        if token == ADSORBATE:
            return sites
        tag = SURFACE_TAG if token == SURFACE else 0
        symbol = (yield elements) if token == SURFACE else token
        u = FRACTION.value((yield FRACTION.tokens))
        v = FRACTION.value((yield FRACTION.tokens))
        position_3 = yield from read_height(room, symbol, room.plane(u, v), height)
        height = float(position_3[2])
        room.add(symbol, position_3)
        sites.append(_Site(symbol, tag, u, v, height))


def _is_slab(counts: Counter[str], constraints: StreamConstraints) -> bool:
    """Return whether the atoms written so far make a slab of the stoichiometry given."""
    if not counts or constraints.ratio is None:
        return bool(counts)
    return len({counts[e] / constraints.ratio[e] for e in constraints.ratio}) == 1


def _can_become_slab(
    counts: Counter[str], more: str, constraints: StreamConstraints, cells: int
) -> bool:
    """Return whether a slab with one more atom can still be completed within the limit."""
    most = constraints.most_slab_atoms // cells
    if constraints.ratio is None:
        return sum(counts.values()) < most
    size = sum(constraints.ratio.values())
    units = sum(counts.values()) // size + 1  # formula units, the one begun among them
    return counts[more] < units * constraints.ratio.get(more, 0) and units * size <= most


def _structure(cell: _Cell, sites: Sequence[_Site], adsorbed: StreamAdsorbate) -> Structure:
    """Return the adslab with the vacuum half below and half above the slab."""
    plane_22 = cell.repeats_22 @ cell.primitive_22
    along_2 = plane_22[0] / np.linalg.norm(plane_22[0])
    turn_22 = np.array([along_2, [-along_2[1], along_2[0]]]).T
    heights = [site.z for site in sites]
    slab_N3 = _slab_positions(cell, sites)
    positions_N3 = np.concatenate([slab_N3, adsorbed.positions])
    positions_N3[:, :2] = positions_N3[:, :2] @ turn_22
    positions_N3[:, 2] += 0.5 * (cell.height_ang - max(heights) - min(heights))
    cell_33 = np.zeros((3, 3))
    cell_33[:2, :2] = plane_22 @ turn_22
    cell_33[2, 2] = cell.height_ang
    each = len(slab_N3) // len(sites)
    numbers = [atomic_numbers[site.symbol] for site in sites for _ in range(each)]
    tags = [site.tag for site in sites for _ in range(each)] + [ADSORBATE_TAG] * len(
        adsorbed.symbols
    )
    numbers_N = np.array([*numbers, *(atomic_numbers[symbol] for symbol in adsorbed.symbols)])
    return Structure(numbers_N, positions_N3, cell_33, np.array(tags), cell.miller)


def _slab_positions(cell: _Cell, sites: Sequence[_Site]) -> NDArray[np.float64]:
    """Return the atoms of all primitive cells, those of one site after one another."""
    cells_K2 = cells_within(cell.repeats_22)
    scaled_S2 = np.array([[site.u, site.v] for site in sites]) / FRACTION.count
    plane_SK2 = (scaled_S2[:, None] + cells_K2[None]) @ cell.primitive_22
    heights_SK = np.repeat([[site.z] for site in sites], len(cells_K2), axis=1)
    return np.concatenate([plane_SK2, heights_SK[..., None]], axis=-1).reshape(-1, 3)
