"""What may follow in a structure stream, and the structure that a whole stream stands for.

Reading and writing under constraint are one thing: a parser that says at each place which tokens
are well formed, takes one of them, and ends with the structure. A sampler lets the model choose
among the admitted tokens; ``decode`` gives it the tokens of a stream that is there.

The grammar admits what is well formed and what was asked for: the elements of the slab and, where
it is named, its stoichiometry; the formula and bond graph of the adsorbate. Of distances it knows
only that a bond is at least 0.5 Å long: whether atoms overlap, a ring closes, or the adsorbate lies
on the surface is the model's.

Shapes  K primitive cells.
Units   Å.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from model.errors import ModelError
from model.local_frames import GrowingMolecule
from model.skeleton import Skeleton, SkeletonMatch
from model.stream_tokens import (
    ADSORBATE,
    AZIMUTH,
    BACK,
    DISTANCE,
    ELEMENTS,
    FRACTION,
    HUNDREDTHS,
    LABELS,
    POLAR,
    REPEAT,
    RING,
    SURFACE,
    WHOLE,
    label_token,
    read_label,
)
from model.structure_stream import (
    ADSORBATE_TAG,
    SURFACE_TAG,
    Structure,
    primitive_vectors,
    read_bond,
)
from model.surface_lattice import cells_within
from model.tokenizer import END

Tokens = tuple[str, ...]
# Yields the tokens that may come, is sent the one that does, returns what they stand for.
Parser = Generator[Tokens, str, Structure]
MOST_SLAB_ATOMS = 128
_SIDES = WHOLE.tokens[1:]  # a side is 1 Å or longer
_HEIGHTS = WHOLE.tokens[8:]
_NOT_ZERO = tuple(token for token in REPEAT.tokens if REPEAT.value(token) != 0)
# A bond of no length has no direction to go on from; the shortest of all, in H2, is 0.74 Å.
_BONDS = tuple(token for token in DISTANCE.tokens if DISTANCE.value(token) >= 0.5)


@dataclass(frozen=True)
class Wanted:
    """What a stream may hold; the default admits every well-formed one.

    ``slab`` are the elements of the slab; ``ratio`` their counts in the bulk's formula, None where
    any will do; ``adsorbates`` the bond graphs of which one is written.
    """

    slab: tuple[str, ...] = ELEMENTS
    ratio: Mapping[str, int] | None = None
    adsorbates: tuple[Skeleton, ...] | None = None
    most_slab_atoms: int = 10_000


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


def decode(tokens: Iterable[str]) -> Structure:
    """Return the structure of a stream: slab atoms first, vacuum half below and half above.

    Raises:
        ModelError: a token stands where it may not, or the stream ends early.
    """
    parser = parse(Wanted())
    admitted = next(parser)
    try:
        for place, token in enumerate([*tokens, END]):
            if token not in admitted:
                raise ModelError(
                    f"token {place} of a stream is one of {' '.join(admitted[:4])} ..., got {token}"
                )
            admitted = parser.send(token)
    except StopIteration as finished:
        structure: Structure = finished.value
        return structure
    raise ModelError("a stream ends with its adsorbate; more tokens follow this one's")


def parse(wanted: Wanted) -> Parser:
    """Return a parser of one stream: start it with ``next``, then ``send`` token after token."""
    miller = yield from _miller()
    lengths: list[float] = []
    for whole in (_SIDES, WHOLE.tokens, _SIDES, _HEIGHTS):
        first = yield whole
        second = yield HUNDREDTHS.tokens
        lengths.append(WHOLE.value(first) + HUNDREDTHS.value(second) / 100)
    p, q, r, height = lengths
    repeats = yield from _repeats(wanted)
    sites = yield from _slab(wanted, round(float(np.linalg.det(repeats))))
    primitive_22 = primitive_vectors(p, q, r)
    symbols, molecule = yield from _adsorbate(wanted, primitive_22)
    yield (END,)
    cell = _Cell(miller, primitive_22, repeats, height)
    return _structure(cell, sites, symbols, molecule)


def _miller() -> Generator[Tokens, str, tuple[int, int, int]]:
    read: list[int] = []
    while len(read) < 3:
        token = yield REPEAT.tokens if len(read) < 2 or any(read) else _NOT_ZERO
        read.append(int(REPEAT.value(token)))
    return read[0], read[1], read[2]


def _repeats(wanted: Wanted) -> Generator[Tokens, str, NDArray[np.int64]]:
    """Read four multiples whose determinant, the number of primitive cells, is 1 or more."""
    smallest = sum((wanted.ratio or {"any": 1}).values())
    most = max(wanted.most_slab_atoms // smallest, 1)
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


def _slab(wanted: Wanted, cells: int) -> Generator[Tokens, str, list[_Site]]:
    sites: list[_Site] = []
    height = 0.0
    while True:
        counts = Counter(site.symbol for site in sites)
        elements = tuple(e for e in wanted.slab if _can_become_slab(counts, e, wanted, cells))
        starts = (*elements, SURFACE) if elements else ()
        token = yield (*starts, ADSORBATE) if _is_slab(counts, wanted) else starts
        if token == ADSORBATE:
            return sites
        tag = SURFACE_TAG if token == SURFACE else 0
        symbol = (yield elements) if token == SURFACE else token
        u = yield FRACTION.tokens
        v = yield FRACTION.tokens
        step = yield DISTANCE.tokens
        height += DISTANCE.value(step)
        sites.append(_Site(symbol, tag, FRACTION.value(u), FRACTION.value(v), height))


def _is_slab(counts: Counter[str], wanted: Wanted) -> bool:
    """Return whether the atoms written so far are a slab of the stoichiometry asked for."""
    if not counts or wanted.ratio is None:
        return bool(counts)
    return len({counts[e] / wanted.ratio[e] for e in wanted.ratio}) == 1


def _can_become_slab(counts: Counter[str], more: str, wanted: Wanted, cells: int) -> bool:
    """Return whether a slab with one more atom can still be completed within the limit."""
    most = wanted.most_slab_atoms // cells
    if wanted.ratio is None:
        return sum(counts.values()) < most
    if more not in wanted.ratio:
        return False
    units = max(-(-(counts[e] + (e == more)) // n) for e, n in wanted.ratio.items())
    return units * sum(wanted.ratio.values()) <= most


class _Written:
    """The heavy atoms of an adsorbate written so far, and what may come next."""

    def __init__(self, wanted: Wanted):
        self.match = None if wanted.adsorbates is None else SkeletonMatch(wanted.adsorbates)
        self.labels: list[tuple[str, int, int]] = []
        self.bonds: list[int] = []  # of each atom, how many are written

    @property
    def is_complete(self) -> bool:
        """Return whether every bond that a label promised is written."""
        pairs = zip(self.labels, self.bonds, strict=True)
        return bool(self.labels) and all(label[2] == bonds for label, bonds in pairs)

    def elements(self) -> Tokens:
        """Return the elements that the next atom may have."""
        if self.match is None:
            return ELEMENTS
        return tuple(sorted({label[0] for label, _ in self.match.next_atoms()}))

    def label_tokens(self, symbol: str) -> Tokens:
        """Return the labels that an atom of this element may have."""
        if self.match is None:
            return LABELS if not self.labels else tuple(t for t in LABELS if read_label(t)[1] > 0)
        labels = {label for label, _ in self.match.next_atoms() if label[0] == symbol}
        return tuple(label_token(h, d) for _, h, d in sorted(labels))

    def sources(self, label: tuple[str, int, int]) -> list[int]:
        """Return the written atoms that the next one may be reached from."""
        if self.match is None:
            return [a for a, n in enumerate(self.bonds) if n < self.labels[a][2]]
        sets = [near for found, near in self.match.next_atoms() if found == label]
        return sorted({atom for near in sets for atom in near})

    def rings(self, label: tuple[str, int, int], near: Sequence[int]) -> tuple[list[int], bool]:
        """Return the atoms that a ring may close with, and whether none need be.

        ``near`` are the neighbours written of the new atom: its source, then rings, first to last.
        """
        place = len(self.labels)
        after = max((*near[1:], place - RING.count - 1))
        later = [a for a in range(max(after + 1, 0), place) if a not in near]
        if self.match is None:
            room = len(near) < label[2]
            return [a for a in later if room and self.bonds[a] < self.labels[a][2]], True
        sets = [s for found, s in self.match.next_atoms() if found == label and s >= set(near)]
        # Rings are written first atom to last: what comes before the last one is closed.
        agree = [s for s in sets if not (s - set(near) - set(later))]
        return sorted({min(s - set(near)) for s in agree if s > set(near)}), set(near) in agree

    def add(self, label: tuple[str, int, int], near: Sequence[int]) -> None:
        """Take the next atom, bonded to the written atoms ``near``."""
        if self.match is not None:
            self.match = self.match.extended(label, near)
        self.labels.append(label)
        self.bonds.append(len(near))
        for atom in near:
            self.bonds[atom] += 1


def _adsorbate(
    wanted: Wanted, primitive_22: NDArray[np.float64]
) -> Generator[Tokens, str, tuple[list[str], GrowingMolecule]]:
    """Read the adsorbate; positions are in the primitive frame, above the slab's topmost atom."""
    written, grown = _Written(wanted), GrowingMolecule()
    symbols: list[str] = []
    heavy: list[int] = []  # atom of the molecule for each heavy atom
    while not written.is_complete:
        place = len(heavy)
        symbol = yield written.elements()
        hydrogens, bonds = read_label((yield written.label_tokens(symbol)))
        label = (symbol, hydrogens, bonds)
        if place == 0:
            written.add(label, ())
            heavy.append((yield from _first(grown, primitive_22)))
        else:
            source, bond = yield from _links(written, label)
            heavy.append((yield from _bond(grown, heavy[source], bond)))
        symbols.append(symbol)
        if place > 0 or bonds == 0:
            yield from _hydrogens(grown, symbols, heavy[place], hydrogens)
    first, hydrogens, bonds = written.labels[0]
    if hydrogens and bonds:
        yield (first,)
        yield (label_token(hydrogens, bonds),)
        yield from _hydrogens(grown, symbols, heavy[0], hydrogens)
    return symbols, grown


