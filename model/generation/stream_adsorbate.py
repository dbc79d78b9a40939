"""The adsorbate of a structure stream: which tokens may come next, atom after atom.

An atom fits where it is clear of the slab and bonded to its neighbours alone.

Shapes  A atoms of the adsorbate written so far, P positions for the next one, S sites of the slab
        written so far, I images of a site in the plane.
Units   Å, degrees; heights count from the lowest atom of the slab.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from model.generation.skeleton import BOND_FACTOR, Skeleton, SkeletonMatch
from model.generation.stream_coordinates import GrowingMolecule
from model.generation.structure_stream import read_bond
from model.text.stream_tokens import (
    AZIMUTH,
    BACK,
    DISTANCE,
    ELEMENTS,
    FRACTION,
    LABELS,
    POLAR,
    RING,
    Tokens,
    label_token,
    read_label,
)

_AROUND_I2 = np.mgrid[-2:3, -2:3].reshape(2, -1).T.astype(np.float64)
# A bond of no length has no direction to go on from; the shortest of all, in H2, is 0.74 Å.
_BONDS = tuple(token for token in DISTANCE.tokens if DISTANCE.value(token) >= 0.5)


@dataclass(frozen=True)
class Molecule:
    """An adsorbate as written so far; ``near`` are the atoms that the next one is bonded to."""

    symbols: Sequence[str]
    positions_A3: NDArray[np.float64]
    near: Sequence[int]


class SlabClearance:
    """The slab of a stream as written so far, as balls that further atoms keep out of.

    Two atoms are apart where their distance is ``nearest`` times the sum of their covalent radii or
    more; with 0 everything fits.
    """

    def __init__(self, primitive_22: NDArray[np.float64], nearest: float):
        self._primitive_22 = primitive_22
        self._nearest = nearest
        self._sites_S3: list[NDArray[np.float64]] = []
        self._radii_S: list[float] = []

    @property
    def top(self) -> float:
        """Return the height of the highest atom."""
        return max((float(site_3[2]) for site_3 in self._sites_S3), default=0.0)

    def plane(self, u: float, v: float) -> NDArray[np.float64]:
        """Return the in-plane position of bins ``u`` and ``v`` of the primitive vectors."""
        return np.asarray(np.array([u, v]) / FRACTION.count @ self._primitive_22)

    def add(self, symbol: str, position_3: NDArray[np.float64]) -> None:
        """Put an atom of the primitive cell, which repeats in the plane."""
        self._sites_S3.append(position_3)
        self._radii_S.append(_radius(symbol))

    def fitting(
        self, symbol: str, tokens: Sequence[str], positions_P3: NDArray[np.float64]
    ) -> Tokens:
        """Return the tokens whose positions are clear of the slab; all of them where none is."""
        if not self._sites_S3 or self._nearest == 0:
            return tuple(tokens)
        limit_S = self._nearest * (np.array(self._radii_S) + _radius(symbol))
        apart_PS3 = positions_P3[:, None] - np.array(self._sites_S3)
        scaled_PS2 = apart_PS3[..., :2] @ np.linalg.inv(self._primitive_22)
        home_PS2 = (scaled_PS2 - np.rint(scaled_PS2)) @ self._primitive_22
        images_PSI2 = home_PS2[:, :, None] + _AROUND_I2 @ self._primitive_22
        aside_PS = (images_PSI2**2).sum(axis=-1).min(axis=-1)
        fits_P = (aside_PS + apart_PS3[..., 2] ** 2 >= limit_S**2).all(axis=1)
        return _chosen(tokens, fits_P)

    def bonding(
        self,
        symbol: str,
        tokens: Sequence[str],
        positions_P3: NDArray[np.float64],
        molecule: Molecule,
    ) -> Tokens:
        """Return the tokens whose positions bond to the right atoms of the molecule and no others.

        Of these, those that are clear of the slab; where none is, the next best.
        """
        if self._nearest == 0:
            return tuple(tokens)
        radii_A = np.array([_radius(other) for other in molecule.symbols])
        distance_PA = np.linalg.norm(positions_P3[:, None] - molecule.positions_A3, axis=-1)
        is_bond_PA = distance_PA < BOND_FACTOR * (radii_A + _radius(symbol))
        is_near_A = np.isin(np.arange(len(radii_A)), molecule.near)
        fits_P = (is_bond_PA == is_near_A).all(axis=1)
        if not fits_P.any():
            fits_P = np.ones_like(fits_P)
        return self.fitting(symbol, _chosen(tokens, fits_P), positions_P3[fits_P])


def _chosen(tokens: Sequence[str], fits_P: NDArray[np.bool_]) -> Tokens:
    found = tuple(token for token, fits in zip(tokens, fits_P, strict=True) if fits)
    return found or tuple(tokens)


def _radius(symbol: str) -> float:
    return float(covalent_radii[atomic_numbers[symbol]])


class _WrittenAtoms:
    """The heavy atoms of an adsorbate written so far, and the tokens that may come next."""

    def __init__(self, graphs: Sequence[Skeleton] | None):
        self.match = None if graphs is None else SkeletonMatch(graphs)
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
        index = len(self.labels)
        after = max((*near[1:], index - RING.count - 1))
        later = [a for a in range(max(after + 1, 0), index) if a not in near]
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


@dataclass
class StreamAdsorbate:
    """An adsorbate being written onto a slab, heights as in the slab."""

    room: SlabClearance
    grown: GrowingMolecule = field(default_factory=GrowingMolecule)
    symbols: list[str] = field(default_factory=list)
    heavy: list[int] = field(default_factory=list)  # atom of the molecule for each heavy atom

    @property
    def positions(self) -> NDArray[np.float64]:
        """Return the atoms' positions in the frame of the primitive cell."""
        return np.array(self.grown.positions)


