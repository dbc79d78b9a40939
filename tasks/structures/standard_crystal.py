"""One form of a crystal, however it was written: cell, orientation, origin and order of atoms.

The symmetrised crystal is put in the conventional cell of Setyawan & Curtarolo (2010). What that
leaves open, the origin and the turns that keep the cell, is decided by taking the smallest form of
all: an atom of the rarest element at the origin, and the smallest sorted list of element and
fractional coordinates. A chiral crystal and its mirror image have two forms.

Shapes  M atoms of a cell; cells have vectors as rows.
Units   Å; fractional coordinates.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from tasks.errors import UserError
from tasks.structures.identity import fractional_grid
from tasks.structures.symmetrise import (
    STRICT_TOLERANCE_ANG,
    SYMMETRY_TOLERANCE_ANG,
    FoundSymmetry,
    IntegerRows,
    SymmetrisedCrystal,
    integer_rows,
    inverse_direction,
    symmetrise,
)

# A cell that differs by more is strained: 0.0025 Å are a thousandth of a copper-copper distance.
_SAME_CELL = 1 / 20  # of the symmetry tolerance
_SEARCHED_ANG = 0.01
_FEW = 8  # atoms that are compared before all others
_DECIMALS = 9  # equal crystals are equal floats: what is cut from them later has equal ids
_FIRST_TETRAGONAL = 75  # of the space groups
_L1_0 = 123
_L1_0_LEAST_C_OVER_A = 2**0.25  # halfway between B2 (1) and L1_0 with a cubic cell (the root of 2)
_Cell = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
_Operations = tuple[set[tuple[int, ...]], set[tuple[int, ...]]]  # rotations, and shifts in twelfths


@dataclass(frozen=True)
class StandardCrystal:
    """A crystal in its standard form.

    ``miller_33`` turns Miller indices of the cell it was written in into those of this one, up to
    a positive factor.
    """

    atoms: Atoms
    miller_33: IntegerRows
    symmetry: FoundSymmetry


def standard_crystal(
    atoms: Atoms, tolerance_ang: float = SYMMETRY_TOLERANCE_ANG
) -> StandardCrystal:
    """Return the standard form of a crystal, which depends on nothing but the crystal.

    Args:
        atoms: A crystal in any cell, positions in Å.
        tolerance_ang: The furthest that symmetrisation may move an atom, as in ``symmetrise``.

    Returns:
        The exact crystal in its conventional cell, right-handed, a along x and b in the xy plane.

    Raises:
        UserError: no symmetry is found.
    """
    ideal = symmetrise(atoms, tolerance_ang)
    ideal, turns = _conventional(ideal)
    ranks_M = _ranks(ideal.numbers_M)
    origins = np.flatnonzero(ranks_M == 0)
    forms = []
    for turn_33 in turns:
        turned_M3 = ideal.scaled_M3 @ np.linalg.inv(turn_33)
        scaled_OM3 = turned_M3[None] - turned_M3[origins, None]
        codes_OM = _codes(ranks_M, scaled_OM3)
        sorted_OM = np.sort(codes_OM, axis=1)
        first = min(range(len(origins)), key=lambda o: sorted_OM[o].tolist())
        forms.append((sorted_OM[first].tolist(), codes_OM[first], scaled_OM3[first], turn_33))
    _, codes_M, scaled_M3, turn_33 = min(forms, key=lambda form: form[0])
    order_M = np.argsort(codes_M, kind="stable")
    form = Atoms(
        ideal.numbers_M[order_M],
        scaled_positions=np.round(scaled_M3[order_M], _DECIMALS) % 1.0,
        cell=_upright(turn_33 @ ideal.cell_33),
        pbc=True,
    )
    return StandardCrystal(form, integer_rows(turn_33 @ ideal.miller_33), ideal.symmetry)


def _ranks(numbers_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each atom's element: the rarest first, then by symbol."""
    symbols = Atoms(numbers_M).get_chemical_symbols()
    counts = Counter(symbols)
    order = sorted(counts, key=lambda symbol: (counts[symbol], symbol))
    return np.array([order.index(symbol) for symbol in symbols])


