"""An adslab as a short list of tokens, and back.

A stream says, in this order, and nothing else is needed to rebuild the structure:

1. the Miller index that the surface goes by: three multiples;
2. the slab's primitive in-plane vectors (p, 0) and (q, r) and the height of the cell, each as whole
   Å and hundredths; four multiples of the primitive vectors that make the cell;
3. the atoms of the slab in one primitive cell, bottom-up: ``<surface>`` before those of tag 1,
   element, two fractions of the primitive vectors counted from the topmost atom, and the step in
   height from the atom before;
4. ``<adsorbate>`` and its heavy atoms, depth first from the lowest one. The first: element,
   label (its hydrogens and bonds), fractions and height above the slab's topmost atom. Each
   further one: element, label, which earlier atom it is bonded to, with which others it closes a
   ring, bond length, angle and turn (``model.generation.stream_coordinates``). Hydrogens follow
   their atom as length, angle and turn; those of the first atom come last, after its element and
   label again.

Structures of a screening and of the FG set take 30 to 220 tokens, relaxed slabs, which repeat
nowhere, about four for each atom.

What is lost: translations in the plane, a turn about z (the first cell vector comes to lie along
x), the order of atoms. Else, each bin being half a step off at most: cell vectors are off by
0.0075 Å for each primitive vector in them, heights by 0.01 Å, fractions by 1/480, distances within
an adsorbate by 0.13 Å at the very worst (0.02 Å typically) as no error is handed on.

Shapes  N atoms, K primitive cells.
Units   Å, degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from model.contract import ADSORBATE_TAG, SURFACE_TAG
from model.errors import ModelError
from model.generation.skeleton import BondedMolecule, bond_graph
from model.generation.stream_coordinates import (
    SAME_ANG,
    GrowingMolecule,
    PlaneLattice,
    Polar,
    plane_lattice,
)
from model.text.stream_tokens import (
    ADSORBATE,
    AZIMUTH,
    BACK,
    DISTANCE,
    FRACTION,
    HUNDREDTHS,
    POLAR,
    REPEAT,
    RING,
    SURFACE,
    WHOLE,
    label_token,
)

_LAYER_ANG = 0.1  # atoms within it are one layer, written in the order of their in-plane positions
_FIRST_TURN_DEG = 30.0  # hydrogens are written from this far before the reference on


@dataclass(frozen=True)
class Structure:
    """An adslab: a along x, b in the xy plane, c along z; tags 0 bulk, 1 surface, 2 adsorbate."""

    numbers_N: NDArray[np.int64]
    positions_N3: NDArray[np.float64]
    cell_33: NDArray[np.float64]
    tags_N: NDArray[np.int64]
    miller: tuple[int, int, int]


def encode_stream(structure: Structure) -> list[str]:
    """Return the stream of a structure.

    Args:
        structure: Adslab (Å) with tags 0 and 1 in its slab and 2 in its adsorbate; its third
            cell vector is along z.

    Returns:
        Tokens of the Miller index, the cell, the slab and the adsorbate, in this order.

    Raises:
        ModelError: the cell is not upright, the adsorbate is not one molecule, or a number is
            outside the range of its tokens.
    """
    _require_upright(structure)
    in_slab_N = structure.tags_N != ADSORBATE_TAG
    if in_slab_N.all() or not in_slab_N.any():
        raise ModelError(
            "a stream writes a slab (tags 0, 1) and an adsorbate (tag 2), one is empty"
        )
    slab = _part(structure, in_slab_N)
    lattice = plane_lattice(
        slab.numbers_N, slab.positions_N3, slab.tags_N, structure.cell_33[:2, :2]
    )
    origin_3 = slab.positions_N3[_topmost(slab)]
    molecule = bond_graph(
        structure.numbers_N[~in_slab_N], structure.positions_N3[~in_slab_N], structure.cell_33
    )
    return [
        *(REPEAT.token(index) for index in structure.miller),
        *_cell_tokens(lattice, float(structure.cell_33[2, 2])),
        *_slab_tokens(slab, lattice, origin_3),
        ADSORBATE,
        *_MoleculeWriter(molecule, lattice, origin_3).tokens(),
    ]


def primitive_vectors(p: float, q: float, r: float) -> NDArray[np.float64]:
    """Return the primitive vectors (rows) that a stream's three lengths stand for."""
    return np.array([[p, 0.0], [q, r]])


