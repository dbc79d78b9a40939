"""Checks that a relaxed adslab passes before its energy counts as a label.

Distances are plain and minimum-image; no neighbour list with a skin is used, because a skin of
0.3 Å counts CO at 3.4 Å above copper as adsorbed.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances
from numpy.typing import NDArray

from tasks.levels import LevelOfTheory
from tasks.levels.calculation import CheckLimits as CheckLimits

_CONTACT_SLACK_ANG = 0.1  # the text's bonds: r_i + r_j with 0.05 Å for each atom
_NO_CONTACT_SLACK_ANG = 0.3  # from here on; the third atom beside a bridge is 0.4 Å out or more


def limits_of(level: LevelOfTheory) -> CheckLimits:
    """Return the thresholds of a level; those of published labels are the defaults."""
    return CheckLimits() if level.calculation is None else level.calculation.checks


@dataclass(frozen=True)
class Flag:
    """One check that failed: the number found and the limit it crossed."""

    name: str
    value: float
    limit: float


def check(
    start: Atoms,
    relaxed: Atoms,
    *,
    energy_ev: float,
    initial_fmax_ev_ang: float,
    limits: CheckLimits,
) -> tuple[Flag, ...]:
    """Return every flag of a relaxed adslab; tags are 0 and 1 in the slab, 2 in the adsorbate."""
    numbers = (
        ("desorbed", _nearest_ratio(relaxed), limits.desorbed_ratio),
        ("dissociated", float(_changed_bonds(start, relaxed, limits.bond_ratio)), 0.0),
        ("intercalated", depth_below_surface(relaxed), limits.depth_ang),
        ("reconstructed", largest_slab_move(start, relaxed), limits.slab_move_ang),
        ("energy_out_of_bounds", abs(energy_ev), limits.energy_ev),
        ("initial_forces", initial_fmax_ev_ang, limits.initial_fmax_ev_ang),
    )
    # "not (value <= limit)" also flags what is not a number
    return tuple(Flag(name, value, limit) for name, value, limit in numbers if not value <= limit)


def bond_pairs(adsorbate: Atoms, ratio: float = CheckLimits.bond_ratio) -> set[tuple[int, int]]:
    """Return index pairs of bonded atoms."""
    distances_NN = adsorbate.get_all_distances(mic=bool(adsorbate.pbc.any()))
    limit_NN = ratio * _radius_sums(adsorbate.numbers, adsorbate.numbers)
    first, second = np.nonzero(np.triu(distances_NN < limit_NN, 1))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def left_site(start: Atoms, relaxed: Atoms) -> bool:
    """Return True where the adsorbate lost or found a slab atom that it touches.

    One counts only where it went all the way between touching and not touching: oxygen in a hollow
    that ends 0.02 Å past the limit from one of its three atoms has not moved to a bridge.
    """
    lost = _touched(start, _CONTACT_SLACK_ANG) & ~_touched(relaxed, _NO_CONTACT_SLACK_ANG)
    found = _touched(relaxed, _CONTACT_SLACK_ANG) & ~_touched(start, _NO_CONTACT_SLACK_ANG)
    return bool((lost | found).any())


def depth_below_surface(atoms: Atoms) -> float:
    """Return how far (Å) the lowest adsorbate atom lies under the surface around it.

    The surface at an atom is the mean height of the three surface atoms (tag 1) that are nearest
    to it in the plane: a step beside the adsorbate is not a surface above it.
    """
    tags = atoms.get_tags()
    surface, adsorbate = np.nonzero(tags == 1)[0], np.nonzero(tags == 2)[0]
    if len(surface) == 0:
        surface = np.nonzero(tags != 2)[0]
    vectors_AS3, _ = get_distances(
        atoms.positions[adsorbate], atoms.positions[surface], cell=atoms.cell, pbc=(1, 1, 0)
    )
    planar_AS = np.linalg.norm(vectors_AS3[:, :, :2], axis=2)
    nearest_AK = np.argsort(planar_AS, axis=1, kind="stable")[:, :3]
    heights_AK = atoms.positions[surface, 2][nearest_AK]
    return float((heights_AK.mean(axis=1) - atoms.positions[adsorbate, 2]).max())


def largest_slab_move(start: Atoms, relaxed: Atoms) -> float:
    """Return how far (Å) the slab atom that moved most has moved."""
    in_slab = start.get_tags() != 2
    moves_N3 = relaxed.positions[in_slab] - start.positions[in_slab]
    return float(np.linalg.norm(moves_N3, axis=1).max())


def _touched(atoms: Atoms, slack_ang: float) -> NDArray[np.bool_]:
    """Return which atoms are of the slab and within r_i + r_j + slack of the adsorbate."""
    slab, adsorbate = np.nonzero(atoms.get_tags() != 2)[0], np.nonzero(atoms.get_tags() == 2)[0]
    limit_AS = _radius_sums(atoms.numbers[adsorbate], atoms.numbers[slab]) + slack_ang
    touched = np.zeros(len(atoms), dtype=bool)
    touched[slab] = (_distances(atoms, adsorbate, slab) < limit_AS).any(axis=0)
    return touched


def _nearest_ratio(atoms: Atoms) -> float:
    """Return the smallest adsorbate-slab distance in units of r_i + r_j."""
    tags = atoms.get_tags()
    slab, adsorbate = np.nonzero(tags != 2)[0], np.nonzero(tags == 2)[0]
    sums_AS = _radius_sums(atoms.numbers[adsorbate], atoms.numbers[slab])
    return float((_distances(atoms, adsorbate, slab) / sums_AS).min())


def _changed_bonds(start: Atoms, relaxed: Atoms, ratio: float) -> int:
    """Return how many bonds of the adsorbate were broken or formed."""
    is_adsorbate = start.get_tags() == 2
    before = bond_pairs(start[is_adsorbate], ratio)
    return len(before ^ bond_pairs(relaxed[is_adsorbate], ratio))


def _distances(
    atoms: Atoms, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    _, distances = get_distances(
        atoms.positions[first], atoms.positions[second], cell=atoms.cell, pbc=atoms.pbc
    )
    return np.asarray(distances)


def _radius_sums(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(covalent_radii[first][:, None] + covalent_radii[second][None, :])
