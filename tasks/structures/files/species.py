"""Elements as files write them: ``Cu``, ``CU``, ``Fe3+``, ``O2-``, ``Cu1A``, ``Fe_pv``, ``D``."""

import re
from collections.abc import Collection

from ase.data import chemical_symbols

from tasks.errors import UserError

_ELEMENTS = frozenset(chemical_symbols[1:])  # the first is X, which is none
_LETTERS = re.compile(r"[A-Za-z]+")
_ISOTOPE = re.compile(r"^\d+(?=[A-Z])")
_ELEMENT_LIKE = re.compile(r"[A-Z][a-z]?(?![a-z])")


def element_symbol(species: str) -> str:
    """Return the element of a species, without charge, number, isotope or name of a potential.

    Deuterium, ``D`` or ``2H``, is hydrogen.

    Raises:
        UserError: the species is no element: unknown, a group such as ``OH`` or a mixture.
    """
    letters = _LETTERS.match(_ISOTOPE.sub("", species, count=1))
    symbol = _element(letters.group()) if letters else ""
    if not symbol or "," in species or " " in species:
        raise UserError(f"every atom needs an element such as Cu or O: got {species!r}")
    return symbol


def label_element(label: str, stated: Collection[str], labels: Collection[str]) -> str:
    """Return the element of a CIF atom's label where the file has no symbol beside it.

    Labels are free text that begins with an element: ``CO1`` is cobalt or the carbon of a carbonyl.
    The composition of the file decides, and without one such a label is refused.

    Args:
        label: The label, as in ``Cu1A``.
        stated: The elements of the composition that the file states; empty where it states none.
        labels: All labels of the block.

    Returns:
        The element's symbol.

    Raises:
        UserError: the label begins with no element, or with one of two.
    """
    letters = _LETTERS.match(label)
    like = _ELEMENT_LIKE.match(label)
    found = [_element(match.group()) for match in (letters, like) if match]
    options = list(dict.fromkeys(symbol for symbol in found if symbol))
    fitting = [symbol for symbol in options if symbol in stated] or options
    if not fitting:
        raise UserError(f"a label without a symbol begins with its element: got {label!r}")
    second = letters.group()[1:2] if letters else ""
    others = {match.group() for other in labels if (match := _LETTERS.match(other))}
    if len(fitting) > 1 and second in others:
        raise UserError(
            f"a label means one element: {label!r} is {' or '.join(fitting)}; state "
            "_atom_site_type_symbol"
        )
    return fitting[0]


def _element(letters: str) -> str:
    symbol = letters.title()
    if symbol == "D":
        return "H"
    return symbol if symbol in _ELEMENTS else ""
