"""The crystals of a CIF, block by block: each is read as it is written, or says why it is not.

pymatgen parses the blocks and applies their symmetry. What it would guess, round, merge or drop
without a word is decided here before: elements, occupancies, positions, operations. The composition
that a block states is compared with what was read of it.

Units   cell in Å, positions as fractions of it.
Source  Hall, Allen & Brown 1991, Acta Cryst. A47, 655 (CIF); the core dictionary of the IUCr.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifBlock, CifFile, CifParser

from tasks.errors import UserError
from tasks.structures.species import element_symbol, label_element

MAX_ATOMS = 2_000  # of one structure of a file; more is no bulk, slab or adsorbate to enumerate
_MAX_IMAGES = 20_000  # atoms times operations of a block: seconds of work
_MAX_BLOCK_CHARACTERS = 8_000_000
_FULL = 0.01  # occupancies within this of 1 are 1: thirds are written 0.33
_MERGE_ANG = 0.05  # images of one atom, written to 3 decimals, lie within; real atoms 0.5 Å apart
_METRIC = 0.02  # by which operations may miss the cell's metric: a cell written to 2 digits
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d*\)?)?")
_OPERATION = re.compile(r"[\sxyzXYZ\d+\-*/.]+(,[\sxyzXYZ\d+\-*/.]+){2}")
_TWELFTHS = tuple(n / 12 for n in range(-12, 13) if n % 3)
_UNSET = ("", "?", ".")
_CELL = [f"_cell_length_{a}" for a in "abc"] + [
    f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")
]
_XYZ = [f"_atom_site_fract_{axis}" for axis in "xyz"]
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_GROUPS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_it_number",
    "_symmetry_int_tables_number",
)
# Keys as pymatgen spells them; CIF itself ignores case, and dots are those of its second dialect.
_KEYS = {
    key.lower().replace(".", "_"): key
    for key in (
        *_CELL,
        "_symmetry_equiv_pos_as_xyz",
        "_symmetry_space_group_name_H-M",
        "_symmetry_Int_Tables_number",
        "_space_group_symop_magn_operation.xyz",
        "_space_group_symop_magn_centering.xyz",
        "_space_group_magn.name_BNS",
        "_space_group_magn.number_BNS",
        "_space_group_magn.transform_BNS_Pp_abc",
    )
} | {
    "_space_group_symop_operation_xyz": "_symmetry_equiv_pos_as_xyz",
    "_space_group_name_h-m_alt": "_symmetry_space_group_name_H-M",
    "_space_group_it_number": "_symmetry_Int_Tables_number",
}
_CifData = dict[str, str | list[str]]


@dataclass(frozen=True)
class FileStructure:
    """One structure of a file; ``name`` is its CIF block or the number of its frame."""

    name: str
    atoms: Atoms


@dataclass(frozen=True)
class UnreadStructure:
    """One structure of a file that cannot be read, and why."""

    name: str
    reason: str


def read_cif_blocks(text: str, *, keep_order: bool) -> list[FileStructure | UnreadStructure]:
    """Return the structures of a CIF in order; blocks without cell and atoms hold none.

    Args:
        text: The file.
        keep_order: Keep the order of the atoms, which are else sorted by electronegativity.
    """
    found: list[FileStructure | UnreadStructure] = []
    for name, block in _blocks(text):
        try:
            atoms = _read_block(block, keep_order)
        except Exception as error:  # pymatgen raises anything on a damaged block
            found.append(UnreadStructure(name, _reason(error)))
        else:
            found += [FileStructure(name, atoms)] if atoms else []
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"the block is no valid CIF: {lines[-1]}"  # pymatgen says why on the last line


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each block; text fields, between semicolons, may hold anything."""
    names: list[str] = []
    blocks: list[list[str]] = []
    in_field = False
    for line in text.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-").split("\n"):
        if line.startswith(";"):
            in_field = not in_field
        head = None if in_field else re.match(r"\s*data_(\S*)", line, re.IGNORECASE)
        if head:
            names.append(head[1] or str(len(names)))
            blocks.append([f"data_x{line[head.end() :]}"])
        elif blocks:
            loop = r"^\s*loop_(?=\s|$)"
            plain = line if in_field else re.sub(loop, "loop_", line, flags=re.IGNORECASE)
            blocks[-1].append(plain.replace("\N{NO-BREAK SPACE}", " "))
    if not blocks:
        raise UserError("a CIF has blocks that begin with data_, this file has none")
    if in_field:
        raise UserError(f"a text field of block {names[-1]} begins with ; and never ends")
    for index, (name, lines) in enumerate(zip(names, blocks, strict=True)):
        before = names[:index].count(name)
        yield (f"{name}.{before + 1}" if before else name), "\n".join(lines)


