"""Identity by content: the same structure has the same id in every run, campaign and machine.

Ids are SHA-256 of a canonical form: species, metric of the cell, wrapped fractional coordinates
on a fixed grid, tags and fixed atoms, with atoms in canonical order. They do not change when atoms
are wrapped, shifted by whole lattice vectors, reordered, or when cell and atoms turn together.
"""

import hashlib

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from tasks.errors import UserError

_GRID = 10_000  # steps along a lattice vector: 0.001 Å in a cell of 10 Å
_LENGTH_STEP_ANG = 1e-3
# Grid borders lie at an irrational offset, so that no fraction of small integers sits on one and
# flips between two grid points with the last bit of a float.
_OFFSET = 0.5 + (np.sqrt(2.0) - 1.0) / 7.0


def content_id(*parts: str | int | bytes) -> str:
    """Return the SHA-256 hex digest of ``parts``; their borders and types count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{type(part).__name__}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def fractional_grid(scaled_N3: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return wrapped fractional coordinates as whole steps of the identity's grid."""
    steps = np.floor(scaled_N3 * _GRID + _OFFSET).astype(np.int64) % _GRID
    return np.asarray(steps, dtype=np.int32)


def cell_bytes(cell_33: NDArray[np.float64]) -> bytes:
    """Return the metric of a cell (lengths and dot products of its vectors) as canonical bytes."""
    lengths_3 = np.linalg.norm(cell_33, axis=1)
    cosines_3 = (cell_33 @ cell_33.T)[np.triu_indices(3, 1)] / _pair_products(lengths_3)
    steps = np.concatenate(
        [
            np.floor(lengths_3 / _LENGTH_STEP_ANG + _OFFSET),
            np.floor(cosines_3 * _GRID + _OFFSET),
        ]
    )
    return bytes(steps.astype("<i8").tobytes())


def _pair_products(lengths_3: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.outer(lengths_3, lengths_3)[np.triu_indices(3, 1)]


def fixed_mask(atoms: Atoms) -> NDArray[np.bool_]:
    """Return True for the atoms that a ``FixAtoms`` constraint holds."""
    mask = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            mask[constraint.index] = True
    return mask


def structure_bytes(atoms: Atoms) -> bytes:
    """Return the canonical form of a periodic structure."""
    cell_33 = atoms.cell.array
    scaled_N3 = np.linalg.solve(cell_33.T, atoms.positions.T).T
    rows = np.column_stack(
        [atoms.numbers, fractional_grid(scaled_N3), atoms.get_tags(), fixed_mask(atoms)]
    ).astype("<i4")
    order = np.lexsort(rows.T[::-1])
    return cell_bytes(cell_33) + bytes(np.asarray(atoms.pbc, dtype="u1")) + rows[order].tobytes()


def bulk_id(atoms: Atoms) -> str:
    """Return the id of a bulk crystal.

    Example:
        >>> from ase.build import bulk
        >>> bulk_id(bulk("Cu", cubic=True))[:12]
        'e5da72fac89b'
    """
    return content_id("bulk", structure_bytes(atoms))


def slab_id(atoms: Atoms) -> str:
    """Return the id of a slab with its tags and fixed atoms."""
    return content_id("slab", structure_bytes(atoms))


def pair_id(slab: str, adsorbate_name: str) -> str:
    """Return the id of a (slab, adsorbate) pair from the slab's id."""
    return content_id("pair", slab, adsorbate_name)


def candidate_ids(
    slab: str,
    adsorbate_name: str,
    numbers_A: NDArray[np.int64],
    scaled_PA3: NDArray[np.float64],
) -> list[str]:
    """Return the ids of ``P`` adslabs that differ in where the ``A`` adsorbate atoms are.

    The slab enters through its own id, so its atoms are read once for all placements.
    """
    head = ("candidate", slab, adsorbate_name, numbers_A.astype("<i4").tobytes())
    grids_PA3 = fractional_grid(scaled_PA3)
    return [content_id(*head, grid_A3.astype("<i4").tobytes()) for grid_A3 in grids_PA3]


def candidate_id(adslab: Atoms, slab: str, adsorbate_name: str) -> str:
    """Return the id of one adslab, whose adsorbate atoms have tag 2, on the slab of that id."""
    is_adsorbate_N = adslab.get_tags() == 2
    scaled_A3 = adslab.positions[is_adsorbate_N] @ np.linalg.inv(adslab.cell.array)
    numbers_A = adslab.numbers[is_adsorbate_N]
    return candidate_ids(slab, adsorbate_name, numbers_A, scaled_A3[None])[0]


def require_stored_ids(
    adslab: Atoms, slab: Atoms, adsorbate: str, *, stored_candidate: str, stored_slab: str
) -> None:
    """Check that stored structures are still those that their ids stand for.

    An id is the hash of a structure, so it tells whether what is about to be computed is what was
    predicted.

    Raises:
        UserError: the slab or the adslab is not the one that its id was made from.
    """
    for what, stored, found in (
        ("slab", stored_slab, slab_id(slab)),
        ("candidate", stored_candidate, candidate_id(adslab, stored_slab, adsorbate)),
    ):
        if found != stored:
            raise UserError(
                f"a stored structure has the id of its content: {what} {stored[:12]} reads as "
                f"{found[:12]}, so it was changed or damaged; screen it again in a new database"
            )


def seed_from(*parts: str | int | bytes) -> int:
    """Return a 63-bit seed that depends on content alone, not on the order of the work."""
    return int(content_id("seed", *parts)[:16], 16) >> 1
