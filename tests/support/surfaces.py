"""Small surfaces with their tags: 0 below, 1 on top, 2 for an adsorbate."""

from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms

from tasks.enumeration import FormulaSpec, Slab, SlabSpec, enumerate_slabs, resolve_bulks


def metal_slab(
    metal: str = "Cu",
    size: tuple[int, int, int] = (2, 2, 3),
    *,
    a: float | None = None,
    vacuum: float = 8.0,
    held: int = 0,
) -> Atoms:
    """Return fcc(111), periodic, whose lowest ``held`` atoms do not move; lengths in Å."""
    slab: Atoms = fcc111(metal, size, a=a, vacuum=vacuum, periodic=True)
    slab.set_tags((slab.get_tags() == 1).astype(int))
    if held:
        slab.set_constraint(FixAtoms(range(held)))
    return slab


def copper_slab(thickness_ang: float = 4.0, in_plane_ang: float = 4.0) -> Slab:
    """Return Cu(111) as enumeration cuts it, at least so thick and wide."""
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
    spec = SlabSpec(
        millers=((1, 1, 1),), min_thickness_ang=thickness_ang, min_in_plane_ang=in_plane_ang
    )
    return enumerate_slabs(copper, spec)[0][0]
