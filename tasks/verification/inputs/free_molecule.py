"""A gas molecule to compute: its geometry, and the spins that it starts with.

Shapes  N atoms.
Units   Å, Bohr magnetons.
Source  G2 (Curtiss et al. 1997) as ASE stores it: geometries and moments of small molecules.
"""

from functools import cache

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from numpy.typing import NDArray

from tasks.errors import UserError

_SPELLINGS = {"H2S": "SH2"}  # of G2
# G2 has both states of these; methylene's ground state is the triplet, silylene's the singlet.
_GROUND_STATES = {"CH2": "CH2_s3B1d", "H2Si": "SiH2_s1A1d"}


def free_molecule(name: str, start: Atoms | None = None) -> Atoms:
    """Return a molecule without cell, constraints and tags, at its G2 or its given geometry.

    G2 states the moments of radicals and of oxygen; they are kept to start from, also where the
    geometry is given and G2 has the species.

    Raises:
        UserError: no geometry is given and G2 has none.
    """
    geometry = _named(name) if start is None else start
    positions_N3 = np.asarray(geometry.positions)
    if start is not None:
        positions_N3 = positions_N3 - positions_N3.mean(axis=0)
    moments_N = _moments(name, geometry)
    magmoms = moments_N if moments_N.any() else None
    return Atoms(geometry.numbers, positions=positions_N3, magmoms=magmoms)


def _named(name: str) -> Atoms:
    try:
        atoms: Atoms = molecule(_SPELLINGS.get(name, name))
    except KeyError:
        raise UserError(f"no gas geometry is known for {name}; give one") from None
    return atoms


def _moments(name: str, atoms: Atoms) -> NDArray[np.float64]:
    """Return the moments (N) of the species in G2, zeros where G2 does not have it."""
    tabulated = _in_g2(name, atoms.get_chemical_formula())
    if tabulated is None:
        return np.zeros(len(atoms))
    moments_N = np.array(tabulated.get_initial_magnetic_moments(), dtype=float)
    if np.array_equal(tabulated.numbers, atoms.numbers):
        return moments_N
    spread_N = np.zeros(len(atoms))
    for number in set(atoms.numbers.tolist()):  # in another order: the same total on each element
        of = atoms.numbers == number
        spread_N[of] = moments_N[tabulated.numbers == number].sum() / of.sum()
    return spread_N


def _in_g2(name: str, formula: str) -> Atoms | None:
    """Return G2's molecule of this name, else one of the formula if all have one spin."""
    alike = _by_formula().get(formula, {})
    if name in alike:
        return alike[name]
    if formula in _GROUND_STATES:
        return alike[_GROUND_STATES[formula]]
    totals = {round(a.get_initial_magnetic_moments().sum()) for a in alike.values()}
    return next(iter(alike.values())) if len(totals) == 1 else None


@cache
def _by_formula() -> dict[str, dict[str, Atoms]]:
    found: dict[str, dict[str, Atoms]] = {}
    for name in sorted(g2.names):
        atoms = g2[name]
        found.setdefault(atoms.get_chemical_formula(), {})[name] = atoms
    return found