def _read_block(block: str, keep_order: bool) -> Atoms | None:
    if len(block) > _MAX_BLOCK_CHARACTERS:
        raise UserError(f"a block has at most {_MAX_BLOCK_CHARACTERS:,} characters")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        raw = CifBlock.from_str(block).data
    odd = [str(each.message) for each in said if "Possible issue" in str(each.message)]
    if odd:
        raise UserError(f"the block is no valid CIF: {odd[0]}")
    data: _CifData = {key.lower().replace(".", "_"): value for key, value in raw.items()}
    if not any(key.startswith(("_atom_site_", "_cell_length_")) for key in data):
        return None
    structure = _structure(data)
    _compare_composition(data, structure)
    order = range(len(structure))
    if keep_order:
        order = sorted(order, key=lambda i: int(structure[i].label))  # type: ignore[assignment]
    sites = [structure[i] for i in order]
    numbers = [site.species.elements[0].Z for site in sites]
    positions = [site.coords for site in sites]
    return Atoms(numbers, positions, cell=structure.lattice.matrix, pbc=True)


def _structure(data: _CifData) -> Structure:
    """Return the crystal of a block, every site full of one element; labels are row numbers."""
    rows = _rows(data)
    operations = _operations(data)
    if len(rows) * max(1, len(operations)) > _MAX_IMAGES:
        raise UserError(
            f"atoms times symmetry operations are at most {_MAX_IMAGES:,}, this block has "
            f"{len(rows)} times {len(operations)}"
        )
    snapped = [_snap(row) for row in rows] if len(operations) != 1 else rows
    lengths = [float(_number(data, key, 0).partition("(")[0]) for key in _CELL[:3]]
    partial = any(abs(row.occupancy - 1.0) > _FULL for row in rows)
    kept: _CifData = {_KEYS[key]: value for key, value in data.items() if key in _KEYS}
    kept |= {
        "_atom_site_label": [str(row.index) for row in snapped],
        "_atom_site_type_symbol": [row.element for row in snapped],
        "_atom_site_occupancy": [str(row.occupancy) for row in snapped],
    }
    kept |= {key: [row.xyz[axis] for row in snapped] for axis, key in enumerate(_XYZ)}
    sites = ["_atom_site_label", "_atom_site_type_symbol", "_atom_site_occupancy", *_XYZ]
    others = [[key] for key, value in kept.items() if isinstance(value, list) and key not in sites]
    text = str(CifFile({"x": CifBlock(kept, [sites, *others], "x")}))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        parser = CifParser.from_str(
            text,
            occupancy_tolerance=1.0 + _FULL if partial else np.inf,  # rows of one atom given twice
            site_tolerance=_MERGE_ANG / max(*lengths, 1.0),
            frac_tolerance=0.0,
            check_cif=False,
        )
        (structure,) = parser.parse_structures(primitive=False, on_error="raise")
    is_guess = any("Defaulting to P1" in str(each.message) for each in said)
    if is_guess and _states_symmetry(data):
        raise UserError("the space group is not known by its name: list the symmetry operations")
    _check_operations(structure, [op.rotation_matrix for op in parser.symmetry_operations])
    _check_sites(structure, {str(row.index): row.label for row in rows})
    return structure


@dataclass(frozen=True)
class _Row:
    """An atom of a block: its row, label, element, position as written and occupancy."""

    index: int
    label: str
    element: str
    xyz: tuple[str, str, str]
    occupancy: float


def _rows(data: _CifData) -> list[_Row]:
    for key in (*_CELL, *_XYZ):
        if key not in data:
            raise UserError(f"a crystal has a cell and positions as fractions of it: no {key}")
    for key in _CELL:
        _number(data, key, 0)
    total = len(_column(data, _XYZ[0]))
    if not 0 < total <= MAX_ATOMS:
        raise UserError(f"a structure has 1 to {MAX_ATOMS:,} atoms, this block has {total}")
    symbols = _column(data, "_atom_site_type_symbol") or [""] * total
    labels = _column(data, "_atom_site_label") or symbols
    flags = _column(data, "_atom_site_calc_flag") or [""] * total
    stated = _stated_composition(data)
    elements = {element.symbol for element in stated} if stated else set()
    rows = []
    for i in range(total):
        if flags[i].lower() == "dum":  # a dummy site by the dictionary: no atom
            continue
        if _column(data, "_atom_site_attached_hydrogens")[i : i + 1] not in ([], ["0"], ["."]):
            raise UserError(f"site {labels[i]} has hydrogen atoms without positions: add them")
        given = symbols[i] not in _UNSET
        element = (
            element_symbol(symbols[i]) if given else label_element(labels[i], elements, labels)
        )
        x, y, z = (_number(data, key, i, labels[i]) for key in _XYZ)
        rows.append(_Row(i, labels[i], element, (x, y, z), _occupancy(data, i, labels[i])))
    return rows


def _column(data: _CifData, key: str) -> list[str]:
    values = data.get(key, [])
    return [values] if isinstance(values, str) else values