def _first(
    grown: GrowingMolecule, primitive_22: NDArray[np.float64]
) -> Generator[Tokens, str, int]:
    u = yield FRACTION.tokens
    v = yield FRACTION.tokens
    z = yield DISTANCE.tokens
    scaled_2 = np.array([FRACTION.value(u), FRACTION.value(v)]) / FRACTION.count
    return grown.start(np.append(scaled_2 @ primitive_22, DISTANCE.value(z)))


def _links(
    written: _Written, label: tuple[str, int, int]
) -> Generator[Tokens, str, tuple[int, str]]:
    """Read what the next heavy atom is bonded to; return its source and the bond length's token."""
    place = len(written.labels)
    reach = [a for a in written.sources(label) if place - a <= BACK.count]
    token = yield tuple(BACK.token(place - a) for a in reach)
    near = [place - int(BACK.value(token))]
    while True:
        closing, may_stop = written.rings(label, near)
        rings = tuple(RING.token(place - a) for a in closing)
        token = yield (*rings, *_BONDS) if may_stop else rings
        if token not in rings:
            written.add(label, near)
            return near[0], token
        near.append(place - int(RING.value(token)))


def _hydrogens(
    grown: GrowingMolecule, symbols: list[str], source: int, count: int
) -> Generator[Tokens, str, None]:
    for _ in range(count):
        length = yield _BONDS
        yield from _bond(grown, source, length)
        symbols.append("H")


