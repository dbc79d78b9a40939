"""The symmetry of a crystal within a tolerance, and the crystal made exactly so.

Relaxed and rounded files hold atoms that are off their ideal positions by a hundredth of an Å. The
largest space group is taken in which no atom, and no end of a cell vector, has to move further
than the tolerance; each position then is the mean over all operations, so that noise averages out
and nothing depends on the order of the atoms.

Shapes  N atoms as given, M atoms of the standard cell, S operations; cells have vectors as rows.
Units   Å; fractional coordinates x' = W x + w.
"""

from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tasks.errors import UserError

SYMMETRY_TOLERANCE_ANG = 0.05
STRICT_TOLERANCE_ANG = 1e-3
# Atoms off by the tolerance in opposite directions differ by twice as much, and the origin that
# spglib takes is off as well; what moves atoms too far is left for the next search.
_SEARCHES = (3.0, 2.4, 2.0, 1.4, 1.0, 0.5, 0.2)
_CENTRING_STEPS = 50
IntegerRows = tuple[tuple[int, ...], ...]
IDENTITY_ROWS: IntegerRows = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class FoundSymmetry:
    """The space group of a crystal within a tolerance (Å), and what it is at 0.001 Å.

    ``displacement_ang`` is the furthest that an atom, or an end of a cell vector, was moved.
    """

    number: int
    symbol: str
    strict_number: int
    strict_symbol: str
    tolerance_ang: float
    displacement_ang: float

    def word(self) -> str:
        """Return a note where the file itself is less symmetric, else an empty string."""
        if self.number == self.strict_number:
            return ""
        return (
            f"{self.symbol} ({self.number}) within {self.tolerance_ang:g} Å, atoms moved by up to "
            f"{self.displacement_ang:.3f} Å; {self.strict_symbol} ({self.strict_number}) as written"
        )


@dataclass(frozen=True)
class SymmetrisedCrystal:
    """A crystal in the standard cell of its space group (International Tables), made exact.

    ``miller_33`` turns a Miller index of the cell as given into one of this cell: a whole multiple
    of ``miller_33 @ (h, k, l)``.
    """

    cell_33: NDArray[np.float64]
    numbers_M: NDArray[np.int64]
    scaled_M3: NDArray[np.float64]
    miller_33: NDArray[np.int64]
    symmetry: FoundSymmetry


def symmetrise(atoms: Atoms, tolerance_ang: float = SYMMETRY_TOLERANCE_ANG) -> SymmetrisedCrystal:
    """Return a crystal with the symmetry that it has within a tolerance.

    Distortions by less than the tolerance are not seen: at 0.05 Å a tetragonal cell of 4 Å with
    c/a below about 1.015, or an octahedron tilted by less than a degree, counts as cubic.

    Args:
        atoms: A crystal in any cell, positions in Å.
        tolerance_ang: The furthest that an atom may move, at least 0.01.

    Returns:
        The exact crystal in its standard cell, right-handed, a along x and b in the xy plane.

    Raises:
        UserError: spglib finds no symmetry at any tolerance.
    """
    cell = (
        atoms.cell.array.tolist(),
        atoms.get_scaled_positions().tolist(),
        atoms.numbers.tolist(),
    )
    strict = _dataset(cell, STRICT_TOLERANCE_ANG)
    for factor in _SEARCHES:
        found = _averaged(atoms, _dataset(cell, factor * tolerance_ang), strict, tolerance_ang)
        if found is not None:
            return found
    found = _averaged(atoms, strict, strict, tolerance_ang)
    if found is None:
        raise UserError("spglib finds no symmetry in this crystal: check for overlapping atoms")
    return found


def _dataset(
    cell: tuple[list[list[float]], list[list[float]], list[int]], symprec: float
) -> spglib.SpglibDataset | None:
    try:
        return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError:  # which of the two it does on failure is a setting of spglib
        return None


