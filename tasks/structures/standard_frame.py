"""Bring an adslab from any source to one form: c upright, adsorbate on top, tags 0, 1 and 2.

Published sets differ in cells (some have the slab normal off z, or the adsorbate below), in tags
(none, or layer numbers) and in periodicity. A screening makes one kind of structure; so does this.

Shapes  N atoms.
Units   Å.
"""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray
from pymatgen.core.composition import Composition

from tasks.errors import UserError
from tasks.structures.identity import fixed_mask

VACUUM_ANG = 15.0  # as tasks.enumeration.slabs makes it by default
_ADSORBATE_NUMBERS = (1, 6, 7, 8, 9, 16, 17)  # all else is slab where no tag says so
_SHELL = 1.2  # neighbours are nearer than this times the shortest distance in the slab
_LAYER_ANG = 0.3
_AROUND_I2 = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])


def standard_frame(atoms: Atoms, adsorbate_tag: int | None = None) -> Atoms:
    """Return slab atoms first and adsorbate atoms after them, adsorbate on top.

    Adsorbate atoms are those of ``adsorbate_tag``, or without one the H, C, N, O, F, S, Cl atoms.
    The cell is right-handed with a along x, b in the xy plane and c along z, vacuum half below and
    half above; distances are those of the input. Tags are 0, 1 and 2, fixed atoms are kept.
    """
    is_adsorbate_N = _is_adsorbate(atoms, adsorbate_tag)
    order = np.argsort(is_adsorbate_N, kind="stable")
    slab_size = int((~is_adsorbate_N).sum())
    framed = _framed(atoms, order, slab_size, slab_size)
    framed.set_tags(_tags(framed, slab_size))
    return framed


def clean_frame(atoms: Atoms) -> Atoms:
    """Return a clean slab in the standard frame, its held atoms below, tags 0 and 1.

    The top layer holds as many atoms as the bottom one, which is flat as it was held. How far free
    atoms have risen or sunk then plays no part.
    """
    held_N = fixed_mask(atoms)
    if held_N.all() or not held_N.any():
        raise UserError("a clean slab has held atoms below and free atoms above, got one of them")
    order = np.argsort(~held_N, kind="stable")
    framed = _framed(atoms, order, int(held_N.sum()), len(atoms))
    z_N = framed.positions[:, 2]
    in_layer = int((z_N < z_N.min() + _LAYER_ANG).sum())
    if len(framed) % in_layer:
        raise UserError(
            f"layers of a clean slab hold equally many atoms, got {in_layer} in the lowest one of "
            f"{len(framed)} atoms"
        )
    tags_N = np.zeros(len(framed), dtype=np.int64)
    tags_N[np.argsort(z_N, kind="stable")[-in_layer:]] = 1
    framed.set_tags(tags_N)
    return framed


def surface_mask(slab: Atoms) -> NDArray[np.bool_]:
    """Return True for atoms of the upper half that miss neighbours, and for the top layer."""
    count_N = _coordination(slab)
    z_N = slab.positions[:, 2]
    exposed_N = (count_N < count_N.max()) & (z_N > 0.5 * (z_N.min() + z_N.max()))
    return np.asarray(exposed_N | (z_N > z_N.max() - _LAYER_ANG))


def bulk_formula(slab: Atoms) -> str:
    """Return the reduced formula of a slab's atoms, which stands for its bulk in texts."""
    return str(Composition(slab.get_chemical_formula()).reduced_formula)


