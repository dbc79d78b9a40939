"""The bond graph of an adsorbate: heavy atoms, the hydrogens on each, and their bonds.

Two atoms are bonded when they are nearer than 1.25 (r_i + r_j), covalent radii, as in
``tasks.structures.orientation``. A hydrogen with one bond, to an atom that is no hydrogen, counts
on that atom; any other hydrogen (H2, a bridge) is a heavy atom of the graph.

Shapes  A atoms of the adsorbate.
Units   Å.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from model.errors import ModelError

BOND_FACTOR = 1.25
_AROUND_I3 = np.array([[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)


@dataclass(frozen=True)
class Skeleton:
    """Heavy atoms (symbol, hydrogens) and the bonds (i, j), i < j, between them."""

    atoms: tuple[tuple[str, int], ...]
    bonds: tuple[tuple[int, int], ...]

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Return the heavy atoms bonded to each heavy atom, in index order."""
        found: list[list[int]] = [[] for _ in self.atoms]
        for i, j in self.bonds:
            found[i].append(j)
            found[j].append(i)
        return tuple(tuple(sorted(around)) for around in found)

    @cached_property
    def formula(self) -> dict[str, int]:
        """Return how many atoms of each element there are, hydrogens included."""
        counts = Counter(symbol for symbol, _ in self.atoms)
        counts["H"] += sum(hydrogens for _, hydrogens in self.atoms)
        return {symbol: count for symbol, count in sorted(counts.items()) if count}

    def label(self, atom: int) -> tuple[str, int, int]:
        """Return symbol, hydrogens and number of heavy neighbours of an atom."""
        return (*self.atoms[atom], len(self.neighbours[atom]))

    def ranks(self) -> list[int]:
        """Return a rank for each atom that depends on its surroundings alone (Weisfeiler-Leman)."""
        ranks = _ranked([self.label(atom) for atom in range(len(self.atoms))])
        for _ in self.atoms:
            around = [
                (rank, *sorted(ranks[j] for j in self.neighbours[atom]))
                for atom, rank in enumerate(ranks)
            ]
            ranks = _ranked(around)
        return ranks

    def is_same(self, other: "Skeleton") -> bool:
        """Return whether the two graphs are isomorphic."""
        if self.formula != other.formula or len(self.bonds) != len(other.bonds):
            return False
        match = SkeletonMatch([self])
        order = other.walk(0)
        for step, (atom, _) in enumerate(order):
            placed = {earlier: index for index, (earlier, _) in enumerate(order[:step])}
            bonded = {placed[j] for j in other.neighbours[atom] if j in placed}
            match = match.extended(other.label(atom), bonded)
        return match.is_complete

    def walk(self, root: int, height: Sequence[float] | None = None) -> list[tuple[int, int]]:
        """Return (atom, atom it is reached from) depth first; the root is reached from -1.

        Of several neighbours the one with the lower rank comes first, then the lower ``height``.
        """
        ranks = self.ranks()
        level = [0.0] * len(self.atoms) if height is None else [round(h, 2) for h in height]
        order: list[tuple[int, int]] = []
        seen: set[int] = set()

        def visit(atom: int, source: int) -> None:
            seen.add(atom)
            order.append((atom, source))
            for near in sorted(self.neighbours[atom], key=lambda j: (ranks[j], level[j], j)):
                if near not in seen:
                    visit(near, atom)

        visit(root, -1)
        return order

    def to_text(self) -> str:
        """Return the graph in short, ``C3 C2 O1 0-1 1-2``: symbol and hydrogens, then bonds."""
        atoms = [f"{symbol}{hydrogens}" for symbol, hydrogens in self.atoms]
        return " ".join([*atoms, *(f"{i}-{j}" for i, j in self.bonds)])

    @classmethod
    def from_text(cls, text: str) -> "Skeleton":
        """Rebuild the graph that ``to_text`` wrote."""
        atoms = re.findall(r"([A-Z][a-z]?)(\d+)", text)
        bonds = re.findall(r"(\d+)-(\d+)", text)
        return cls(
            tuple((symbol, int(hydrogens)) for symbol, hydrogens in atoms),
            tuple((int(i), int(j)) for i, j in bonds),
        )


@dataclass(frozen=True)
class BondedMolecule:
    """An adsorbate with its graph: positions in one image, indices of heavy atoms and hydrogens."""

    skeleton: Skeleton
    heavy: tuple[int, ...]  # atom of the adsorbate for each atom of the skeleton
    hydrogens: tuple[tuple[int, ...], ...]  # on each atom of the skeleton
    positions_A3: NDArray[np.float64]


def bond_graph(
    numbers_A: NDArray[np.int64],
    positions_A3: NDArray[np.float64],
    cell_33: NDArray[np.float64] | None = None,
) -> BondedMolecule:
    """Return the graph of an adsorbate; bonds may cross the in-plane borders of ``cell_33``.

    Args:
        numbers_A: Atomic numbers.
        positions_A3: Å.
        cell_33: Cell vectors (Å) whose a and b repeat; None for a molecule in free space.

    Returns:
        The heavy atoms and their bonds, the hydrogens of each, and positions (Å) of one image.

    Raises:
        ModelError: the atoms do not hang together, or there are none.
    """
    if len(numbers_A) == 0:
        raise ModelError("an adsorbate has at least one atom, got none")
    vectors_AA3, is_bond_AA = _bonds(numbers_A, positions_A3, cell_33)
    joined_A3 = _joined(positions_A3, vectors_AA3, is_bond_AA)
    heavy = _heavy(numbers_A, is_bond_AA)
    index_of = {atom: index for index, atom in enumerate(heavy)}
    hydrogens = tuple(
        tuple(j for j in np.flatnonzero(is_bond_AA[i]).tolist() if j not in index_of) for i in heavy
    )
    bonds = tuple(
        (index_of[i], index_of[j]) for i in heavy for j in heavy if i < j and is_bond_AA[i, j]
    )
    atoms = tuple(
        (chemical_symbols[numbers_A[i]], len(held))
        for i, held in zip(heavy, hydrogens, strict=True)
    )
    return BondedMolecule(Skeleton(atoms, bonds), tuple(heavy), hydrogens, joined_A3)