def _averaged(
    atoms: Atoms,
    dataset: spglib.SpglibDataset | None,
    strict: spglib.SpglibDataset | None,
    tolerance_ang: float,
) -> SymmetrisedCrystal | None:
    """Return the crystal averaged over a space group, None where that moves it too far."""
    strict = strict or dataset
    if dataset is None or strict is None or len(dataset.rotations) < len(strict.rotations):
        return None
    to_standard_33 = np.asarray(dataset.transformation_matrix)
    raw_33 = np.linalg.inv(to_standard_33).T @ atoms.cell.array
    database = spglib.get_symmetry_from_database(dataset.hall_number) or {}
    rotations_S33, translations_S3 = database["rotations"], database["translations"]
    metric_33 = np.mean(
        [turn.T @ raw_33 @ raw_33.T @ turn for turn in rotations_S33.astype(np.float64)], axis=0
    )
    cell_33 = np.linalg.cholesky(metric_33)
    strained_ang = _strain(raw_33, cell_33)
    scaled_N3 = atoms.get_scaled_positions() @ to_standard_33.T + dataset.origin_shift
    means = _mean_positions(atoms.numbers, scaled_N3, rotations_S33, translations_S3, dataset)
    if means is None:
        return None
    scaled_M3, away_N3 = means
    moved_ang = float(np.linalg.norm(away_N3 @ cell_33, axis=1).max())
    displacement_ang = max(strained_ang, moved_ang)
    if displacement_ang > tolerance_ang:
        return None
    primitive_33 = np.asarray(dataset.primitive_lattice)
    given_33 = np.rint(atoms.cell.array @ np.linalg.inv(primitive_33)).astype(np.int64)
    standard_33 = np.rint(raw_33 @ np.linalg.inv(primitive_33)).astype(np.int64)
    return SymmetrisedCrystal(
        cell_33,
        np.asarray(dataset.std_types, dtype=np.int64),
        scaled_M3,
        standard_33 @ inverse_direction(given_33),
        FoundSymmetry(
            int(dataset.number),
            str(dataset.international),
            int(strict.number),
            str(strict.international),
            tolerance_ang,
            displacement_ang,
        ),
    )


def integer_rows(matrix_33: NDArray[np.int64]) -> IntegerRows:
    """Return an integer matrix without a common divisor, as a value that can be compared."""
    divisor = int(np.gcd.reduce(matrix_33.ravel()))
    return tuple(tuple(row) for row in (matrix_33 // divisor).tolist())


def inverse_direction(matrix_33: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a positive whole multiple of the inverse of an integer matrix."""
    determinant = np.linalg.det(matrix_33)
    adjugate_33 = np.rint(determinant * np.linalg.inv(matrix_33)).astype(np.int64)
    return np.asarray(adjugate_33 * int(np.sign(determinant)), dtype=np.int64)


def _strain(raw_33: NDArray[np.float64], cell_33: NDArray[np.float64]) -> float:
    """Return how far (Å) the ends of the vectors of ``raw_33`` move, turns apart."""
    left_33, stretches_3, _ = np.linalg.svd(np.linalg.inv(raw_33) @ cell_33)
    strain_33 = left_33 @ np.diag(stretches_3 - 1.0) @ left_33.T
    return float(np.linalg.norm(raw_33 @ strain_33, axis=1).max())


def _mean_positions(
    numbers_N: NDArray[np.int64],
    scaled_N3: NDArray[np.float64],
    rotations_S33: NDArray[np.int64],
    translations_S3: NDArray[np.float64],
    dataset: spglib.SpglibDataset,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the mean of all images of the atoms at each atom of spglib's standard cell.

    The origin follows the atoms: it is moved until they are off the means by nothing on average.

    Returns:
        Mean positions (M, 3) and how far each atom as given is from its own (N, 3), in fractions
        of the standard cell; None where images and atoms do not match one to one.
    """
    ideal_M3 = np.asarray(dataset.std_positions) % 1.0 % 1.0  # -1e-17 is 1.0, and then 0.0
    types_M = np.asarray(dataset.std_types)
    images_SN3 = np.einsum("sij,nj->sni", rotations_S33, scaled_N3) + translations_S3[:, None]
    nearest_SN = np.empty(images_SN3.shape[:2], dtype=np.int64)
    for number in np.unique(numbers_N):
        of_M, of_N = np.flatnonzero(types_M == number), numbers_N == number
        tree = cKDTree(ideal_M3[of_M] % 1.0, boxsize=np.ones(3))
        nearest_SN[:, of_N] = of_M[tree.query(images_SN3[:, of_N] % 1.0 % 1.0)[1]]
    counts_M = np.bincount(nearest_SN.ravel(), minlength=len(ideal_M3))
    if (counts_M * len(ideal_M3) != nearest_SN.size).any():
        return None
    off_SN3 = images_SN3 - ideal_M3[nearest_SN]
    off_SN3 -= np.rint(off_SN3)
    same = int(np.flatnonzero((rotations_S33 == np.eye(3)).all(axis=(1, 2)))[0])
    shift_3 = np.zeros(3)
    for _ in range(_CENTRING_STEPS):
        moved_SN3 = off_SN3 + (rotations_S33 @ shift_3)[:, None]
        mean_M3 = np.zeros_like(ideal_M3)
        np.add.at(mean_M3, nearest_SN, moved_SN3)
        mean_M3 /= counts_M[:, None]
        away_N3 = mean_M3[nearest_SN[same]] - moved_SN3[same]
        if np.abs(away_N3.mean(axis=0)).max() < 1e-7:
            break
        shift_3 = shift_3 + away_N3.mean(axis=0)
    return ideal_M3 + mean_M3, away_N3
