"""The elements: their properties as numbers, their counts in formulas, the materials they make.

Shapes  Z = 95 rows, to plutonium, one for each atomic number (row 0 unused); P properties.
"""

import re
import warnings
from collections import Counter
from collections.abc import Collection
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from model.errors import ModelError

MAX_ATOMIC_NUMBER = 94
PROPERTIES = (
    "group",
    "row",
    "electronegativity",  # Pauling
    "atomic_radius_ang",
    "ionization_ev",
    "electron_affinity_ev",
    "mendeleev_number",
    "d_electrons",
)

MaterialKind = Literal["metal", "alloy", "oxide", "sulphide", "nitride", "halide", "other"]
# Germanium, antimony, bismuth and polonium count as metals: what they form with metals is an alloy.
_GASES_AND_HALOGENS = (
    "H",
    "He",
    "N",
    "O",
    "F",
    "Ne",
    "Cl",
    "Ar",
    "Br",
    "Kr",
    "I",
    "Xe",
    "At",
    "Rn",
)
NON_METALS = frozenset((*_GASES_AND_HALOGENS, "B", "C", "Si", "P", "S", "As", "Se", "Te"))
_ANIONS: dict[str, MaterialKind] = {
    "O": "oxide",
    "S": "sulphide",
    "N": "nitride",
    **dict.fromkeys(("F", "Cl", "Br", "I", "At"), "halide"),
}

_TOKEN = re.compile(r"(\((?!\d)|\)|[A-Z][a-z]?)(\d{0,9})")  # counts are bounded, not expanded


def composition(formula: str) -> Counter[str]:
    """Return how many atoms of each element a formula names: ``Cu3Pt``, ``NH2N(CH3)2``.

    Args:
        formula: Symbols, counts and brackets.

    Returns:
        Counts by symbol.

    Raises:
        ModelError: it is empty, or holds anything but symbols, counts of up to nine digits and
            closed brackets.
    """
    groups: list[Counter[str]] = [Counter()]  # the formula, and the brackets open within it
    end = 0
    for token in _TOKEN.finditer(formula):
        if token.start() != end:
            break
        symbol, times = token[1], int(token[2] or 1)
        if symbol == "(":
            groups.append(Counter())
        elif symbol == ")" and len(groups) > 1 and groups[-1]:
            group = groups.pop()
            groups[-1].update({element: count * times for element, count in group.items()})
        elif symbol == ")":
            break
        else:
            groups[-1][symbol] += times
        end = token.end()
    if end != len(formula) or len(groups) > 1 or not groups[0]:
        raise ModelError(
            f"a formula is element symbols and counts, such as Cu3Pt or NH2N(CH3)2; got {formula!r}"
        )
    return groups[0]


def material_kind(symbols: Collection[str]) -> MaterialKind:
    """Return the kind of material that the elements of a slab make.

    One metal is a metal, several are an alloy. A compound of oxygen, nitrogen, sulphur or halogens
    has its name of these where it holds one of the four; oxynitrides, carbides, hydrides and the
    elements that are no metals are ``other``.

    Example:
        >>> [material_kind(s) for s in (["Cu"], ["Cu", "Pt"], ["Ir", "O"], ["Ti", "N", "O"])]
        ['metal', 'alloy', 'oxide', 'other']
    """
    elements = set(symbols)
    if not elements & NON_METALS:
        return "metal" if len(elements) == 1 else "alloy"
    kinds = {_ANIONS[symbol] for symbol in elements if symbol in _ANIONS}
    return kinds.pop() if len(kinds) == 1 and len(elements) > 1 else "other"


def _properties(element: Element) -> tuple[float, ...]:
    d_shells = [n for _, orbital, n in element.full_electronic_structure if orbital == "d"]
    values = (
        element.group,
        element.row,
        element.X,
        element.atomic_radius,
        element.ionization_energy,
        element.electron_affinity,
        element.mendeleev_no,
        # A closed d shell below a p valence shell (Ga onwards) is core, not chemistry.
        d_shells[-1] if d_shells and element.group <= 12 else 0,
    )
    return tuple(np.nan if value is None else float(value) for value in values)


@cache
def element_properties() -> NDArray[np.float64]:
    """Return the (Z, P) table; missing values are NaN."""
    table_ZP = np.full((MAX_ATOMIC_NUMBER + 1, len(PROPERTIES)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity: NaN says so
        for number in range(1, MAX_ATOMIC_NUMBER + 1):
            table_ZP[number] = _properties(Element.from_Z(number))
    return table_ZP


@cache
def standardised_properties() -> NDArray[np.float64]:
    """Return the (Z, P) table with zero mean and unit variance, unknown values at the mean."""
    table_ZP = element_properties()
    scaled_ZP = (table_ZP - np.nanmean(table_ZP, axis=0)) / np.nanstd(table_ZP, axis=0)
    known_ZP: NDArray[np.float64] = np.nan_to_num(scaled_ZP)
    return known_ZP
