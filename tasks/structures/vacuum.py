"""Turn a slab's cell so that its vacuum lies along c.

The vacuum is the widest empty layer that the planes of two cell vectors bound. A direction that is
not periodic is one of vacuum, whatever its vector in the file.

Shapes  N atoms.
Units   Å.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from tasks.errors import UserError
from tasks.structures.standard_frame import VACUUM_ANG

LEAST_VACUUM_ANG = 3.0  # between atoms: a placement of a campaign leaves as much
_LEAST_FREE_ANG = 1.0  # between their covalent spheres: layers of a crystal are nearer
_WIRE_FREE_ANG = 3.0  # along a second vector: rows of a surface are nearer
_NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class _EmptyLayer:
    """The widest empty layer across one cell vector: between atoms, and between their spheres."""

    apart_ang: float
    free_ang: float

    @property
    def is_vacuum(self) -> bool:
        return self.apart_ang >= LEAST_VACUUM_ANG and self.free_ang >= _LEAST_FREE_ANG


def vacuum_along_c(atoms: Atoms) -> Atoms:
    """Return a slab whose cell vectors are in the order that puts the vacuum along the third.

    No atom moves: cell vectors change places in a cycle, so that a right hand stays one. Where the
    planes of no two vectors bound the vacuum, the shortest vectors of the same lattice do.

    Args:
        atoms: A slab or an adslab, periodic along two vectors or three.

    Returns:
        The same atoms, periodic along three vectors, vacuum along the third.

    Raises:
        UserError: there is no vacuum (a bulk), or it lies along two vectors or three.
    """
    turned = _closed(atoms)
    layers = _empty_layers(turned)
    if not any(layer.is_vacuum for layer in layers):
        turned.set_cell(minkowski_reduce(turned.cell)[0], scale_atoms=False)
        layers = _empty_layers(turned)
    axis = max(range(3), key=lambda index: layers[index].free_ang)
    if not layers[axis].is_vacuum:
        raise UserError(
            f"a slab has at least {LEAST_VACUUM_ANG:g} Å of vacuum along one cell vector; the "
            f"widest empty layer of this cell is {layers[axis].apart_ang:.1f} Å, as in a bulk"
        )
    wide = [index for index in range(3) if layers[index].free_ang >= _WIRE_FREE_ANG]
    if len(wide) > 1:
        raise UserError(
            "a slab has vacuum along one cell vector; this cell has it along "
            f"{', '.join(_NAMES[index] for index in wide)}, as a wire or a molecule has"
        )
    turned.set_cell(np.roll(turned.cell.array, 2 - axis, axis=0), scale_atoms=False)
    return turned


def heights_over_vacuum(atoms: Atoms) -> NDArray[np.float64]:
    """Return (N,) heights (Å) of atoms over the upper border of the widest empty layer along c."""
    normal_3 = np.cross(atoms.cell.array[0], atoms.cell.array[1])
    normal_3 /= np.linalg.norm(normal_3)
    period = abs(float(atoms.cell.array[2] @ normal_3))
    height_N = (atoms.positions @ normal_3) % period
    order = np.sort(height_N)
    gaps = np.diff(order, append=order[0] + period)
    floor = order[(int(np.argmax(gaps)) + 1) % len(order)]
    return np.asarray((height_N - floor + 1e-6) % period)


def _closed(atoms: Atoms) -> Atoms:
    """Return the atoms periodic along three vectors, with vacuum where they were not."""
    is_open = [index for index in range(3) if not atoms.pbc[index]]
    closed: Atoms = atoms.copy()
    closed.pbc = True
    if len(is_open) > 1:
        raise UserError(
            "an adslab is periodic in its plane, along two cell vectors or three; this structure "
            f"is not along {', '.join(_NAMES[index] for index in is_open)}"
        )
    if not is_open:
        if abs(closed.cell.volume) < 1e-6:
            raise UserError("an adslab has a cell of three vectors that span a volume")
        return closed
    (axis,) = is_open
    cell_33 = closed.cell.array.copy()
    normal_3 = np.cross(cell_33[(axis + 1) % 3], cell_33[(axis + 2) % 3])
    area = float(np.linalg.norm(normal_3))
    if area < 1e-6:
        raise UserError("an adslab has a cell whose two periodic vectors span a plane")
    height_N = closed.positions @ (normal_3 / area)
    cell_33[axis] = normal_3 / area * (float(np.ptp(height_N)) + VACUUM_ANG)
    closed.set_cell(cell_33, scale_atoms=False)
    return closed


def _empty_layers(atoms: Atoms) -> list[_EmptyLayer]:
    """Return the widest empty layer across each cell vector."""
    reciprocal_33 = np.linalg.inv(atoms.cell.array)  # columns are normal to the planes
    heights_3 = 1.0 / np.linalg.norm(reciprocal_33, axis=0)
    scaled_N3 = (atoms.positions @ reciprocal_33) % 1.0
    radii_N = covalent_radii[atoms.numbers]
    layers = []
    for axis in range(3):
        order = np.argsort(scaled_N3[:, axis], kind="stable")
        level_N = scaled_N3[order, axis]
        apart_N = np.diff(level_N, append=level_N[0] + 1.0) * heights_3[axis]
        free_N = apart_N - radii_N[order] - np.roll(radii_N[order], -1)
        widest = int(np.argmax(apart_N))
        layers.append(_EmptyLayer(float(apart_N[widest]), float(free_N[widest])))
    return layers