def _bonds(
    numbers_A: NDArray[np.int64],
    positions_A3: NDArray[np.float64],
    cell_33: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the shortest vectors from i to j and whether i and j are bonded."""
    vectors_AA3 = positions_A3[None] - positions_A3[:, None]
    if cell_33 is not None:
        scaled_AA3 = vectors_AA3 @ np.linalg.inv(cell_33)
        home_AA3 = (scaled_AA3 - np.rint(scaled_AA3)) @ cell_33
        images_IAA3 = home_AA3 + (_AROUND_I3 @ cell_33)[:, None, None]
        nearest_AA = np.linalg.norm(images_IAA3, axis=-1).argmin(axis=0)
        vectors_AA3 = np.take_along_axis(images_IAA3, nearest_AA[None, ..., None], axis=0)[0]
    radii_A = covalent_radii[numbers_A]
    limit_AA = BOND_FACTOR * (radii_A[:, None] + radii_A[None])
    is_bond_AA = np.linalg.norm(vectors_AA3, axis=-1) < limit_AA
    np.fill_diagonal(is_bond_AA, False)
    return vectors_AA3, is_bond_AA


def _joined(
    positions_A3: NDArray[np.float64],
    vectors_AA3: NDArray[np.float64],
    is_bond_AA: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return positions with every atom in the image that is bonded to the first one's."""
    joined_A3 = positions_A3.copy()
    reached, front = {0}, [0]
    while front:
        i = front.pop()
        for j in np.flatnonzero(is_bond_AA[i]).tolist():
            if j not in reached:
                joined_A3[j] = joined_A3[i] + vectors_AA3[i, j]
                reached.add(j)
                front.append(j)
    if len(reached) < len(joined_A3):
        raise ModelError(
            f"an adsorbate is one molecule; {len(joined_A3) - len(reached)} of its "
            f"{len(joined_A3)} atoms do not hang together with the rest"
        )
    return joined_A3


def _heavy(numbers_A: NDArray[np.int64], is_bond_AA: NDArray[np.bool_]) -> list[int]:
    """Return the atoms that are not hydrogens on another one."""
    heavy = []
    for atom, number in enumerate(numbers_A.tolist()):
        near = np.flatnonzero(is_bond_AA[atom])
        if number != 1 or len(near) != 1 or (numbers_A[near[0]] == 1 and atom < near[0]):
            heavy.append(atom)
    return heavy


def _ranked(keys: Sequence[tuple[object, ...]]) -> list[int]:
    order = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


class SkeletonMatch:
    """The ways in which the atoms written so far fit onto the given graphs.

    A graph stays possible while the written part is an induced, connected part of it, so
    that it can always be completed.
    """

    def __init__(
        self,
        skeletons: Sequence[Skeleton],
        maps: Iterable[tuple[int, tuple[int, ...]]] | None = None,
    ):
        self._skeletons = skeletons
        empty: list[tuple[int, tuple[int, ...]]] = [(s, ()) for s in range(len(skeletons))]
        self._maps = empty if maps is None else sorted(set(maps))

    @property
    def is_complete(self) -> bool:
        """Return whether the atoms written so far are a whole graph."""
        return any(len(m) == len(self._skeletons[s].atoms) for s, m in self._maps)

    def next_atoms(self) -> list[tuple[tuple[str, int, int], frozenset[int]]]:
        """Return label and written neighbours of every atom that may come next."""
        found = {
            (self._skeletons[s].label(atom), self._written(s, m, atom))
            for s, m in self._maps
            for atom in self._open(s, m)
        }
        return sorted(found, key=lambda pair: (pair[0], sorted(pair[1])))

    def extended(self, label: tuple[str, int, int], neighbours: Iterable[int]) -> "SkeletonMatch":
        """Return the matches left when the next atom has this label and written neighbours."""
        written = frozenset(neighbours)
        return SkeletonMatch(
            self._skeletons,
            [
                (s, (*m, atom))
                for s, m in self._maps
                for atom in self._open(s, m)
                if self._skeletons[s].label(atom) == label and self._written(s, m, atom) == written
            ],
        )

    def _open(self, s: int, placed: tuple[int, ...]) -> list[int]:
        atoms = [a for a in range(len(self._skeletons[s].atoms)) if a not in placed]
        if not placed:
            return atoms
        return [a for a in atoms if set(self._skeletons[s].neighbours[a]) & set(placed)]

    def _written(self, s: int, placed: tuple[int, ...], atom: int) -> frozenset[int]:
        near = self._skeletons[s].neighbours[atom]
        return frozenset(index for index, other in enumerate(placed) if other in near)
