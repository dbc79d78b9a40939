"""Slabs: every distinct surface of a bulk, with its working side up.

A slab holds whole repeats of the plane spacing, so it has the composition of its bulk. Its cell is
right-handed, a along x, b in the xy plane, c along z; the vacuum lies half below and half above.
Tags are 1 for atoms of the upper surface and 0 below; fixed atoms carry ``FixAtoms``.

Shapes  A atoms of the primitive cell, N atoms of the slab.
Units   Å.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from tasks.enumeration.bulks import Bulk, bulk_axes
from tasks.enumeration.lattice_planes import (
    Crystal,
    Cut,
    SlabSide,
    distinct_cuts,
    distinct_millers,
    find_symmetry,
    plane_basis,
    plane_spacing,
    preferred_miller,
    primitive_miller,
)
from tasks.enumeration.miller import Miller, checked_miller, miller_word, reduced_miller
from tasks.errors import Refusal, UserError
from tasks.structures.contacts import coordination, cutoffs
from tasks.structures.identity import slab_id

_LAYER_ANG = 0.3  # atoms nearer than this in height are one layer for tags and fixed layers
_CUT_ANG = 0.05  # a wider gap in height is a cut; relaxation moves surface atoms by more than this
_LEAST_CUT_ANG = 0.01  # noise in positions would be cut
# Without a bond by covalent radii (alkali metals), neighbours count up to this factor of r_i + r_j.
LOOSE_FACTOR = 1.15
MillerAxes = Literal["file", "conventional"]


@dataclass(frozen=True)
class SlabSpec:
    """Which surfaces to make and how thick, wide and empty they are.

    ``max_miller`` bounds indices in the bulk's own cell, so that a crystal has the same slabs
    however it was written. ``millers`` overrides it, with three or four indices each, in the axes
    of the cell in the file or in those of the bulk's conventional cell. ``fixed_layers`` counts
    atomic layers from below; where it is None the lower ``fixed_fraction`` of the slab's height is
    fixed. Planes are cut in every gap wider than ``cut_tolerance_ang``; atoms within
    ``layer_tolerance_ang`` of height share a layer, which decides on tags and fixed layers and on
    nothing else.
    """

    max_miller: int = 1
    millers: tuple[tuple[int, ...], ...] | None = None
    miller_axes: MillerAxes = "file"
    min_thickness_ang: float = 7.0
    vacuum_ang: float = 15.0
    min_in_plane_ang: float = 8.0
    fixed_layers: int | None = None
    fixed_fraction: float = 0.5
    layer_tolerance_ang: float = _LAYER_ANG
    cut_tolerance_ang: float = _CUT_ANG
    max_atoms: int = 250
    max_cuts: int | None = None  # of one plane, in order of height; the others are refused

    def __post_init__(self) -> None:
        rules = [
            (self.max_miller >= 1, "max_miller is at least 1", self.max_miller),
            (self.min_thickness_ang > 0, "min_thickness_ang is above 0", self.min_thickness_ang),
            (self.vacuum_ang >= 5, "vacuum_ang is at least 5 Å", self.vacuum_ang),
            (self.min_in_plane_ang >= 0, "min_in_plane_ang is 0 or more", self.min_in_plane_ang),
            ((self.fixed_layers or 0) >= 0, "fixed_layers is 0 or more", self.fixed_layers),
            (0 <= self.fixed_fraction <= 1, "fixed_fraction is 0 to 1", self.fixed_fraction),
            (
                self.layer_tolerance_ang > 0,
                "layer_tolerance_ang is above 0",
                self.layer_tolerance_ang,
            ),
            (
                self.cut_tolerance_ang >= _LEAST_CUT_ANG,
                f"cut_tolerance_ang is at least {_LEAST_CUT_ANG} Å",
                self.cut_tolerance_ang,
            ),
            (self.max_atoms >= 1, "max_atoms is at least 1", self.max_atoms),
            (self.max_cuts is None or self.max_cuts >= 1, "max_cuts is at least 1", self.max_cuts),
            (
                self.millers is None or self.millers,
                "millers are one or more indices such as [1, 1, 1]",
                self.millers,
            ),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise UserError(f"{rule}, got {value}")
        for indices in self.millers or ():
            checked_miller(indices)


@dataclass(frozen=True)
class Slab:
    """One termination of one plane of one bulk; the surface to use is always at +z.

    ``shift`` is the height of the cut in plane spacings; ``side`` is "bottom" where the surface is
    the far side of that cut, turned over. ``edit`` says what was changed after the cut. A slab from
    a file has no bulk; ``bulk_formula`` is what texts say in either case.
    """

    slab_id: str
    bulk_id: str  # empty where there is none
    bulk_formula: str
    miller: Miller
    shift: float
    side: SlabSide
    atoms: Atoms
    edit: str = ""


def enumerate_slabs(bulk: Bulk, spec: SlabSpec) -> tuple[list[Slab], list[Refusal]]:
    """Return every symmetry-distinct termination of a bulk, and those that were refused.

    Args:
        bulk: A crystal in its conventional cell.
        spec: Which planes, and how thick, wide and empty the slabs are (Å).

    Returns:
        The slabs in order of Miller index, shift and side, and the refusals: no symmetry, or too
        many atoms.

    Example:
        >>> from tasks.enumeration.bulks import FormulaSpec, resolve_bulks
        >>> (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
        >>> slabs, refused = enumerate_slabs(copper, SlabSpec(max_miller=1))
        >>> [(slab.miller, len(slab.atoms)) for slab in slabs], refused
        ([((1, 0, 0), 64), ((1, 1, 0), 72), ((1, 1, 1), 64)], [])
    """
    try:
        crystal = find_symmetry(bulk.atoms)
    except UserError as error:
        return [], [Refusal(bulk.formula, "slab", f"no symmetry: {error}")]
    planes, refused = stated_planes(bulk, crystal, spec)
    millers = list(dict.fromkeys(plane.miller for plane in planes))
    if spec.millers is None:
        millers = distinct_millers(crystal, spec.max_miller)
    bulk_bonds_A, radii_A = _bulk_coordination(crystal)
    slabs: dict[str, Slab] = {}
    for miller in millers:
        plane = primitive_miller(crystal, miller)
        size = _slab_size(crystal, plane, spec)
        for number, cut in enumerate(distinct_cuts(crystal, plane, spec.cut_tolerance_ang), 1):
            reason = _too_much(size, number, spec)
            if reason:
                item = f"{bulk.formula} {miller} shift {cut.height:.3f} {cut.side}"
                refused.append(Refusal(item, "slab", reason))
                continue
            atoms = _build(crystal, plane, cut, spec, bulk_bonds_A, radii_A)
            slab = Slab(
                slab_id(atoms), bulk.bulk_id, bulk.formula, miller, cut.height, cut.side, atoms
            )
            slabs.setdefault(slab.slab_id, slab)
    return list(slabs.values()), refused


def _too_much(size: int, number: int, spec: SlabSpec) -> str:
    """Return why the cut of that number, which makes a slab of ``size`` atoms, is refused."""
    if size > spec.max_atoms:
        return f"too many atoms: {size}, at most max_atoms = {spec.max_atoms} allowed"
    if spec.max_cuts is not None and number > spec.max_cuts:
        return f"too many cuts of one plane: number {number}, max_cuts = {spec.max_cuts} allowed"
    return ""


@dataclass(frozen=True)
class StatedPlane:
    """A plane as a file's axes state it, and its Miller index in the bulk's own cell."""

    source: str
    stated: tuple[int, ...]
    miller: Miller


def stated_planes(
    bulk: Bulk, crystal: Crystal, spec: SlabSpec
) -> tuple[list[StatedPlane], list[Refusal]]:
    """Return the planes of ``spec.millers`` in the bulk's cell, and the refused indices.

    Equivalent planes have one index. A bulk that several files hold has the planes of each.
    """
    planes: list[StatedPlane] = []
    refused: list[Refusal] = []
    own = replace(bulk, axes=())
    for axes in bulk_axes(bulk if spec.miller_axes == "file" else own):
        for indices in spec.millers or ():
            try:
                given = checked_miller(indices, hexagonal=axes.hexagonal)
            except UserError as error:
                item = f"{bulk.formula} {miller_word(indices)} of {axes.source}"
                refused.append(Refusal(item, "slab", f"Miller index: {error}"))
                continue
            h, k, l = (np.array(axes.miller_33) @ given).tolist()  # noqa: E741
            miller = preferred_miller(crystal, reduced_miller((h, k, l)))
            planes.append(StatedPlane(axes.source, tuple(indices), miller))
    return planes, refused


def _bulk_coordination(crystal: Crystal) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the bonds of each primitive atom and the radii they were counted with."""
    positions_A3 = crystal.scaled_A3 @ crystal.cell_33
    for radii_A in (cutoffs(crystal.numbers_A), covalent_radii[crystal.numbers_A] * LOOSE_FACTOR):
        bonds_A = coordination(crystal.numbers_A, positions_A3, crystal.cell_33, radii_A)
        if bonds_A.min() > 0:
            break
    return bonds_A, radii_A


def _repeats(crystal: Crystal, plane: Miller, spec: SlabSpec) -> tuple[int, int, int]:
    basis_33 = plane_basis(plane, crystal.cell_33) @ crystal.cell_33
    lengths = np.linalg.norm(basis_33[:2], axis=1)
    # The millionth keeps 3.0000000001 repeats from becoming 4.
    across = [max(1, int(np.ceil(spec.min_in_plane_ang / length - 1e-6))) for length in lengths]
    spacing = plane_spacing(crystal, plane)
    return across[0], across[1], max(1, int(np.ceil(spec.min_thickness_ang / spacing - 1e-6)))


def _slab_size(crystal: Crystal, plane: Miller, spec: SlabSpec) -> int:
    return int(np.prod(_repeats(crystal, plane, spec))) * len(crystal.numbers_A)


def _build(
    crystal: Crystal,
    plane: Miller,
    cut: Cut,
    spec: SlabSpec,
    bulk_bonds_A: NDArray[np.int64],
    radii_A: NDArray[np.float64],
) -> Atoms:
    up, height = plane, cut.height
    if cut.side == "bottom":  # the far side of a cut is the top of the planes counted backwards
        up, height = (-plane[0], -plane[1], -plane[2]), -cut.height
    repeats = _repeats(crystal, up, spec)
    scaled_N3, cell_33, source_N = _stack(crystal, up, height, repeats)
    atoms = _in_vacuum(crystal.numbers_A[source_N], scaled_N3, cell_33, spec.vacuum_ang)
    depth_N = -np.floor(atoms.positions[:, 2] * 1e3 + 0.37)  # a layer shares one step
    order = np.lexsort((source_N, depth_N, _rank(crystal)[source_N]))
    atoms, source_N = atoms[order], source_N[order]
    atoms.set_tags(
        _surface_mask(atoms, bulk_bonds_A[source_N], radii_A[source_N], spec).astype(int)
    )
    fixed = fixed_atoms(atoms, spec)
    if len(fixed):
        atoms.set_constraint(FixAtoms(indices=fixed))
    return atoms


def _rank(crystal: Crystal) -> NDArray[np.int64]:
    """Return the rank of each atom's element in order of first appearance."""
    first = list(dict.fromkeys(crystal.numbers_A.tolist()))
    return np.array([first.index(number) for number in crystal.numbers_A.tolist()])


def _stack(
    crystal: Crystal, up: Miller, height: float, repeats: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return coordinates in the repeated plane basis, that basis, and each atom's primitive atom.

    Atoms lie between the cut at ``height`` and ``repeats[2]`` spacings below it.
    """
    basis = plane_basis(up, crystal.cell_33)
    scaled_A3 = crystal.scaled_A3 @ np.linalg.inv(basis)
    scaled_A3[:, 2] = (scaled_A3[:, 2] - height) % 1.0
    shifts_R3 = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    scaled_N3 = (shifts_R3[:, None, :] + scaled_A3[None, :, :]).reshape(-1, 3)
    source_N = np.tile(np.arange(len(scaled_A3)), len(shifts_R3))
    sizes_3 = np.array(repeats, dtype=np.float64)
    return scaled_N3 / sizes_3, (basis @ crystal.cell_33) * sizes_3[:, None], source_N


def _in_vacuum(
    numbers_N: NDArray[np.int64],
    scaled_N3: NDArray[np.float64],
    cell_33: NDArray[np.float64],
    vacuum_ang: float,
) -> Atoms:
    """Return the stack in a cell with a along x and c along z, vacuum half below, half above."""
    upright_33 = cell_33 @ upright_axes(cell_33).T
    upright_33[np.abs(upright_33) < 1e-12] = 0.0
    positions_N3 = scaled_N3 @ upright_33
    bottom, top = positions_N3[:, 2].min(), positions_N3[:, 2].max()
    positions_N3[:, 2] += 0.5 * vacuum_ang - bottom
    upright_33[2] = (0.0, 0.0, top - bottom + vacuum_ang)
    plane_22 = upright_33[:2, :2]
    flat_N2 = np.linalg.solve(plane_22.T, positions_N3[:, :2].T).T
    positions_N3[:, :2] = ((flat_N2 + 1e-6) % 1.0 - 1e-6) @ plane_22  # 0.9999999 belongs at 0
    return Atoms(numbers_N, positions_N3, cell=upright_33, pbc=True)


def upright_axes(cell_33: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the axes, as rows, of the frame with a along x and b in the xy plane."""
    a, b = cell_33[0], cell_33[1]
    x_3 = a / np.linalg.norm(a)
    z_3 = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    return np.array([x_3, np.cross(z_3, x_3), z_3])


def _surface_mask(
    atoms: Atoms, bulk_bonds_N: NDArray[np.int64], radii_N: NDArray[np.float64], spec: SlabSpec
) -> NDArray[np.bool_]:
    """Return True for the top layer and for upper atoms that miss bonds of the bulk."""
    bonds_N = coordination(atoms.numbers, atoms.positions, atoms.cell.array, radii_N)
    z_N = atoms.positions[:, 2]
    middle = 0.5 * (z_N.min() + z_N.max())
    exposed_N = (bonds_N < bulk_bonds_N) & (z_N > middle + 1e-6)
    return np.asarray(exposed_N | (z_N > z_N.max() - spec.layer_tolerance_ang))


def fixed_atoms(atoms: Atoms, spec: SlabSpec) -> NDArray[np.int64]:
    """Return the atoms that a slab holds: the lowest layers, or those of its lower part."""
    z_N = atoms.positions[:, 2]
    if spec.fixed_layers is None:
        limit = z_N.min() + spec.fixed_fraction * (z_N.max() - z_N.min())
        held_N = (z_N <= limit + 1e-6) & (spec.fixed_fraction > 0)
    else:
        layer_N = np.empty(len(z_N), dtype=int)
        order = np.argsort(z_N)
        layer_N[order] = np.cumsum(
            np.diff(z_N[order], prepend=z_N.min()) > spec.layer_tolerance_ang
        )
        held_N = layer_N < spec.fixed_layers
    return np.flatnonzero(held_N)
