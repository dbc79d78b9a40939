"""Settings that depend on the atoms: k-points, spins, vacuum, dipole. No engine is named here.

Shapes  N atoms.
Units   Å, Bohr magnetons.
"""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tasks.levels import Calculation, KPoints, Spin

_SAME_HEIGHT_ANG = 0.15  # two ends of a slab that agree this well are alike
_EMPTY_ANG = 5.0  # a gap as wide as this is vacuum, not a crystal's


def vacuum_ang(atoms: Atoms) -> float:
    """Return the widest gap (Å) between layers along c; a cell that is open there has no end."""
    if not atoms.pbc[2]:
        return float("inf")
    heights_N = np.sort(atoms.get_scaled_positions(wrap=True)[:, 2])
    gaps_N = np.diff(np.append(heights_N, heights_N[0] + 1.0))
    spacing_ang = 1.0 / float(np.linalg.norm(atoms.cell.reciprocal()[2]))
    return float(gaps_N.max() * spacing_ang)


def is_slab(atoms: Atoms) -> bool:
    """Return True for atoms that repeat in the plane and have vacuum above it."""
    alone = is_gas(atoms) or is_crystal(atoms)
    return bool(atoms.pbc[:2].all()) and not alone and vacuum_ang(atoms) > _EMPTY_ANG


def is_gas(atoms: Atoms) -> bool:
    """Return True for a molecule in a box of its own, as ``boxed`` makes it."""
    return bool(atoms.info.get("gas", False)) or not atoms.pbc.any()


def is_crystal(atoms: Atoms) -> bool:
    """Return True for atoms that ``as_crystal`` says are one, however wide its gaps are."""
    return bool(atoms.info.get("crystal", False))


def as_crystal(atoms: Atoms) -> Atoms:
    """Return atoms that repeat along each vector of their cell and need no vacuum."""
    crystal: Atoms = atoms.copy()
    crystal.info["crystal"] = True
    crystal.pbc = True
    return crystal


def boxed(molecule: Atoms, vacuum: float | None) -> Atoms:
    """Return a molecule alone in a periodic box (Å on each side), or without a cell."""
    gas: Atoms = molecule.copy()
    gas.info["gas"] = True
    if vacuum is not None:
        gas.center(vacuum=vacuum)
        gas.pbc = True
    return gas


def kpoint_mesh(atoms: Atoms, rule: KPoints) -> tuple[int, int, int]:
    """Return the k-points along each axis: one along the vacuum, one for a molecule."""
    if is_gas(atoms):
        return (1, 1, 1)
    if rule.along == "reciprocal":
        exact_3 = rule.length_ang * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    else:
        exact_3 = rule.length_ang / atoms.cell.lengths()
    # a mesh of 12.0000001 is one of 12: cells are precise to 1e-6
    rounded_3 = np.ceil(exact_3 - 1e-6) if rule.rounding == "up" else np.round(exact_3)
    a, b, c = np.maximum(rounded_3, 1).astype(int).tolist()
    return (a, b, 1) if is_slab(atoms) else (a, b, c)


def gamma_centred(atoms: Atoms, rule: KPoints) -> bool:
    """Return whether the mesh holds Gamma; a shifted one breaks the symmetry of hexagonal cells."""
    if rule.gamma == "always" or is_gas(atoms):
        return True
    angle = float(atoms.cell.angles()[2])
    a, b = atoms.cell.lengths()[:2]
    return bool(min(abs(angle - 60.0), abs(angle - 120.0)) < 0.5 and abs(a - b) < 0.01 * a)


def start_moments(atoms: Atoms, spin: Spin) -> NDArray[np.float64]:
    """Return the magnetic moments (N) to start from; all zero where spins are not free.

    Magnetic elements start magnetised; in an antiferromagnet those that carry a negative moment,
    as ``magnetic_order`` gives them, start with theirs turned over. A molecule keeps what its own
    geometry states, and one with an odd number of electrons starts with one free spin.
    """
    moments_N = np.array([spin.moments.get(symbol, 0.0) for symbol in atoms.symbols])
    if spin.policy == "none":
        return np.zeros(len(atoms))
    if is_gas(atoms) and not moments_N.any():
        moments_N = np.array(atoms.get_initial_magnetic_moments(), dtype=float)
        if not moments_N.any() and int(atoms.numbers.sum()) % 2:
            moments_N[0] = 1.0
    if spin.order == "antiferromagnetic" and not is_gas(atoms):
        return np.where(atoms.get_initial_magnetic_moments() < 0, -moments_N, moments_N)
    return moments_N


def needs_dipole(atoms: Atoms, calculation: Calculation) -> bool:
    """Return whether a dipole correction belongs to these atoms at a level."""
    return calculation.dipole == "asymmetric" and is_slab(atoms) and not _ends_alike(atoms)


def vacuum_middle(atoms: Atoms) -> float:
    """Return where along c (fraction, 0 to 1) the widest gap has its middle."""
    heights_N = np.sort(atoms.get_scaled_positions(wrap=True)[:, 2])
    gaps_N = np.diff(np.append(heights_N, heights_N[0] + 1.0))
    widest = int(np.argmax(gaps_N))
    return float((heights_N[widest] + gaps_N[widest] / 2) % 1.0)


def _ends_alike(atoms: Atoms) -> bool:
    """Return True where species and heights read the same from both sides."""
    fractions_N = (atoms.get_scaled_positions(wrap=True)[:, 2] - vacuum_middle(atoms)) % 1.0
    heights_N = fractions_N / float(np.linalg.norm(atoms.cell.reciprocal()[2]))
    up_N, down_N = heights_N - heights_N.min(), heights_N.max() - heights_N
    for number in set(atoms.numbers.tolist()):
        of = atoms.numbers == number
        if not np.allclose(np.sort(up_N[of]), np.sort(down_N[of]), atol=_SAME_HEIGHT_ANG):
            return False
    return True