def folded_in_plane(
    scaled_X2: NDArray[np.float64], plane_22: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return in-plane vectors (Å) with fractions from -1/2 to 1/2 along both cell vectors.

    An image that is shorter than half the smaller height of the cell is found in any cell; a longer
    one need not be the shortest, so lengths are compared with small limits only: use
    ``in_plane_vectors`` elsewhere. ``ase.geometry.find_mic`` reduces the cell and tries all images
    on each call, which loops over sites and operations do not need.

    Args:
        scaled_X2: (..., 2) fractions of the cell vectors.
        plane_22: Cell vectors a and b (Å) as rows.
    """
    return np.asarray((scaled_X2 - np.rint(scaled_X2)) @ plane_22)


def in_plane_vectors(
    first_F3: NDArray[np.float64], second_S3: NDArray[np.float64], cell_33: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shortest vectors (F, S, 3) and their lengths under in-plane periodicity.

    The cell is upright and not far from reduced, as a slab's is: the nearest of nine images, of
    equally near ones always the same. ``ase.geometry.get_distances`` takes 1.3 times as long on 70
    atoms, and rounding decides which of equally near images it returns.
    """
    plane_22 = cell_33[:2, :2]
    apart_FS3 = second_S3[None] - first_F3[:, None]
    turns_FS2 = np.rint(apart_FS3[..., :2] @ np.linalg.inv(plane_22))
    apart_FS3[..., :2] -= turns_FS2 @ plane_22
    best_FS3, best_FS = apart_FS3, (apart_FS3**2).sum(axis=2)
    for shift_2 in _AROUND_I2 @ plane_22:
        moved_FS3 = apart_FS3 + np.append(shift_2, 0.0)
        moved_FS = (moved_FS3**2).sum(axis=2)
        nearer_FS = moved_FS < best_FS - 1e-9
        best_FS3 = np.where(nearer_FS[..., None], moved_FS3, best_FS3)
        best_FS = np.where(nearer_FS, moved_FS, best_FS)
    return best_FS3, np.sqrt(best_FS)


def joined_adsorbate(adsorbate: Atoms) -> NDArray[np.float64]:
    """Return positions with every atom at the image that is nearest to those before it."""
    positions = adsorbate.positions.copy()
    done = [0]
    while len(done) < len(positions):
        rest = [index for index in range(len(positions)) if index not in done]
        vectors, lengths = in_plane_vectors(positions[done], positions[rest], adsorbate.cell.array)
        near, new = np.unravel_index(int(np.argmin(lengths)), lengths.shape)
        positions[rest[new]] = positions[done[near]] + vectors[near, new]
        done.append(rest[new])
    return np.asarray(positions)


def _is_adsorbate(atoms: Atoms, tag: int | None) -> NDArray[np.bool_]:
    if tag is not None:
        chosen_N, rule = np.asarray(atoms.get_tags() == tag), f"tag {tag}"
    else:
        chosen_N, rule = np.isin(atoms.numbers, _ADSORBATE_NUMBERS), "H, C, N, O, F, S, Cl"
    if chosen_N.all() or not chosen_N.any():
        raise UserError(f"a frame holds slab and adsorbate ({rule}) atoms, got one of them")
    return chosen_N


def _framed(atoms: Atoms, order: NDArray[np.int64], below: int, slab_size: int) -> Atoms:
    """Return the atoms in ``order``, upright: the first ``below`` of them under the others."""
    positions_N3 = _joined_along_c(atoms)[order]
    positions_N3, cell_33 = _upright(positions_N3, atoms.cell.array, below, slab_size)
    framed = Atoms(atoms.numbers[order], positions_N3, cell=cell_33, pbc=True)
    fixed = np.flatnonzero(fixed_mask(atoms)[order])
    if len(fixed):
        framed.set_constraint(FixAtoms(indices=fixed))
    return framed


def _joined_along_c(atoms: Atoms) -> NDArray[np.float64]:
    """Return positions in which the widest empty layer lies at the border of the cell."""
    positions_N3 = atoms.positions.copy()
    if not atoms.pbc[2]:
        return np.asarray(positions_N3)
    height_N = np.linalg.solve(atoms.cell.array.T, positions_N3.T)[2] % 1.0
    order = np.sort(height_N)
    gaps = np.diff(order, append=order[0] + 1.0)
    start = order[(int(np.argmax(gaps)) + 1) % len(order)]
    wanted_N = (height_N - start + 1e-9) % 1.0
    now_N = np.linalg.solve(atoms.cell.array.T, positions_N3.T)[2]
    turns_N = np.round(wanted_N - now_N + start)
    return np.asarray(positions_N3 + turns_N[:, None] * atoms.cell.array[2])


def _upright(
    positions_N3: NDArray[np.float64], cell_33: NDArray[np.float64], below: int, slab_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions and cell turned (never mirrored) with the first ``below`` atoms down.

    The vacuum is counted from the first ``slab_size`` atoms.
    """
    a, b = cell_33[0], cell_33[1]
    z_3 = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    height_N = positions_N3 @ z_3
    if height_N[below:].mean() < height_N[:below].mean():
        z_3, b = -z_3, -b  # -b spans the same lattice and keeps the cell right-handed
    x_3 = a / np.linalg.norm(a)
    frame_33 = np.array([x_3, np.cross(z_3, x_3), z_3])
    turned_N3 = positions_N3 @ frame_33.T
    slab_z = turned_N3[:slab_size, 2]
    turned_N3[:, 2] += 0.5 * VACUUM_ANG - slab_z.min()
    upright_33 = np.array([a @ frame_33.T, b @ frame_33.T, np.zeros(3)])
    upright_33[np.abs(upright_33) < 1e-9] = 0.0
    upright_33[2, 2] = slab_z.max() - slab_z.min() + VACUUM_ANG
    return turned_N3, upright_33


def _tags(framed: Atoms, slab_size: int) -> NDArray[np.int64]:
    tags_N = np.full(len(framed), 2)
    tags_N[:slab_size] = surface_mask(framed[:slab_size]).astype(int)
    return tags_N


def _coordination(slab: Atoms) -> NDArray[np.int64]:
    """Return each atom's neighbours within 1.2 times the shortest distance; radii play no part."""
    _, distances_NN = in_plane_vectors(slab.positions, slab.positions, slab.cell.array)
    np.fill_diagonal(distances_NN, np.inf)
    shells_N = _SHELL * distances_NN.min()
    return np.asarray((distances_NN < shells_N).sum(axis=1))
