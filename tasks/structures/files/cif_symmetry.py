"""The symmetry operations of a CIF block: those it lists, or those of the space group it names.

A name without operations may stand for several settings (two origins, hexagonal or rhombohedral
axes, another unique axis); all that fit the cell are returned, and the atoms decide between them.

Units   Å for the cell, fractions of it for operations.
Source  International Tables A; Hall numbers as in spglib.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core.operations import SymmOp
from pymatgen.core.structure import Structure

from tasks.errors import UserError

UNSET = ("", "?", ".")
CifData = Mapping[str, str | list[str]]
_METRIC = 0.02  # by which operations may miss the cell's metric: a cell written to 2 digits
_SAME_SITE_ANG = 0.1  # within which a full list of atoms must have the symmetry that is named
_OPERATION = re.compile(r"[\sxyzXYZ\d+\-*/.]+(,[\sxyzXYZ\d+\-*/.]+){2}")
_LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_RENAMED = {"Aem2": "Abm2", "Aea2": "Aba2", "Cmce": "Cmca", "Cmme": "Cmma", "Ccce": "Ccca"}
_CHOICES = {"1": "1", "2": "2", "S": "1", "Z": "2", "H": "H", "R": "R"}


def column(data: CifData, key: str) -> list[str]:
    """Return the values of a key of a CIF block, none where it has no such key."""
    values = data.get(key, [])
    return [values] if isinstance(values, str) else values


def symmetry_settings(data: CifData, cell_33: NDArray[np.float64]) -> list[list[str]]:
    """Return the sets of operations that a block may mean, each as ``x, y, z`` strings.

    Args:
        data: The block's values by its keys in small letters, dots as underscores.
        cell_33: The cell's vectors in Å, as rows.

    Returns:
        One set where operations are listed or no symmetry is stated; else one for each setting of
        the space group that fits the cell.

    Raises:
        UserError: an operation is none, the group is not known, or no setting fits the cell.
    """
    listed = next((found for key in _LISTED if (found := column(data, key))), [])
    for operation in listed:
        if not _OPERATION.fullmatch(operation):
            raise UserError(f"a symmetry operation reads x, y, z: got {operation!r}")
    settings = [listed] if listed else _named_settings(data)
    if not settings:
        return [["x, y, z"]]
    fitting = [operations for operations in settings if _fit(operations, cell_33)]
    if not fitting:
        raise UserError(
            "symmetry operations must fit the cell's lengths and angles: these are of other axes; "
            "list the operations for the axes of the file"
        )
    return fitting


def require_named_symmetry(data: CifData, structure: Structure) -> None:
    """Check that atoms listed without operations are all: that they have the symmetry named.

    Raises:
        UserError: a block names a space group, lists the identity alone, and its atoms do not have
            the symmetry of that group.
    """
    listed = next((found for key in _LISTED if (found := column(data, key))), [])
    halls = _halls(data) if len(listed) == 1 else []
    if not halls:
        return
    lattice, scaled = structure.lattice.matrix.tolist(), structure.frac_coords.tolist()
    cell = (lattice, scaled, list(structure.atomic_numbers))
    dataset = spglib.get_symmetry_dataset(cell, symprec=_SAME_SITE_ANG)
    rotations = dataset.rotations if dataset else np.eye(3)[None]
    turns, expected = (len(np.unique(each, axis=0)) for each in (rotations, _database(halls[0])[0]))
    if turns < expected:
        name = sorted(_groups()[halls[0]][1], key=len)[0]
        raise UserError(
            f"all atoms are listed where no operations are: the block names {name}, lists no "
            "operation of it, and its atoms do not have that symmetry; list the operations, or all "
            "atoms in P1"
        )


def _named_settings(data: CifData) -> list[list[str]]:
    return [
        [
            SymmOp.from_rotation_and_translation(rotation, shift).as_xyz_str()
            for rotation, shift in zip(*_database(hall), strict=True)
        ]
        for hall in _halls(data)
    ]


def _database(hall: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return rotations and translations of a Hall number."""
    found = spglib.get_symmetry_from_database(hall)
    if found is None:
        raise ValueError(f"a Hall number is 1 to 530, got {hall}")
    return found["rotations"], found["translations"]


def _halls(data: CifData) -> list[int]:
    """Return the Hall numbers of the settings that a block may mean; none if it states none."""
    name = next((n for key in _NAMES for n in column(data, key) if n not in UNSET), "")
    number = next((n for key in _NUMBERS for n in column(data, key) if n not in UNSET), "")
    if not name and not number:
        return []
    numbers = {int(number)} if number.isdigit() else set(range(1, 231))
    if not name:
        settings = ("", "1", "2", "H", "R", "b", "b1")
        found = [
            h for h, (n, _, choice) in _groups().items() if n in numbers and choice in settings
        ]
    else:
        found = _by_name(name, numbers)
    if not found:
        stated = " of number ".join(filter(None, (name, number)))
        raise UserError(
            f"the space group must be known: {stated} is not; list the symmetry operations"
        )
    return found


def _by_name(name: str, numbers: set[int]) -> list[int]:
    plain, _, suffix = re.sub(r"[\s_']", "", name).partition(":")
    if not suffix and plain[-1:] in "SZHR" and len(plain) > 1:
        plain, suffix = plain[:-1], plain[-1]
    plain = _RENAMED.get(plain, plain)
    choice = _CHOICES.get(suffix.upper())
    found = [
        hall
        for hall, (number, symbols, setting) in _groups().items()
        if plain.lower() in symbols and number in numbers and choice in (None, setting)
    ]
    if suffix and choice is None:
        return []
    first = [hall for hall in found if _groups()[hall][2].startswith("b")]
    return first or found  # short monoclinic names are those of unique axis b


@cache
def _groups() -> dict[int, tuple[int, frozenset[str], str]]:
    """Return number, symbols in small letters without spaces, and choice by Hall number."""
    groups = {}
    for hall in range(1, 531):
        group = spglib.get_spacegroup_type(hall)
        if group is None:
            raise ValueError(f"a Hall number is 1 to 530, got {hall}")
        full = group.international_full
        symbols = {full, "".join(word for word in full.split() if word != "1") or full}
        if not 3 <= group.number <= 15:
            symbols |= {group.international_short, group.international}
        plain = frozenset(re.sub(r"[\s_]", "", symbol).lower() for symbol in symbols)
        groups[hall] = (group.number, plain, group.choice)
    return groups


def _fit(operations: Sequence[str], cell_33: NDArray[np.float64]) -> bool:
    """Tell whether operations keep the cell's lengths and angles."""
    metric_33 = cell_33 @ cell_33.T
    allowed = _METRIC * np.abs(metric_33).max()
    rotations = (SymmOp.from_xyz_str(operation).rotation_matrix for operation in operations)
    return all(
        bool(np.abs(turn_33.T @ metric_33 @ turn_33 - metric_33).max() <= allowed)
        for turn_33 in rotations
    )
