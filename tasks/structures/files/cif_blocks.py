"""The crystals of a CIF, block by block: each is read as it is written, or refused with a reason.

pymatgen parses the blocks and applies their symmetry. What it would guess, round, merge or drop
silently is decided here before: elements, occupancies, positions, operations. The composition
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
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifBlock, CifFile, CifParser

from tasks.errors import UserError
from tasks.structures.files.cif_sites import (
    CELL_KEYS,
    FULL_OCCUPANCY,
    MAX_ATOMS,
    POSITION_KEYS,
    CifSite,
    cif_float,
    cif_sites,
    snapped_site,
    stated_composition,
)
from tasks.structures.files.cif_symmetry import (
    CifData,
    column,
    require_named_symmetry,
    symmetry_settings,
)

_MAX_IMAGES = 20_000  # atoms times operations of a block: seconds of work
_MAX_BLOCKS = 5_000
_MAX_BLOCK_CHARACTERS = 8_000_000
_MAX_LINE_CHARACTERS = 10_000  # of the format's 2,048; pymatgen's time grows with the square
_MERGE_ANG = 0.05  # images of one atom, written to 3 decimals, lie within; real atoms 0.5 Å apart
# Keys as pymatgen spells them; CIF itself ignores case, and dots are those of its second dialect.
_MAGNETIC = {
    key.lower().replace(".", "_"): key
    for key in (
        "_space_group_symop_magn_operation.xyz",
        "_space_group_symop_magn_centering.xyz",
        "_space_group_magn.name_BNS",
        "_space_group_magn.number_BNS",
        "_space_group_magn.transform_BNS_Pp_abc",
    )
}


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
            atoms = _read_block(name, block, keep_order)
        except Exception as error:  # pymatgen raises anything on a damaged block
            found.append(UnreadStructure(name, _reason(name, error)))
        else:
            found += [FileStructure(name, atoms)] if atoms else []
    return found


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"block {name} is no valid CIF: {lines[-1]}"  # pymatgen says why on the last line


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
    if len(blocks) > _MAX_BLOCKS:
        raise UserError(f"a CIF has at most {_MAX_BLOCKS:,} blocks: this has {len(blocks):,}")
    if in_field:
        raise UserError(f"a text field of block {names[-1]} begins with ; and never ends")
    for index, (name, lines) in enumerate(zip(names, blocks, strict=True)):
        before = names[:index].count(name)
        yield (f"{name}.{before + 1}" if before else name), "\n".join(lines)


def _read_block(name: str, block: str, keep_order: bool) -> Atoms | None:
    if len(block) > _MAX_BLOCK_CHARACTERS:
        raise UserError(f"a block has at most {_MAX_BLOCK_CHARACTERS:,} characters")
    if max(map(len, block.split("\n"))) > _MAX_LINE_CHARACTERS:
        raise UserError(f"a line of a CIF has at most {_MAX_LINE_CHARACTERS:,} characters")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        raw = _parsed_block(name, block)
    data = {key.lower().replace(".", "_"): value for key, value in raw.items()}
    if not any(key.startswith(("_atom_site_", "_cell_length_")) for key in data):
        return None
    try:
        structure = _structure(data)
    except UserError as error:  # an unquoted value of several words may be why
        ignored = [str(each.message) for each in said if "Possible issue" in str(each.message)]
        raise UserError(f"{error} ({ignored[0]})" if ignored else str(error)) from error
    order = list(range(len(structure)))
    if keep_order:
        order.sort(key=lambda i: int(structure[i].label))
    sites = [structure[i] for i in order]
    numbers = [site.species.elements[0].Z for site in sites]
    positions = [site.coords for site in sites]
    return Atoms(numbers, positions, cell=structure.lattice.matrix, pbc=True)


def _parsed_block(name: str, block: str) -> dict[str, str | list[str]]:
    try:
        data: dict[str, str | list[str]] = CifBlock.from_str(block).data
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"a loop has a value for each of its columns in each row, one of block {name} has not"
        ) from error
    return data


def _structure(data: CifData) -> Structure:
    """Return the crystal of a block, every site full of one element; labels are row numbers.

    Where the space group that is named has several settings, one of them must fit the composition.
    """
    rows = cif_sites(data)
    lattice = Lattice.from_parameters(*(cif_float(column(data, key)[0]) for key in CELL_KEYS))
    if any(key in data for key in _MAGNETIC):
        return _full_structure(data, rows, lattice, [])
    settings = symmetry_settings(data, lattice.matrix)
    fitting, faults = [], []
    for operations in settings:
        try:
            fitting.append(_full_structure(data, rows, lattice, operations))
        except UserError as error:
            faults.append(error)
    if not fitting:
        raise faults[0]
    if len(fitting) > 1 and len({str(each) for each in fitting}) > 1:
        raise UserError(
            "the space group has several settings (origins or axes), and these atoms fit more than "
            "one: list the symmetry operations"
        )
    require_named_symmetry(data, fitting[0])
    return fitting[0]


def _full_structure(
    data: CifData, rows: Sequence[CifSite], lattice: Lattice, operations: list[str]
) -> Structure:
    magnetic = {key: data[small] for small, key in _MAGNETIC.items() if small in data}
    images = np.prod([max(1, len(each)) for each in (operations, *magnetic.values())])
    if len(rows) * images > _MAX_IMAGES:
        raise UserError(
            f"atoms times symmetry operations are at most {_MAX_IMAGES:,}: this block has "
            f"{len(rows)} times {images}"
        )
    snapped = [snapped_site(row) for row in rows] if images > 1 else rows
    partial = any(abs(row.occupancy - 1.0) > FULL_OCCUPANCY for row in rows)
    sites: dict[str, list[str]] = {
        "_atom_site_label": [str(row.index) for row in snapped],
        "_atom_site_type_symbol": [row.element for row in snapped],
        "_atom_site_occupancy": [str(row.occupancy) for row in snapped],
    }
    sites |= {key: [row.xyz[axis] for row in snapped] for axis, key in enumerate(POSITION_KEYS)}
    kept = {key: column(data, key)[0] for key in CELL_KEYS} | magnetic | sites
    kept |= {"_symmetry_equiv_pos_as_xyz": operations} if operations else {}
    loops = [[key] for key, value in kept.items() if isinstance(value, list) and key not in sites]
    text = str(CifFile({"x": CifBlock(kept, [list(sites), *loops], "x")}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is decided here before
        parser = CifParser.from_str(
            text,
            occupancy_tolerance=1.0 + FULL_OCCUPANCY
            if partial
            else np.inf,  # rows of one atom given twice
            site_tolerance=_MERGE_ANG / max(lattice.abc),
            frac_tolerance=0.0,
            check_cif=False,
        )
        (structure,) = parser.parse_structures(primitive=False, on_error="raise")
    _check_sites(structure, {str(row.index): row.label for row in rows})
    _compare_composition(data, structure)
    return structure


def _check_sites(structure: Structure, labels: dict[str, str]) -> None:
    if len(structure) > MAX_ATOMS:
        raise UserError(f"a structure has at most {MAX_ATOMS:,} atoms: this has {len(structure)}")
    for site in structure:
        label, total = labels[site.label], sum(site.species.values())
        if len(site.species) > 1:
            raise UserError(
                f"every site must hold one element: site {label} is disordered (partial "
                f"occupancy {site.species_string}); give an ordered approximant"
            )
        if total < 1.0 - FULL_OCCUPANCY:
            raise UserError(
                f"every site must be full: site {label} has a partial occupancy of {total:g} "
                f"{site.species.elements[0]}; give an ordered approximant"
            )


def _compare_composition(data: CifData, structure: Structure) -> None:
    """Refuse a crystal that differs from the composition that its block states.

    Some programs write the formula of the whole cell beside Z, others that of one of Z units.
    """
    stated = stated_composition(data)
    if stated is None:
        return
    found = Composition(Counter(site.species.elements[0].symbol for site in structure))
    units = "".join(column(data, "_cell_formula_units_z"))
    z = cif_float(units) if cif_float(units) > 0 else None  # nan where it is not stated
    whole = z is not None and stated.get_integer_formula_and_factor()[1] == z
    times = max(1, round(found.num_atoms / stated.num_atoms))
    sizes = [times] if z is None else [z, *([1.0] if whole else [])]
    if not any(_same(found, stated * size) for size in sizes):
        beside = f" with Z = {z:g}" if z is not None else ""
        raise UserError(
            f"the sites of a CIF give the composition that it states: "
            f"{stated.formula.replace(' ', '')}{beside} is stated, the sites give "
            f"{found.formula.replace(' ', '')}"
        )


def _same(found: Composition, stated: Composition) -> bool:
    return set(found) == set(stated) and all(
        abs(found[each] - stated[each]) <= 0.01 * stated[each] + 1e-6 for each in stated
    )