def _codes(ranks_M: NDArray[np.int64], scaled_OM3: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a number for each atom that sorts by element and grid of coordinates."""
    steps_OM3 = fractional_grid(scaled_OM3).astype(np.int64)
    return np.asarray(ranks_M * 10**12 + steps_OM3 @ np.array([10**8, 10**4, 1]))


def _upright(cell_33: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a cell with a along x and b in the xy plane, and without the noise of rounding."""
    return np.asarray(cellpar_to_cell(np.round(cell_to_cellpar(cell_33), 7)))


def _conventional(
    ideal: SymmetrisedCrystal,
) -> tuple[SymmetrisedCrystal, list[NDArray[np.int64]]]:
    """Return a crystal, and the changes of its cell that make it conventional.

    Axes of cubic, tetragonal, trigonal and hexagonal cells are those of the International Tables;
    the others are ordered and reduced by pymatgen.
    """
    cell = (ideal.cell_33, ideal.scaled_M3, ideal.numbers_M)
    if _is_l1_0(ideal):
        ideal = _face_centred(ideal)
        cell = (ideal.cell_33, ideal.scaled_M3, ideal.numbers_M)
    target = cell if ideal.symmetry.number >= _FIRST_TETRAGONAL else _by_pymatgen(cell)
    own, wanted = _operations(cell), _operations(target)
    turns = isometries(ideal.cell_33, target[0], STRICT_TOLERANCE_ANG)
    kept = [turn_33 for turn_33 in turns if _turned(own, turn_33) == wanted]
    if not kept:
        raise UserError(
            f"no conventional cell of {ideal.symmetry.symbol} is found for this crystal; give it "
            "in another cell"
        )
    return ideal, kept


def _is_l1_0(ideal: SymmetrisedCrystal) -> bool:
    """Tell whether a crystal is an AB alloy of the CuAu type, which is named by its fcc cell."""
    c_over_a = ideal.cell_33[2, 2] / ideal.cell_33[0, 0]
    return (
        ideal.symmetry.number == _L1_0
        and len(set(ideal.numbers_M.tolist())) == len(ideal.numbers_M) == 2
        and np.allclose((ideal.scaled_M3[1] - ideal.scaled_M3[0]) % 1.0, 0.5, atol=1e-6)
        and c_over_a > _L1_0_LEAST_C_OVER_A
    )


def _face_centred(ideal: SymmetrisedCrystal) -> SymmetrisedCrystal:
    """Return L1_0 in its cell of four atoms, so that (111) means the close-packed plane."""
    change_33 = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    inverse_33 = np.linalg.inv(change_33)
    shifts_23 = np.array([[0, 0, 0], [1, 0, 0]])
    scaled_M3 = ((ideal.scaled_M3[:, None] + shifts_23) @ inverse_33).reshape(-1, 3)
    cell_33 = np.linalg.cholesky(change_33 @ ideal.cell_33 @ ideal.cell_33.T @ change_33.T)
    return SymmetrisedCrystal(
        cell_33,
        np.repeat(ideal.numbers_M, 2),
        scaled_M3 % 1.0,
        change_33 @ ideal.miller_33,
        ideal.symmetry,
    )


def _by_pymatgen(cell: _Cell) -> _Cell:
    """Return pymatgen's conventional cell; its axes count, for it may hold the mirror image."""
    structure = Structure(cell[0], Atoms(cell[2]).get_chemical_symbols(), cell[1])
    analyzer = SpacegroupAnalyzer(structure, symprec=STRICT_TOLERANCE_ANG)
    standard = analyzer.get_conventional_standard_structure()
    matrix_33 = standard.lattice.matrix
    numbers_M = np.array([site.specie.Z for site in standard])
    return np.linalg.cholesky(matrix_33 @ matrix_33.T), standard.frac_coords, numbers_M


def _operations(cell: _Cell) -> _Operations:
    """Return the rotations of a crystal and its centring, both exact."""
    found = spglib.get_symmetry_dataset(
        (cell[0].tolist(), cell[1].tolist(), cell[2].tolist()), symprec=STRICT_TOLERANCE_ANG
    )
    if found is None:
        raise UserError("spglib finds no symmetry in this crystal: check for overlapping atoms")
    still_S = (found.rotations == np.eye(3)).all(axis=(1, 2))
    return (
        {tuple(turn) for turn in found.rotations.reshape(-1, 9).tolist()},
        {_twelfths(shift_3) for shift_3 in found.translations[still_S]},
    )


def _twelfths(shift_3: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple((np.rint(shift_3 * 12).astype(int) % 12).tolist())


def _turned(operations: _Operations, turn_33: NDArray[np.int64]) -> _Operations:
    """Return operations in the cell ``turn_33 @ cell``."""
    inverse_33 = np.rint(np.linalg.inv(turn_33)).astype(np.int64)
    rotations, shifts = operations
    turned_S33 = inverse_33.T @ np.array(list(rotations)).reshape(-1, 3, 3) @ turn_33.T
    return (
        {tuple(turn) for turn in turned_S33.reshape(-1, 9).tolist()},
        {_twelfths(np.array(shift) @ inverse_33 / 12) for shift in shifts},
    )


@cache
def _whole_vectors(reach: int) -> NDArray[np.int64]:
    return np.array(list(product(range(-reach, reach + 1), repeat=3)))


def isometries(
    cell_33: NDArray[np.float64],
    other_33: NDArray[np.float64],
    tolerance_ang: float,
    reach: int = 2,
) -> list[NDArray[np.int64]]:
    """Return the integer matrices T, of determinant 1, by which T @ cell has the shape of another.

    Args:
        cell_33: A right-handed cell of reduced vectors.
        other_33: The cell whose lengths and angles are wanted, right-handed.
        tolerance_ang: By how much lengths of vectors, and of their sums, may differ.
        reach: The largest number in a matrix.

    Returns:
        The matrices in ascending order of their rows, the identity first.
    """
    whole_V3 = _whole_vectors(reach)
    lengths_V = np.linalg.norm(whole_V3 @ cell_33, axis=1)
    wanted_3 = np.linalg.norm(other_33, axis=1)
    rows = [whole_V3[np.abs(lengths_V - wanted) < tolerance_ang] for wanted in wanted_3]
    grid = np.meshgrid(*(np.arange(len(each)) for each in rows), indexing="ij")
    turns_T33 = np.stack([rows[i][grid[i].ravel()] for i in range(3)], axis=1)
    metric_33, aim_33 = cell_33 @ cell_33.T, other_33 @ other_33.T
    for i, j in ((0, 1), (0, 2), (1, 2)):
        dots_T = np.einsum("ta,ab,tb->t", turns_T33[:, i], metric_33, turns_T33[:, j])
        allowed = tolerance_ang * (wanted_3[i] + wanted_3[j])
        turns_T33 = turns_T33[np.abs(dots_T - aim_33[i, j]) < allowed]
    proper = np.rint(np.linalg.det(turns_T33)) == 1
    kept = [np.asarray(turn_33) for turn_33 in turns_T33[proper]]
    return sorted(kept, key=lambda turn: ((turn != np.eye(3)).any(), turn.tolist()))


@dataclass(frozen=True)
class PrimitiveCrystal:
    """The smallest cell of a crystal, as crystals are compared by it."""

    cell_33: NDArray[np.float64]
    numbers_A: NDArray[np.int64]
    scaled_A3: NDArray[np.float64]
    conventional_33: NDArray[np.int64]  # the vectors of the given cell in those of this one
    space_group: int


def primitive_crystal(atoms: Atoms) -> PrimitiveCrystal:
    """Return the primitive cell of an exact crystal."""
    cell_33, scaled_N3 = atoms.cell.array, atoms.get_scaled_positions()
    found = spglib.get_symmetry_dataset(
        (cell_33.tolist(), scaled_N3.tolist(), atoms.numbers.tolist()), symprec=_SEARCHED_ANG
    )
    if found is None:
        raise UserError("spglib finds no symmetry in this crystal: check for overlapping atoms")
    primitive_33 = np.asarray(found.primitive_lattice)
    if np.linalg.det(primitive_33) < 0:
        primitive_33 = -primitive_33
    _, first_A = np.unique(found.mapping_to_primitive, return_index=True)
    inverse_33 = np.linalg.inv(primitive_33)
    return PrimitiveCrystal(
        primitive_33,
        atoms.numbers[first_A],
        atoms.positions[first_A] @ inverse_33,
        np.rint(cell_33 @ inverse_33).astype(np.int64),
        int(found.number),
    )


@dataclass(frozen=True)
class CrystalMatch:
    """How one crystal lies on another: the furthest atom, and the matrix for Miller indices."""

    displacement_ang: float
    miller_33: NDArray[np.int64]


def match_crystals(
    one: PrimitiveCrystal, other: PrimitiveCrystal, tolerance_ang: float
) -> CrystalMatch | None:
    """Return how ``one`` lies on ``other`` best, None where they are two crystals.

    They are one where a turn and a shift lay all atoms on those of the other within the tolerance
    and the vectors of the primitive cell within a twentieth of it. Mirror images are two, and so
    are crystals of two space groups: their surfaces are others. (pymatgen's StructureMatcher takes
    mirror images for one crystal.)

    Args:
        one: A crystal in its primitive cell.
        other: Another one.
        tolerance_ang: The furthest that two atoms may be apart.

    Returns:
        The largest displacement (Å) and the matrix for Miller indices of the best match.
    """
    if one.space_group != other.space_group:
        return None
    if sorted(one.numbers_A.tolist()) != sorted(other.numbers_A.tolist()):
        return None
    best: CrystalMatch | None = None
    for turn_33 in isometries(one.cell_33, other.cell_33, tolerance_ang * _SAME_CELL):
        away_ang = _displacement(one, other, turn_33, tolerance_ang)
        if away_ang <= min(tolerance_ang, best.displacement_ang - 1e-6 if best else np.inf):
            miller_33 = other.conventional_33 @ turn_33 @ inverse_direction(one.conventional_33)
            best = CrystalMatch(away_ang, miller_33)
    return best


def _displacement(
    one: PrimitiveCrystal,
    other: PrimitiveCrystal,
    turn_33: NDArray[np.int64],
    tolerance_ang: float,
) -> float:
    """Return the least furthest distance (Å) of atoms from those they come to lie on.

    It is infinite where one is beyond the tolerance.
    """
    turned_A3 = one.scaled_A3 @ np.linalg.inv(turn_33)
    ranks_A, ranks_B = _ranks(one.numbers_A), _ranks(other.numbers_A)
    anchor_3 = other.scaled_A3[ranks_B == 0][0]
    strange_AB = one.numbers_A[:, None] != other.numbers_A[None]
    best_ang = np.inf
    for origin_3 in turned_A3[ranks_A == 0]:
        shifted_A3 = turned_A3 - origin_3 + anchor_3
        # In large disordered cells a few atoms tell most origins apart. Off is the origin by up to
        # the tolerance, and an atom by as much again.
        few_AB3 = _nearest_images(shifted_A3[:_FEW], other)
        few_AB = np.linalg.norm(few_AB3, axis=2) + 1e3 * strange_AB[:_FEW]
        if few_AB.min(axis=1).max() > 2.0 * tolerance_ang + 1e-6:
            continue
        off_AB3 = _nearest_images(shifted_A3, other)
        distance_AB = np.linalg.norm(off_AB3, axis=2) + 1e3 * strange_AB
        nearest_A = distance_AB.argmin(axis=1)
        if len(set(nearest_A.tolist())) == len(nearest_A):
            off_A3 = off_AB3[np.arange(len(nearest_A)), nearest_A]
            away_A = np.linalg.norm(off_A3 - off_A3.mean(axis=0), axis=1)
            best_ang = min(best_ang, float(away_A.max()))
    return best_ang


def _nearest_images(scaled_A3: NDArray[np.float64], other: PrimitiveCrystal) -> NDArray[np.float64]:
    """Return the vectors (Å) from positions to the nearest images of another crystal's atoms."""
    # Rounding finds any image as near as a tolerance; it need not find the nearest of far ones.
    off_AB3 = other.scaled_A3[None] - scaled_A3[:, None]
    return np.asarray((off_AB3 - np.rint(off_AB3)) @ other.cell_33)
