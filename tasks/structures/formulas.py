"""Formulas: counts of their atoms, and a formula by bonds that differs between isomers.

A structural formula names a molecule by its bonds: ``CH3CH2OH`` and ``CH3OCH3`` are both C2H6O.

Shapes  A atoms.
Units   Å.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import networkx
import numpy as np
from ase import Atoms

from model.elements import composition
from model.errors import ModelError
from tasks.errors import UserError
from tasks.structures.orientation import is_connected, molecule_graph


def formula_counts(formula: str) -> dict[str, int]:
    """Return how many atoms of each element a formula such as ``CH3OH`` holds.

    Raises:
        UserError: it is empty, or holds anything but symbols, counts and closed brackets.

    Example:
        >>> formula_counts("CH3OH")
        {'C': 1, 'H': 4, 'O': 1}
    """
    try:
        return dict(composition(formula))
    except ModelError as fault:
        raise UserError(str(fault)) from fault


def structural_formula(molecule: Atoms) -> str:
    """Return a condensed structural formula, the same however the atoms are numbered.

    Hydrogens stand behind their atom and side chains in brackets. Of all atoms that the string
    may begin with, the one that needs the fewest brackets does, then the first in the alphabet. A
    ring is written as a chain; the missing hydrogens tell that it is closed.
    """
    heavy = molecule[molecule.numbers != 1]
    if not len(heavy):
        return str(molecule.get_chemical_formula())
    if not is_connected(heavy):
        raise UserError(f"{molecule.get_chemical_formula()} is in pieces: it has no one formula")
    words = _words(molecule)
    bonds = molecule_graph(heavy)
    ranks = _ranks(bonds, words)
    spelt = [_spelt(start, bonds, words, ranks, set()) for start in bonds]
    return min(spelt, key=lambda name: (name.count("("), name))


def _words(molecule: Atoms) -> list[str]:
    """Return each heavy atom's symbol with its hydrogens, each hydrogen with its nearest atom."""
    heavy = np.flatnonzero(molecule.numbers != 1)
    hydrogens = np.flatnonzero(molecule.numbers == 1)
    apart_HA = np.linalg.norm(
        molecule.positions[hydrogens, None] - molecule.positions[None, heavy], axis=2
    )
    held = Counter(apart_HA.argmin(axis=1).tolist())
    symbols = [molecule.symbols[atom] for atom in heavy]
    return [s + ("H" if held[a] else "") + _count(held[a]) for a, s in enumerate(symbols)]


def _ranks(bonds: networkx.Graph, words: Sequence[str]) -> dict[int, int]:
    """Return the atoms' order by their neighbourhoods (Weisfeiler and Lehman 1968).

    The hashes that networkx has of the same refinement tell atoms apart and put them in no order.
    """
    ranks = _ranked({atom: (words[atom], len(bonds[atom])) for atom in bonds})
    for _ in bonds:
        ranks = _ranked({a: (ranks[a], sorted(ranks[b] for b in bonds[a])) for a in bonds})
    return ranks


def _ranked(signs: Mapping[int, tuple[object, ...]]) -> dict[int, int]:
    order = {repr(sign): rank for rank, sign in enumerate(sorted(signs.values()))}
    return {atom: order[repr(sign)] for atom, sign in signs.items()}


def _spelt(
    atom: int,
    bonds: networkx.Graph,
    words: Sequence[str],
    ranks: Mapping[int, int],
    seen: set[int],
) -> str:
    """Return the formula read from ``atom`` on: side chains first, the longest way last."""
    seen.add(atom)
    branches = [
        _spelt(other, bonds, words, ranks, seen)
        for other in sorted(bonds[atom], key=lambda other: ranks[other])
        if other not in seen
    ]
    branches.sort(key=lambda branch: (len(branch), branch))
    main = branches.pop() if branches else ""
    sides = [f"({side}){_count(branches.count(side))}" for side in dict.fromkeys(branches)]
    return words[atom] + "".join(sides) + main


def _count(number: int) -> str:
    return str(number) if number > 1 else ""