def read_adsorbate(
    graphs: Sequence[Skeleton] | None, room: SlabClearance
) -> Generator[Tokens, str, StreamAdsorbate]:
    """Read the adsorbate of a stream, token after token; the generator ends where it is complete.

    Args:
        graphs: Adsorbates that may be written; None allows any.
        room: Slab below the adsorbate, which says where an atom is clear of it (Å).

    Yields:
        The tokens that may come next; one of them is sent back.

    Returns:
        The adsorbate's atoms.
    """
    written, adsorbed = _WrittenAtoms(graphs), StreamAdsorbate(room)
    heavy = adsorbed.heavy
    while not written.is_complete:
        symbol = yield written.elements()
        hydrogens, bonds = read_label((yield written.label_tokens(symbol)))
        label = (symbol, hydrogens, bonds)
        if not heavy:
            written.add(label, ())
            heavy.append((yield from _first(adsorbed, symbol)))
        else:
            near, bond = yield from _links(written, label)
            heavy.append((yield from _bond(adsorbed, symbol, [heavy[a] for a in near], bond)))
        if len(heavy) > 1 or bonds == 0:
            yield from _hydrogens(adsorbed, heavy[-1], hydrogens)
    first, hydrogens, bonds = written.labels[0]
    if hydrogens and bonds:
        yield (first,)
        yield (label_token(hydrogens, bonds),)
        yield from _hydrogens(adsorbed, heavy[0], hydrogens)
    return adsorbed


def _first(adsorbed: StreamAdsorbate, symbol: str) -> Generator[Tokens, str, int]:
    room = adsorbed.room
    u = FRACTION.value((yield FRACTION.tokens))
    v = FRACTION.value((yield FRACTION.tokens))
    position_3 = yield from read_height(room, symbol, room.plane(u, v), room.top)
    adsorbed.symbols.append(symbol)
    return adsorbed.grown.start(position_3)


def _links(
    written: _WrittenAtoms, label: tuple[str, int, int]
) -> Generator[Tokens, str, tuple[list[int], str]]:
    """Read the neighbours of the next heavy atom, its source first, and the bond length's token."""
    index = len(written.labels)
    reach = [a for a in written.sources(label) if index - a <= BACK.count]
    token = yield tuple(BACK.token(index - a) for a in reach)
    near = [index - int(BACK.value(token))]
    while True:
        closing, may_stop = written.rings(label, near)
        rings = tuple(RING.token(index - a) for a in closing)
        token = yield (*rings, *_BONDS) if may_stop else rings
        if token not in rings:
            written.add(label, near)
            return near, token
        near.append(index - int(RING.value(token)))


def _hydrogens(adsorbed: StreamAdsorbate, source: int, count: int) -> Generator[Tokens, str, None]:
    for _ in range(count):
        length = yield _BONDS
        yield from _bond(adsorbed, "H", [source], length)


def _bond(
    adsorbed: StreamAdsorbate, symbol: str, near: list[int], length: str
) -> Generator[Tokens, str, int]:
    """Read where an atom lies that is bonded to ``near``, seen from the first of them."""
    polar = yield POLAR.tokens
    stretch, angle = DISTANCE.value(length), POLAR.value(polar)
    positions_P3 = adsorbed.grown.around(near[0], stretch, angle, AZIMUTH.values)
    molecule = Molecule(adsorbed.symbols, adsorbed.positions, near)
    azimuth = yield adsorbed.room.bonding(symbol, AZIMUTH.tokens, positions_P3, molecule)
    adsorbed.symbols.append(symbol)
    return adsorbed.grown.grow(near[0], read_bond((length, polar, azimuth)))


def read_height(
    room: SlabClearance, symbol: str, plane_2: NDArray[np.float64], base: float
) -> Generator[Tokens, str, NDArray[np.float64]]:
    """Read how far above ``base`` an atom lies, and return its position."""
    steps = DISTANCE.values
    positions_P3 = np.column_stack([np.tile(plane_2, (len(steps), 1)), base + steps])
    token = yield room.fitting(symbol, DISTANCE.tokens, positions_P3)
    return np.append(plane_2, base + DISTANCE.value(token))
