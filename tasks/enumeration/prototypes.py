"""Ideal crystals of elements and of A3B and AB alloys, sized from the elements.

Lattice constants of alloys follow Vegard's rule on the volume per atom (Vegard 1921), from ASE's
experimental reference states; every such bulk says so in its ``source``.
"""

from collections.abc import Iterable
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.data import atomic_numbers, reference_states
from pymatgen.core.composition import Composition

from tasks.errors import UserError

ELEMENT_PROTOTYPES = ("fcc", "bcc", "hcp", "diamond")
ALLOY_PROTOTYPES = {"L1_2": (3, 1), "B2": (1, 1), "L1_0": (1, 1)}
_IDEAL_C_OVER_A = float(np.sqrt(8.0 / 3.0))


def ground_state(symbol: str) -> str:
    """Return the prototype that ``symbol`` has in ASE's reference states."""
    prototype = _reference(symbol)["symmetry"]
    if prototype not in ELEMENT_PROTOTYPES:
        raise UserError(
            f"elements come as {', '.join(ELEMENT_PROTOTYPES)}; {symbol} is {prototype} in nature: "
            "name a prototype or give a structure file"
        )
    return str(prototype)


def volume_per_atom(symbol: str) -> float:
    """Return the volume of one atom (Å³) in the reference state of an element."""
    state = _reference(symbol)
    if state["symmetry"] not in (*ELEMENT_PROTOTYPES, "rhombohedral", "bct"):
        raise UserError(
            f"an alloy's lattice constant needs the volumes of its elements; none is known for "
            f"{symbol} ({state['symmetry']}): give a structure file"
        )
    crystal = ase_bulk(symbol)
    return float(crystal.get_volume()) / len(crystal)


def crystal(formula: str, prototype: str | None) -> tuple[Atoms, str]:
    """Return the conventional cell of ``formula`` in ``prototype`` and the source of its size."""
    counts = _counts(formula)
    if len(counts) == 1:
        return _element(next(iter(counts)), prototype)
    if prototype is None:
        raise UserError(
            f"an alloy needs a prototype, one of {', '.join(ALLOY_PROTOTYPES)}; {formula} has none"
        )
    return _alloy(formula, counts, prototype)


def alloy_formulas(elements: Iterable[str], prototype: str) -> list[str]:
    """Return the formulas of all ordered pairs of ``elements`` in ``prototype``.

    AB prototypes are symmetric in A and B, so each of their pairs comes once.
    """
    ratio = _alloy_ratio(prototype)
    pairs = permutations(dict.fromkeys(elements), 2)
    if ratio == (3, 1):
        return [f"{a}3{b}" for a, b in pairs]
    return [f"{a}{b}" for a, b in pairs if a < b]


def _element(symbol: str, prototype: str | None) -> tuple[Atoms, str]:
    natural = _reference(symbol)["symmetry"]
    wanted = prototype or ground_state(symbol)
    if wanted not in ELEMENT_PROTOTYPES:
        raise UserError(
            f"an element's prototype is one of {', '.join(ELEMENT_PROTOTYPES)}; "
            f"got {wanted} for {symbol}"
        )
    if wanted == natural:
        atoms = ase_bulk(symbol) if wanted == "hcp" else ase_bulk(symbol, cubic=True)
        return atoms, f"{wanted} {symbol}, lattice constants of ASE's reference states"
    volume = volume_per_atom(symbol)
    return sized_element(symbol, wanted, volume), (
        f"{wanted} {symbol}, lattice constant from the volume per atom of {natural} {symbol}"
    )


def sized_element(symbol: str, prototype: str, volume: float) -> Atoms:
    """Return an element in a prototype of given volume per atom (Å³), in its conventional cell."""
    if prototype == "hcp":
        a = (4.0 * volume / (np.sqrt(3.0) * _IDEAL_C_OVER_A)) ** (1 / 3)
        return ase_bulk(symbol, "hcp", a=a, c=a * _IDEAL_C_OVER_A)
    atoms_in_cube = {"fcc": 4, "bcc": 2, "diamond": 8}[prototype]
    return ase_bulk(symbol, prototype, a=(atoms_in_cube * volume) ** (1 / 3), cubic=True)


def _alloy(formula: str, counts: dict[str, int], prototype: str) -> tuple[Atoms, str]:
    ratio = _alloy_ratio(prototype)
    # Of AB alloys the first by symbol is at the origin, as in the standard form of a crystal.
    (major, n_major), (minor, n_minor) = sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:2]
    if len(counts) != 2 or (n_major, n_minor) != ratio:
        wanted = "A3B" if ratio == (3, 1) else "AB"
        raise UserError(f"{prototype} holds {wanted} alloys of two elements, got {formula}")
    n_cell = 2 if prototype == "B2" else 4
    share = n_major / (n_major + n_minor)
    volume = share * volume_per_atom(major) + (1.0 - share) * volume_per_atom(minor)
    a = (n_cell * volume) ** (1 / 3)
    return _decorated(major, minor, prototype, a), (
        f"{prototype} {formula}, a = {a:.3f} Å by Vegard's rule from {major} and {minor}"
    )


def _decorated(major: str, minor: str, prototype: str, a: float) -> Atoms:
    if prototype == "B2":
        return Atoms(
            [major, minor], scaled_positions=[[0, 0, 0], [0.5] * 3], cell=[a] * 3, pbc=True
        )
    fcc = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    symbols = [minor, *[major] * 3] if prototype == "L1_2" else [major] * 2 + [minor] * 2
    # L1_0 keeps c/a = 1 and the four-atom cell, so that (111) means the close-packed plane.
    return Atoms(symbols, scaled_positions=fcc, cell=[a] * 3, pbc=True)


def _alloy_ratio(prototype: str) -> tuple[int, int]:
    if prototype not in ALLOY_PROTOTYPES:
        raise UserError(
            f"an alloy's prototype is one of {', '.join(ALLOY_PROTOTYPES)}, got {prototype}"
        )
    return ALLOY_PROTOTYPES[prototype]


def _counts(formula: str) -> dict[str, int]:
    try:
        composition = Composition(formula).reduced_composition
        counts = {str(element): round(n) for element, n in composition.items()}
    except ValueError as error:
        raise UserError(f"a formula is written as in Cu or Pt3Ni, got {formula!r}") from error
    unknown = [symbol for symbol in counts if symbol not in atomic_numbers]
    if unknown or not counts:
        raise UserError(f"a formula holds element symbols, as in Pt3Ni; got {formula!r}")
    if len(counts) == 1:
        return dict.fromkeys(counts, 1)
    return counts


def _reference(symbol: str) -> dict[str, object]:
    state = reference_states[atomic_numbers[symbol]] if symbol in atomic_numbers else None
    if state is None or state["symmetry"] in ("atom", "diatom"):
        raise UserError(
            f"{symbol} has no crystal in ASE's reference states: give a structure file instead"
        )
    return dict(state)
