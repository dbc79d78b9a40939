"""No part of a surface is left without a site: a sphere rolled over it rests near one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.spacegroup import crystal as spacegroup_crystal
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from tasks.enumeration import FormulaSpec, Slab, SlabSpec, enumerate_slabs, resolve_bulks
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.enumeration.landscape import landscape
from tasks.enumeration.plane_symmetry import in_plane_symmetry
from tasks.enumeration.sites import surface_sites

_OXYGEN_ANG = 0.66
RUTILE = {"spacegroup": 136, "cellpar": [4.594, 4.594, 2.959, 90, 90, 90]}


def crystal_of(name: str) -> Atoms:
    if name == "TiO2":
        return spacegroup_crystal(["Ti", "O"], [(0, 0, 0), (0.3053, 0.3053, 0)], **RUTILE)
    if name == "SrTiO3":
        corners = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
        cell = [3.905] * 3 + [90] * 3
        return spacegroup_crystal(["Sr", "Ti", "O"], corners, spacegroup=221, cellpar=cell)
    prototype, a = {
        "MgO": ("rocksalt", 4.212),
        "ZnS": ("zincblende", 5.409),
        "CeO2": ("fluorite", 5.411),
    }[name]
    return ase_bulk(name, prototype, a=a, cubic=True)


def slabs_of(name: str, miller: tuple[int, int, int]) -> list[Slab]:
    bulk = bulk_from_atoms(crystal_of(name), name)
    return enumerate_slabs(bulk, SlabSpec(millers=(miller,)))[0]


def metal(symbol: str, miller: tuple[int, int, int]) -> Slab:
    (bulk,), _ = resolve_bulks([FormulaSpec(symbol)])
    return enumerate_slabs(bulk, SlabSpec(millers=(miller,)))[0][0]


def rests(slab: Slab, step: float = 0.12) -> NDArray[np.float64]:
    """Return the lows of a map of heights on a fine grid, found without the code under test."""
    ground, cell = landscape(slab), slab.atoms.cell.array[:2, :2]
    counts = np.ceil(np.linalg.norm(cell, axis=1) / step).astype(int)
    axes = np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij")
    grid = np.stack(axes, -1).reshape(-1, 2) @ cell
    height = np.full(len(grid), -np.inf)
    for point, radius in zip(ground.points_M3, ground.radii_M, strict=True):
        left = (radius + _OXYGEN_ANG) ** 2 - ((grid - point[:2]) ** 2).sum(axis=1)
        height = np.where(left > 0, np.fmax(height, point[2] + np.sqrt(np.abs(left))), height)
    is_low = height <= minimum_filter(height.reshape(counts), size=5, mode="wrap").ravel()
    return np.asarray(grid[is_low & (height > ground.floor_ang - 1.5)])


def all_sites(slab: Slab) -> NDArray[np.float64]:
    symmetry, cell = in_plane_symmetry(slab), slab.atoms.cell.array[:2, :2]
    points = [site.position_3[:2] for site in surface_sites(slab).sites]
    return np.vstack([symmetry.images(np.array(point), cell) for point in points])


def apart(slab: Slab, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    cell = slab.atoms.cell.array[:2, :2]
    scaled = (one[:, None] - other[None]) @ np.linalg.inv(cell)
    return np.asarray(np.linalg.norm((scaled - np.rint(scaled)) @ cell, axis=2))


@pytest.mark.parametrize(
    ("name", "miller"),
    [
        ("TiO2", (1, 1, 0)),
        ("TiO2", (1, 0, 0)),
        ("ZnS", (1, 0, 0)),
        ("MgO", (1, 1, 0)),
        ("CeO2", (1, 1, 1)),
        ("SrTiO3", (1, 1, 1)),
    ],
)
def test_every_rest_of_an_oxygen_atom_has_a_site(name: str, miller: tuple[int, int, int]) -> None:
    for slab in slabs_of(name, miller):
        assert apart(slab, rests(slab), all_sites(slab)).min(axis=1).max(initial=0.0) < 0.8


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0)])
def test_no_added_site_is_the_image_of_another(miller: tuple[int, int, int]) -> None:
    for slab in slabs_of("TiO2", miller):
        cell, symmetry = slab.atoms.cell.array[:2, :2], in_plane_symmetry(slab)
        sites = surface_sites(slab).sites
        for k, site in enumerate(sites):
            images = symmetry.images(np.array(site.position_3[:2]), cell)
            for other in sites[k + 1 :]:
                near = apart(slab, images, np.array([other.position_3[:2]])).min() < 0.1
                same = near and abs(site.position_3[2] - other.position_3[2]) < 0.1
                assert not (same and site.kind == other.kind)


def test_a_bulk_position_between_surface_atoms_of_zincblende_has_a_site() -> None:
    # Sulphur ends this face; the next zinc would sit in the bridge between two of them.
    slab = next(
        s
        for s in slabs_of("ZnS", (1, 0, 0))
        if s.atoms.symbols[s.atoms.positions[:, 2].argmax()] == "S"
    )
    top = np.flatnonzero(slab.atoms.positions[:, 2] > slab.atoms.positions[:, 2].max() - 0.1)
    first = slab.atoms.positions[top[0], :2]
    others = slab.atoms.positions[top[1:], :2]
    scaled = (others - first) @ np.linalg.inv(slab.atoms.cell.array[:2, :2])
    ways = (scaled - np.rint(scaled)) @ slab.atoms.cell.array[:2, :2]
    middles = first + 0.5 * ways[np.linalg.norm(ways, axis=1) < 4.0]
    assert apart(slab, middles, all_sites(slab)).min(axis=1).max() < 0.1


@pytest.mark.parametrize(
    ("symbol", "miller", "count"),
    [("Cu", (1, 1, 1), 4), ("Cu", (1, 0, 0), 3), ("Fe", (1, 0, 0), 3), ("Cu", (2, 1, 1), 14)],
)
def test_closed_surfaces_of_metals_gain_nothing(
    symbol: str, miller: tuple[int, int, int], count: int
) -> None:
    assert len(surface_sites(metal(symbol, miller)).sites) == count


def test_the_long_bridge_of_a_110_face_is_there_for_every_fcc_metal() -> None:
    # Aluminium's is 4.05 Å, longer than its radius lets two atoms share an adsorbate.
    for symbol in ("Cu", "Al"):
        bridges = [s for s in surface_sites(metal(symbol, (1, 1, 0))).sites if s.kind == "bridge"]
        assert len(bridges) >= 2