def _number(data: _CifData, key: str, index: int, label: str = "") -> str:
    text = _column(data, key)[index].strip()
    if not _NUMBER.fullmatch(text):
        of = f" of site {label}" if label else ""
        raise UserError(f"{key}{of} must be a number, got {text!r}")
    return text


def _occupancy(data: _CifData, index: int, label: str) -> float:
    given = _column(data, "_atom_site_occupancy")[index : index + 1]
    if not given or given[0] in _UNSET:
        return 1.0  # the dictionary's default
    number = _number(data, "_atom_site_occupancy", index, label)
    occupancy = float(number.partition("(")[0])
    if not 0.0 < occupancy <= 1.0 + _FULL:
        raise UserError(f"an occupancy is above 0 and at most 1, site {label} has {occupancy:g}")
    return occupancy


def _snap(row: _Row) -> _Row:
    """Return an atom whose rounded thirds, sixths and twelfths are whole, for the operations."""
    x, y, z = (_snapped(text) for text in row.xyz)
    return _Row(row.index, row.label, row.element, (x, y, z), row.occupancy)


def _snapped(text: str) -> str:
    digits = len(text.partition("(")[0].partition(".")[2])
    value = float(text.partition("(")[0])
    if digits >= 3:
        for whole in _TWELFTHS:
            if abs(value - whole) < 10.0**-digits:  # rounded or cut off
                return repr(whole)
    return text


def _operations(data: _CifData) -> list[str]:
    listed = next((ops for key in _OPERATIONS if (ops := _column(data, key))), [])
    for operation in listed:
        if not _OPERATION.fullmatch(operation):
            raise UserError(f"a symmetry operation reads x, y, z; got {operation!r}")
    return listed


def _states_symmetry(data: _CifData) -> bool:
    names = [name for key in _GROUPS for name in _column(data, key)]
    return any(re.sub(r"[\s_]", "", name).upper() not in (*_UNSET, "P1", "1") for name in names)


def _check_operations(structure: Structure, rotations: Sequence[np.ndarray]) -> None:
    """Check that the operations keep the cell's lengths and angles: hexagonal or rhombohedral?"""
    metric_33 = structure.lattice.matrix @ structure.lattice.matrix.T
    allowed = _METRIC * np.abs(metric_33).max()
    for rotation_33 in rotations:
        if np.abs(rotation_33.T @ metric_33 @ rotation_33 - metric_33).max() > allowed:
            raise UserError(
                "symmetry operations must fit the cell's lengths and angles; these are of "
                "other axes: list the operations for the axes of the file"
            )


def _check_sites(structure: Structure, labels: dict[str, str]) -> None:
    if len(structure) > MAX_ATOMS:
        raise UserError(f"a structure has at most {MAX_ATOMS:,} atoms, this has {len(structure)}")
    for site in structure:
        label, total = labels[site.label], sum(site.species.values())
        if len(site.species) > 1:
            raise UserError(
                f"every site must hold one element; site {label} is disordered (partial "
                f"occupancy {site.species_string}): give an ordered approximant"
            )
        if total < 1.0 - _FULL:
            raise UserError(
                f"every site must be full; site {label} has a partial occupancy of {total:g} "
                f"{site.species.elements[0]}: give an ordered approximant"
            )


def _stated_composition(data: _CifData) -> Composition | None:
    formula = " ".join(_column(data, "_chemical_formula_sum"))
    if not re.fullmatch(r"([A-Z][a-z]?(\d+\.?\d*|\.\d+)?\s*)+", formula):
        return None  # not stated, or with letters for numbers
    try:
        return Composition(re.sub(r"\bD(?![a-z])", "H", formula))
    except ValueError:
        return None


def _compare_composition(data: _CifData, structure: Structure) -> None:
    """Refuse a crystal that differs from the composition that its block states.

    Some programs write the formula of the whole cell beside Z, others that of one of Z units.
    """
    stated = _stated_composition(data)
    if stated is None:
        return
    found = Composition(Counter(site.species.elements[0].symbol for site in structure))
    units = "".join(_column(data, "_cell_formula_units_z")).partition("(")[0]
    z = float(units) if _NUMBER.fullmatch(units) and float(units) > 0 else None
    whole = z is not None and stated.get_integer_formula_and_factor()[1] == z
    sizes = [found.num_atoms / stated.num_atoms] if z is None else [z, *([1.0] if whole else [])]
    if not any(_same(found, stated * size) for size in sizes):
        beside = f" with Z = {z:g}" if z is not None else ""
        raise UserError(
            f"the block states {stated.formula.replace(' ', '')}{beside}, its sites give "
            f"{found.formula.replace(' ', '')}: atoms are missing or in excess"
        )


def _same(found: Composition, stated: Composition) -> bool:
    return set(found) == set(stated) and all(
        abs(found[each] - stated[each]) <= 0.01 * stated[each] + 1e-6 for each in stated
    )
