"""The atom sites of a CIF block: element, position and occupancy as the dictionary means them.

Units   positions as fractions of the cell.
Source  the core dictionary of the IUCr.
"""

import re
from dataclasses import dataclass

import numpy as np
from pymatgen.core.composition import Composition
from pymatgen.core.lattice import Lattice

from tasks.errors import UserError
from tasks.structures.files.cif_symmetry import UNSET, CifData, column
from tasks.structures.files.species import element_symbol, label_element

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d*\)?)?")
_TWELFTHS = tuple(n / 12 for n in range(1, 24) if n % 3)
CELL_KEYS = [f"_cell_length_{a}" for a in "abc"] + [
    f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")
]
POSITION_KEYS = [f"_atom_site_fract_{axis}" for axis in "xyz"]
MAX_ATOMS = 2_000  # of one structure of a file; more is no bulk, slab or adsorbate to enumerate
FULL_OCCUPANCY = 0.01  # occupancies within this of 1 are 1: thirds are written 0.33


@dataclass(frozen=True)
class CifSite:
    """An atom of a block: its row, label, element, position as written and occupancy."""

    index: int
    label: str
    element: str
    xyz: tuple[str, str, str]
    occupancy: float


def cif_sites(data: CifData) -> list[CifSite]:
    """Return the sites of a block, dummies left out.

    Args:
        data: The block's values by their keys in small letters, dots as underscores.

    Returns:
        Elements, fractional positions and occupancies, in the order of the file.

    Raises:
        UserError: the cell, an element, a position or an occupancy is not stated or is odd, or
            there are more than ``MAX_ATOMS`` sites.
    """
    for key in (*CELL_KEYS, *POSITION_KEYS):
        if key not in data:
            raise UserError(f"a crystal has a cell and positions as fractions of it: no {key}")
    lengths_and_angles = [cif_float(_number(data, key, 0)) for key in CELL_KEYS]
    lattice = Lattice.from_parameters(*lengths_and_angles)
    if min(lengths_and_angles) <= 0 or not abs(lattice.volume) > 1e-3:
        raise UserError(f"a cell has lengths and angles of a volume: got {lengths_and_angles}")
    total = len(column(data, POSITION_KEYS[0]))
    if not 0 < total <= MAX_ATOMS:
        raise UserError(f"a structure has 1 to {MAX_ATOMS:,} atoms: this block has {total}")
    symbols = column(data, "_atom_site_type_symbol") or [""] * total
    labels = column(data, "_atom_site_label") or symbols
    flags = column(data, "_atom_site_calc_flag") or [""] * total
    attached = column(data, "_atom_site_attached_hydrogens") or [""] * total
    stated = stated_composition(data)
    elements = {element.symbol for element in stated} if stated else set()
    rows = []
    for i in range(total):
        if flags[i].lower() == "dum":  # a dummy site by the dictionary: no atom
            continue
        if attached[i].strip("0.?"):
            raise UserError(f"hydrogen atoms need positions: site {labels[i]} has some without")
        given = symbols[i] not in UNSET
        element = (
            element_symbol(symbols[i]) if given else label_element(labels[i], elements, labels)
        )
        x, y, z = (_number(data, key, i, labels[i]) for key in POSITION_KEYS)
        rows.append(CifSite(i, labels[i], element, (x, y, z), _occupancy(data, i, labels[i])))
    return rows


def _number(data: CifData, key: str, index: int, label: str = "") -> str:
    text = column(data, key)[index].strip()
    if not _NUMBER.fullmatch(text):
        of = f" of site {label}" if label else ""
        raise UserError(f"a cell and each position are numbers: {key}{of} is {text!r}")
    return text


def _occupancy(data: CifData, index: int, label: str) -> float:
    given = column(data, "_atom_site_occupancy")[index : index + 1]
    if not given or given[0] in UNSET:
        return 1.0  # the dictionary's default
    number = _number(data, "_atom_site_occupancy", index, label)
    occupancy = cif_float(number)
    if not 0.0 < occupancy <= 1.0 + FULL_OCCUPANCY:
        raise UserError(f"an occupancy is above 0 and at most 1: site {label} has {occupancy:g}")
    return occupancy


def snapped_site(row: CifSite) -> CifSite:
    """Return an atom whose rounded thirds, sixths and twelfths are whole, for the operations."""
    x, y, z = (_snapped(text) for text in row.xyz)
    return CifSite(row.index, row.label, row.element, (x, y, z), row.occupancy)


def _snapped(text: str) -> str:
    digits = len(text.partition("(")[0].partition(".")[2])
    value, step = abs(cif_float(text)), 10.0**-digits
    if digits >= 2:
        for whole in _TWELFTHS:
            if -0.501 * step < whole - value < step:  # rounded or cut off
                return repr(np.copysign(whole, cif_float(text)).item())
    return text


def cif_float(text: str) -> float:
    """Return a number of a CIF without its uncertainty, nan where it is not stated."""
    return float(text.partition("(")[0]) if _NUMBER.fullmatch(text) else float("nan")


def stated_composition(data: CifData) -> Composition | None:
    """Return the composition that a block states, deuterium as hydrogen; None if it states none."""
    formula = " ".join(column(data, "_chemical_formula_sum"))
    if not re.fullmatch(r"([A-Z][a-z]?(\d+\.?\d*|\.\d+)?\s*)+", formula):
        return None  # not stated, or with letters for numbers
    try:
        return Composition(re.sub(r"D(?![a-z])", "H", formula))
    except ValueError:
        return None
