"""Turn a molecule so that its binding atoms are at the origin and the rest points to +z.

Shapes  A atoms.
Units   Å.
"""

import networkx
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from tasks.errors import UserError

_BOND_FACTOR = 1.25  # atoms nearer than this times r_i + r_j are bonded within a molecule
_FLAT_ANG = 0.05
_HIGHEST_FOLD = 6


def molecule_bonds(atoms: Atoms) -> NDArray[np.int64]:
    """Return the bonded pairs (i, j), i < j, of an isolated molecule."""
    radii_A = covalent_radii[atoms.numbers]
    distance_AA = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2)
    limit_AA = _BOND_FACTOR * (radii_A[:, None] + radii_A[None])
    return np.argwhere(np.triu(distance_AA < limit_AA, k=1))


def molecule_graph(molecule: Atoms) -> networkx.Graph:
    """Return the atoms of a molecule as nodes with their ``element``, joined by bonds."""
    graph = networkx.Graph()
    for atom, symbol in enumerate(molecule.get_chemical_symbols()):
        graph.add_node(atom, element=symbol)
    graph.add_edges_from(molecule_bonds(molecule).tolist())
    return graph


def is_connected(molecule: Atoms) -> bool:
    """Return whether bonds hold all atoms together."""
    return len(molecule) > 0 and bool(networkx.is_connected(molecule_graph(molecule)))


def is_same_species(one: Atoms, other: Atoms) -> bool:
    """Return whether two molecules have the same bonds, however their atoms are numbered."""
    return bool(
        networkx.is_isomorphic(
            molecule_graph(one), molecule_graph(other), node_match=lambda a, b: a == b
        )
    )


def species_colours(atoms: Atoms) -> list[str]:
    """Return, for each atom of a molecule, a hash of its element and its bonded surroundings.

    Two rounds of refinement (Weisfeiler and Lehman 1968): atoms with equal colours are
    interchangeable in small molecules.
    """
    hashes = networkx.weisfeiler_lehman_subgraph_hashes(
        molecule_graph(atoms), node_attr="element", iterations=2
    )
    return [hashes[atom][-1] for atom in range(len(atoms))]


def upright(
    atoms: Atoms, binding: tuple[int, ...], down_3: NDArray[np.float64] | None = None
) -> Atoms:
    """Return ``atoms`` with the centre of ``binding`` at the origin and the rest above.

    ``down_3`` is the direction of the surface; where it is None it points away from the rest of the
    molecule. A second binding atom, or else the atom farthest from the axis, sets the x direction.
    """
    if not binding or min(binding) < 0 or max(binding) >= len(atoms):
        raise UserError(
            f"binding atoms are numbered 0 to {len(atoms) - 1} in this molecule, got {binding}"
        )
    turned: Atoms = atoms.copy()
    turned.positions -= turned.positions[list(binding)].mean(axis=0)
    up_3 = -down_3 if down_3 is not None else _away(turned, binding)
    turned.positions = turned.positions @ _rotation(up_3).T
    turned.positions = turned.positions @ _spin(turned, binding).T
    turned.positions[np.abs(turned.positions) < 1e-9] = 0.0
    return turned


def _away(atoms: Atoms, binding: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the direction from the binding atoms to their bonded neighbours, or to all atoms."""
    bonded = {j for pair in molecule_bonds(atoms).tolist() for j in pair if set(pair) & {*binding}}
    for rest in (sorted(bonded - set(binding)), range(len(atoms))):
        centre_3 = atoms.positions[list(rest)].mean(axis=0) if rest else np.zeros(3)
        if len(binding) > 1:  # the axis is square to the line through the binding atoms
            line_3 = atoms.positions[binding[1]] - atoms.positions[binding[0]]
            centre_3 = centre_3 - line_3 * (centre_3 @ line_3) / (line_3 @ line_3)
        if np.linalg.norm(centre_3) > _FLAT_ANG:
            return np.asarray(centre_3, dtype=np.float64)
    return _plane_normal(atoms)


def _plane_normal(atoms: Atoms) -> NDArray[np.float64]:
    """Return the direction in which the molecule is thinnest, so that it lies flat."""
    if len(atoms) == 1:
        return np.array([0.0, 0.0, 1.0])
    _, _, axes_33 = np.linalg.svd(atoms.positions - atoms.positions.mean(axis=0))
    return np.asarray(axes_33[2], dtype=np.float64)


def _rotation(up_3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the proper rotation that takes ``up_3`` to +z."""
    z_3 = up_3 / np.linalg.norm(up_3)
    helper_3 = np.eye(3)[int(np.argmin(np.abs(z_3)))]
    x_3 = np.cross(helper_3, z_3)
    x_3 /= np.linalg.norm(x_3)
    return np.array([x_3, np.cross(z_3, x_3), z_3])


def _spin(atoms: Atoms, binding: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the rotation about z that puts the reference atom over +x."""
    off_axis = np.round(np.linalg.norm(atoms.positions[:, :2], axis=1), 2)
    reference = binding[1] if len(binding) > 1 else int(np.argmax(off_axis))
    x, y = atoms.positions[reference, :2]
    angle = np.arctan2(y, x) if np.hypot(x, y) > 1e-3 else 0.0
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def axis_fold(atoms: Atoms) -> int:
    """Return the order of the molecule's rotation axis along z; 0 when any angle will do."""
    if (np.linalg.norm(atoms.positions[:, :2], axis=1) < _FLAT_ANG).all():
        return 0
    for fold in range(_HIGHEST_FOLD, 1, -1):
        angle = 2.0 * np.pi / fold
        cosine, sine = np.cos(angle), np.sin(angle)
        turned_A3 = atoms.positions @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        if (_images(atoms, turned_A3) >= 0).all():
            return fold
    return 1


def mirror_line(atoms: Atoms) -> float | None:
    """Return where a mirror plane of the molecule through the z axis cuts the xy plane.

    Args:
        atoms: A molecule that stands upright on the origin.

    Returns:
        A direction in degrees, 0 to 180; None where no such plane is. ``axis_fold`` gives the
        others, which are 180 degrees over its order apart.
    """
    flat_A = atoms.positions[:, 0] + 1j * atoms.positions[:, 1]
    farthest = int(np.argmax(np.round(np.abs(flat_A), 2)))
    for other in range(len(atoms)):
        line = np.exp(1j * np.angle(flat_A[farthest] * flat_A[other]))  # turned by twice the angle
        mirrored_A = line * flat_A.conj()
        image_A = _images(
            atoms, np.column_stack([mirrored_A.real, mirrored_A.imag, atoms.positions[:, 2]])
        )
        if (image_A >= 0).all():  # the best line of all pairs, by least squares
            best = np.angle((flat_A * flat_A[image_A]).sum(), deg=True) / 2.0
            return float(np.round(best, 3) % 180.0)
    return None


def _images(atoms: Atoms, moved_A3: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the atom of the same element that each moved atom lands on, -1 where none is."""
    apart_AA = np.linalg.norm(moved_A3[:, None] - atoms.positions[None], axis=2)
    apart_AA[atoms.numbers[:, None] != atoms.numbers[None]] = np.inf
    nearest_A = apart_AA.argmin(axis=1)
    return np.where(apart_AA.min(axis=1) < _FLAT_ANG, nearest_A, -1)