def _bond(grown: GrowingMolecule, source: int, length: str) -> Generator[Tokens, str, int]:
    polar = yield POLAR.tokens
    azimuth = yield AZIMUTH.tokens
    return grown.grow(source, read_bond((length, polar, azimuth)))


def _structure(
    cell: _Cell, sites: Sequence[_Site], symbols: Sequence[str], molecule: GrowingMolecule
) -> Structure:
    """Return the adslab with the vacuum half below and half above the slab."""
    plane_22 = cell.repeats_22 @ cell.primitive_22
    along_2 = plane_22[0] / np.linalg.norm(plane_22[0])
    turn_22 = np.array([along_2, [-along_2[1], along_2[0]]]).T
    heights = [site.z for site in sites]
    slab_N3 = _slab_positions(cell, sites)
    adsorbate_A3 = np.array(molecule.positions) + np.array([0.0, 0.0, max(heights)])
    positions_N3 = np.concatenate([slab_N3, adsorbate_A3])
    positions_N3[:, :2] = positions_N3[:, :2] @ turn_22
    positions_N3[:, 2] += 0.5 * (cell.height_ang - max(heights) - min(heights))
    cell_33 = np.zeros((3, 3))
    cell_33[:2, :2] = plane_22 @ turn_22
    cell_33[2, 2] = cell.height_ang
    each = len(slab_N3) // len(sites)
    numbers = [atomic_numbers[site.symbol] for site in sites for _ in range(each)]
    tags = [site.tag for site in sites for _ in range(each)] + [ADSORBATE_TAG] * len(symbols)
    numbers_N = np.array([*numbers, *(atomic_numbers[symbol] for symbol in symbols)])
    return Structure(numbers_N, positions_N3, cell_33, np.array(tags), cell.miller)


def _slab_positions(cell: _Cell, sites: Sequence[_Site]) -> NDArray[np.float64]:
    """Return the atoms of all primitive cells, those of one site after one another."""
    cells_K2 = cells_within(cell.repeats_22)
    scaled_S2 = np.array([[site.u, site.v] for site in sites]) / FRACTION.count
    plane_SK2 = (scaled_S2[:, None] + cells_K2[None]) @ cell.primitive_22
    heights_SK = np.repeat([[site.z] for site in sites], len(cells_K2), axis=1)
    return np.concatenate([plane_SK2, heights_SK[..., None]], axis=-1).reshape(-1, 3)