def length_tokens(length_ang: float) -> list[str]:
    """Return a cell length as whole Å and hundredths."""
    hundredths = round(100 * length_ang)
    return [WHOLE.token(hundredths // 100), HUNDREDTHS.token(hundredths % 100)]


def rounded_length(length_ang: float) -> float:
    """Return the length that ``length_tokens`` stands for."""
    return round(100 * length_ang) / 100


def read_bond(tokens: Sequence[str]) -> Polar:
    """Return the bond that a length, an angle and a turn stand for."""
    length, polar, azimuth = tokens
    return Polar(DISTANCE.value(length), POLAR.value(polar), AZIMUTH.value(azimuth))


def _cell_tokens(lattice: PlaneLattice, height_ang: float) -> list[str]:
    (p, _), (q, r) = lattice.primitive_22
    lengths = [
        token for length in (p, max(q, 0.0), r, height_ang) for token in length_tokens(length)
    ]
    return [*lengths, *(REPEAT.token(repeat) for repeat in lattice.repeats_22.ravel().tolist())]


def _slab_tokens(
    slab: Structure, lattice: PlaneLattice, origin_3: NDArray[np.float64]
) -> list[str]:
    scaled_N2 = _scaled(slab.positions_N3 - origin_3, lattice)
    z_N = slab.positions_N3[:, 2] - slab.positions_N3[:, 2].min()
    tokens: list[str] = []
    height = 0.0
    for atom in _one_of_each(slab, scaled_N2, z_N, lattice):
        tokens += [SURFACE] if slab.tags_N[atom] == SURFACE_TAG else []
        step = DISTANCE.token(z_N[atom] - height)
        height += DISTANCE.value(step)
        tokens += [chemical_symbols[slab.numbers_N[atom]], *_fractions(scaled_N2[atom]), step]
    return tokens


def _one_of_each(
    slab: Structure,
    scaled_N2: NDArray[np.float64],
    z_N: NDArray[np.float64],
    lattice: PlaneLattice,
) -> list[int]:
    """Return one slab atom for each site of the primitive cell, bottom-up."""
    bins_N2 = np.rint(scaled_N2 * FRACTION.count).astype(np.int64) % FRACTION.count
    layer_N = np.rint(z_N / _LAYER_ANG)
    order = np.lexsort((slab.numbers_N, bins_N2[:, 1], bins_N2[:, 0], layer_N))
    kept: list[int] = []
    for atom in order.tolist():
        apart_K2 = scaled_N2[kept] - scaled_N2[atom]
        # Rounding finds any image as near as the limit; it need not find the nearest of far ones.
        apart_K2 = (apart_K2 - np.rint(apart_K2)) @ lattice.primitive_22
        apart_K3 = np.column_stack([apart_K2, z_N[kept] - z_N[atom]])
        if not (np.linalg.norm(apart_K3, axis=1) < 5 * SAME_ANG).any():
            kept.append(atom)
    if len(kept) * lattice.cells != len(slab.numbers_N):
        raise ModelError(
            f"{len(slab.numbers_N)} slab atoms are not {lattice.cells} times the {len(kept)} of a "
            "primitive cell: two of them lie on one another"
        )
    return kept


class _MoleculeWriter:
    """Writes an adsorbate, measuring each atom from where the bins put those before it."""

    def __init__(
        self, molecule: BondedMolecule, lattice: PlaneLattice, origin_3: NDArray[np.float64]
    ):
        self.skeleton = molecule.skeleton
        self.molecule = molecule
        p, q, r = (rounded_length(x) for x in lattice.primitive_22[[0, 1, 1], [0, 0, 1]])
        self.primitive_22 = primitive_vectors(p, max(q, 0.0), r)
        self.lattice = lattice
        seen_A3 = molecule.positions_A3 - origin_3
        self.wanted_A3 = np.column_stack([seen_A3[:, :2] @ lattice.turn_22, seen_A3[:, 2]])
        self.scaled_A2 = _scaled(seen_A3, lattice)
        self.grown = GrowingMolecule()
        self.index: dict[int, int] = {}  # atom of the adsorbate -> atom of the grown molecule

    def tokens(self) -> list[str]:
        """Return the tokens after ``<adsorbate>``."""
        heavy = self.molecule.heavy
        heights = [float(self.wanted_A3[atom, 2]) for atom in heavy]
        ranks = self.skeleton.ranks()
        root = min(range(len(heavy)), key=lambda a: (round(heights[a], 1), ranks[a], heights[a]))
        order = self.skeleton.walk(root, heights)
        written = [*self._element(root), *self._first(heavy[root])]
        if len(order) == 1:
            return [*written, *self._hydrogens(root)]
        for index, (atom, source) in enumerate(order[1:], start=1):
            written += self._element(atom)
            written += self._links(order, index, atom, source)
            written += [*self._bond(heavy[atom], heavy[source]), *self._hydrogens(atom)]
        if self.molecule.hydrogens[root]:
            written += [*self._element(root), *self._hydrogens(root)]
        return written

    def _element(self, atom: int) -> list[str]:
        symbol, hydrogens, bonds = self.skeleton.label(atom)
        return [symbol, label_token(hydrogens, bonds)]

    def _first(self, atom: int) -> list[str]:
        tokens = [*_fractions(self.scaled_A2[atom]), DISTANCE.token(self.wanted_A3[atom, 2])]
        scaled_2 = np.array([FRACTION.value(token) for token in tokens[:2]]) / FRACTION.count
        start_3 = np.append(scaled_2 @ self.primitive_22, DISTANCE.value(tokens[2]))
        shift_2 = start_3[:2] - self.wanted_A3[atom, :2]
        self.wanted_A3 = self.wanted_A3 + np.append(shift_2, 0.0)
        self.index[atom] = self.grown.start(start_3)
        return tokens

    def _links(self, order: list[tuple[int, int]], index: int, atom: int, source: int) -> list[str]:
        earlier = [a for a, _ in order[:index]]
        near = self.skeleton.neighbours[atom]
        rings = [index - at for at, a in enumerate(earlier) if a in near and a != source]
        back = BACK.token(index - earlier.index(source))
        return [back, *(RING.token(step) for step in rings)]

    def _bond(self, atom: int, source: int) -> list[str]:
        start = self.index[source]
        bond = self.grown.polar(start, self.wanted_A3[atom])
        tokens = [
            DISTANCE.token(bond.length_ang),
            POLAR.token(bond.polar_deg),
            AZIMUTH.token(bond.azimuth_deg),
        ]
        self.index[atom] = self.grown.grow(start, read_bond(tokens))
        return tokens

    def _hydrogens(self, atom: int) -> list[str]:
        """Return the bonds of an atom's hydrogens, each time the one with the smallest turn."""
        source = self.molecule.heavy[atom]
        left = list(self.molecule.hydrogens[atom])
        tokens: list[str] = []
        while left:
            turns = [self._turn(source, hydrogen) for hydrogen in left]
            hydrogen = left.pop(int(np.argmin(turns)))
            tokens += self._bond(hydrogen, source)
        return tokens

    def _turn(self, source: int, atom: int) -> float:
        bond = self.grown.polar(self.index[source], self.wanted_A3[atom])
        return (bond.azimuth_deg + _FIRST_TURN_DEG) % 360.0


def _part(structure: Structure, chosen_N: NDArray[np.bool_]) -> Structure:
    return Structure(
        structure.numbers_N[chosen_N],
        structure.positions_N3[chosen_N],
        structure.cell_33,
        structure.tags_N[chosen_N],
        structure.miller,
    )


def _topmost(slab: Structure) -> int:
    """Return the highest atom; of a layer the one of the lightest element, then the first."""
    layer_N = np.rint(slab.positions_N3[:, 2] / _LAYER_ANG)
    return int(np.lexsort((slab.numbers_N, -layer_N))[0])


def _scaled(apart_N3: NDArray[np.float64], lattice: PlaneLattice) -> NDArray[np.float64]:
    """Return fractions of the primitive vectors."""
    turned_N2 = apart_N3[:, :2] @ lattice.turn_22
    return np.asarray(turned_N2 @ np.linalg.inv(lattice.primitive_22))


def _fractions(scaled_2: NDArray[np.float64]) -> list[str]:
    return [FRACTION.token(float(value) * FRACTION.count) for value in scaled_2]


def _require_upright(structure: Structure) -> None:
    (_, ay, az), (_, _, bz), (cx, cy, cz) = structure.cell_33
    off = max(abs(value) for value in (ay, az, bz, cx, cy))
    if off > 1e-3 or cz <= 0 or np.linalg.det(structure.cell_33) <= 0:
        raise ModelError(
            "a stream writes right-handed cells with a along x, b in the xy plane and c along z; "
            f"this one is off by {off:.3f} Å"
        )
