"""Bulk crystals from files, from formula and prototype, or from the Materials Project.

A bulk is the standard form of its crystal, so its id does not depend on how a file writes it. What
noise leaves different is found by comparison with crystals of the same formula.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from tasks.enumeration.bulk_files import FileCrystal, check_crystal, read_bulk_files
from tasks.enumeration.custom.random_alloys import RandomAlloySpec, parent_crystal, random_alloy
from tasks.enumeration.miller import is_hexagonal
from tasks.enumeration.prototypes import ALLOY_PROTOTYPES, alloy_formulas, crystal
from tasks.errors import Refusal, UserError, first_line
from tasks.structures.formats import atoms_from_pymatgen
from tasks.structures.identity import bulk_id
from tasks.structures.standard_crystal import (
    CrystalMatch,
    PrimitiveCrystal,
    match_crystals,
    primitive_crystal,
    standard_crystal,
)
from tasks.structures.symmetrise import (
    IDENTITY_ROWS,
    SYMMETRY_TOLERANCE_ANG,
    FoundSymmetry,
    IntegerRows,
    integer_rows,
)

_SYMPREC_ANG = 0.01


@dataclass(frozen=True)
class FileAxes:
    """The axes of the cell in a file: ``miller_33`` makes Miller indices those of the bulk's cell.

    The product is a whole multiple of the index. ``hexagonal`` cells take four indices.
    """

    source: str
    miller_33: IntegerRows
    hexagonal: bool


@dataclass(frozen=True)
class Bulk:
    """A crystal in its standard form; ``source`` says where it comes from.

    ``axes`` are those of the files that hold it; where there are none, Miller indices count by the
    bulk's own cell. ``symmetry`` is what was found in the file. ``other_ids`` are ids that other
    writings of the crystal would have, had it not been known under ``bulk_id``.
    ``parent`` is the cell whose sites a random alloy fills; Miller indices count by it, and the
    first of ``axes`` is its.
    """

    bulk_id: str
    formula: str
    source: str
    atoms: Atoms
    parent: Atoms | None = None
    axes: tuple[FileAxes, ...] = ()
    symmetry: FoundSymmetry | None = None
    other_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileSpec:
    """A structure file, a folder of them or a glob."""

    path: str


@dataclass(frozen=True)
class FormulaSpec:
    """An element or an A3B or AB alloy; an element without a prototype takes its ground state."""

    formula: str
    prototype: str | None = None


@dataclass(frozen=True)
class MaterialsProjectSpec:
    """An entry of the Materials Project, such as mp-30."""

    material_id: str


BulkSpec = FileSpec | FormulaSpec | MaterialsProjectSpec | RandomAlloySpec


def alloy_specs(elements: Iterable[str], prototypes: Iterable[str]) -> list[BulkSpec]:
    """Return a spec for every pair of ``elements`` in every prototype.

    Alloy prototypes take all ordered pairs; fcc, bcc, hcp and diamond take each element.
    """
    symbols = list(dict.fromkeys(elements))
    specs: list[BulkSpec] = []
    for prototype in prototypes:
        alloy = prototype in ALLOY_PROTOTYPES
        formulas = alloy_formulas(symbols, prototype) if alloy else symbols
        specs += [FormulaSpec(formula, prototype) for formula in formulas]
    return specs


KnownBulks = Callable[[str], Sequence[Bulk]]


def no_known_bulks(_formula: str) -> Sequence[Bulk]:
    """Return no bulk: nothing has been stored."""
    return ()


def resolve_bulks(
    specs: Sequence[BulkSpec],
    *,
    materials_project_key: str | None = None,
    symmetry_tolerance_ang: float = SYMMETRY_TOLERANCE_ANG,
    known: KnownBulks = no_known_bulks,
) -> tuple[list[Bulk], list[Refusal]]:
    """Return the crystals of ``specs`` in order, and those that cannot be had, with reasons.

    A crystal that comes twice is kept once and refused the second time. One that is known has the
    id and the atoms that it is known by; the id of its own form is then in ``other_ids``.

    Args:
        specs: Files, formulas and entries of the Materials Project.
        materials_project_key: The key of its interface, needed for its entries alone.
        symmetry_tolerance_ang: How far atoms may be off their ideal positions, as ``symmetrise``
            reads it; two crystals whose atoms differ by less are one.
        known: The bulks that are stored, by reduced formula.

    Returns:
        The crystals in their conventional cells (Å), and a refusal for each file, frame or formula
        that gave none.

    Raises:
        UserError: an entry of the Materials Project is asked for without a key or without its
            client.

    Example:
        >>> (copper, alloy), refused = resolve_bulks(
        ...     [FormulaSpec("Cu"), FormulaSpec("Cu3Pt", "L1_2")]
        ... )
        >>> copper.formula, alloy.formula, len(alloy.atoms), refused
        ('Cu', 'Cu3Pt', 4, [])
    """
    found: list[Bulk | Refusal] = []
    for spec in specs:
        found += _resolve(spec, materials_project_key, symmetry_tolerance_ang)
    crystals = _Crystals(known, symmetry_tolerance_ang)
    refused = [item for item in found if isinstance(item, Refusal) or crystals.has(item)]
    return list(crystals.bulks.values()), [
        item
        if isinstance(item, Refusal)
        else Refusal(_name(item), "bulk", f"the same crystal as {crystals.first_name(item)}")
        for item in refused
    ]


class _Crystals:
    """The crystals of a run, each once, by the ids that they are known by."""

    def __init__(self, known: KnownBulks, tolerance_ang: float) -> None:
        self.bulks: dict[str, Bulk] = {}
        self._known = known
        self._tolerance_ang = tolerance_ang
        self._of_formula: dict[str, dict[str, Bulk]] = {}
        self._primitive: dict[str, PrimitiveCrystal] = {}

    def has(self, bulk: Bulk) -> bool:
        """Add a bulk, and return whether its crystal was there already."""
        if bulk.formula not in self._of_formula:
            stored = self._known(bulk.formula)
            self._of_formula[bulk.formula] = {each.bulk_id: each for each in stored}
        named = self._as_known(bulk)
        before = self.bulks.get(named.bulk_id)
        self._of_formula[bulk.formula].setdefault(named.bulk_id, named)
        if before is None:
            self.bulks[named.bulk_id] = named
            return False
        self.bulks[named.bulk_id] = replace(
            before,
            axes=tuple(dict.fromkeys((*bulk_axes(before), *bulk_axes(named)))),
            other_ids=tuple(dict.fromkeys((*before.other_ids, *named.other_ids))),
        )
        return True

    def first_name(self, bulk: Bulk) -> str:
        """Return the name under which the crystal of a bulk was taken in first."""
        return next(
            _name(each)
            for each in self.bulks.values()
            if bulk.bulk_id in (each.bulk_id, *each.other_ids)
        )

    def _as_known(self, bulk: Bulk) -> Bulk:
        """Return a bulk with the id and atoms that its crystal is known by."""
        others = self._of_formula[bulk.formula]
        if bulk.bulk_id in others:
            return replace(bulk, atoms=others[bulk.bulk_id].atoms)
        if bulk.parent is not None:  # equal draws on one lattice are equal ids already
            others = {key: each for key, each in others.items() if each.parent is None}
        # a writing that was matched before stays with that crystal, whatever was stored since
        named = {key: each for key, each in others.items() if bulk.bulk_id in each.other_ids}
        matches = [
            (match.displacement_ang, key, match)
            for key, other in (named or others).items()
            if (match := self._match(bulk, other)) is not None
        ]
        if not matches:
            return bulk
        _, key, match = min(matches, key=lambda found: found[:2])
        axes = tuple(
            replace(each, miller_33=integer_rows(match.miller_33 @ each.miller_33))
            for each in bulk_axes(bulk)
        )
        return replace(
            bulk, bulk_id=key, atoms=others[key].atoms, axes=axes, other_ids=(bulk.bulk_id,)
        )

    def _match(self, bulk: Bulk, other: Bulk) -> CrystalMatch | None:
        for each in (bulk, other):
            if each.bulk_id not in self._primitive:
                self._primitive[each.bulk_id] = primitive_crystal(each.atoms)
        one, two = self._primitive[bulk.bulk_id], self._primitive[other.bulk_id]
        return match_crystals(one, two, self._tolerance_ang)


def _name(bulk: Bulk) -> str:
    """Return a bulk's source; for a random alloy only the part before the colon.

    The rest are details of its draw.
    """
    return bulk.source if bulk.parent is None else bulk.source.partition(":")[0]


def bulk_axes(bulk: Bulk) -> tuple[FileAxes, ...]:
    """Return the axes that Miller indices of a bulk count by: of its files, or of its own cell."""
    own = FileAxes(bulk.source, IDENTITY_ROWS, is_hexagonal(bulk.atoms.cell.array))
    return bulk.axes or (own,)


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return a crystal in the smallest cell that repeats it."""
    return atoms_from_pymatgen(_symmetry(atoms).get_primitive_standard_structure())


def bulk_from_atoms(
    atoms: Atoms, source: str, symmetry_tolerance_ang: float = SYMMETRY_TOLERANCE_ANG
) -> Bulk:
    """Return ``atoms`` as a bulk in its standard form.

    Args:
        atoms: A crystal in any cell, positions in Å.
        source: Where it comes from, as reports name it.
        symmetry_tolerance_ang: How far atoms may be off their ideal positions.

    Returns:
        The crystal with its id and reduced formula, and the axes of ``atoms``.

    Raises:
        UserError: the atoms are no crystal: overlapping, without a cell, or with vacuum between
            them.
    """
    check_crystal(atoms)
    standard = standard_crystal(atoms, symmetry_tolerance_ang)
    axes = FileAxes(source, standard.miller_33, is_hexagonal(atoms.cell.array))
    bulk = _bulk(standard.atoms, source)
    return replace(bulk, axes=(axes,), symmetry=standard.symmetry)


def _symmetry(atoms: Atoms) -> SpacegroupAnalyzer:
    structure = Structure(atoms.cell.array, atoms.symbols, atoms.get_scaled_positions(wrap=True))
    return SpacegroupAnalyzer(structure, symprec=_SYMPREC_ANG)


def _bulk(atoms: Atoms, source: str) -> Bulk:
    # Atoms ordered by electronegativity, as pymatgen writes formulas; site properties such as
    # magnetic moments and oxidation states stay behind.
    pull = {z: Element.from_Z(z).X for z in atoms.numbers.tolist()}
    order = sorted(range(len(atoms)), key=lambda i: (pull[z := int(atoms.numbers[i])], z, i))
    clean = Atoms(atoms.numbers[order], atoms.positions[order], cell=atoms.cell, pbc=True)
    formula = Composition(str(clean.symbols)).reduced_formula
    return Bulk(bulk_id(clean), formula, source, clean)


def _resolve(spec: BulkSpec, key: str | None, tolerance_ang: float) -> list[Bulk | Refusal]:
    if isinstance(spec, FileSpec):
        return [_from_file(read, tolerance_ang) for read in read_bulk_files(spec.path)]
    if isinstance(spec, MaterialsProjectSpec):
        return [_from_materials_project(spec.material_id, key, tolerance_ang)]
    if isinstance(spec, RandomAlloySpec):
        return [_from_random_alloy(spec)]
    try:
        return [_bulk(*crystal(spec.formula, spec.prototype))]
    except UserError as error:
        item = f"{spec.formula} {spec.prototype}" if spec.prototype else spec.formula
        return [Refusal(item, "bulk", str(error))]


def _from_random_alloy(spec: RandomAlloySpec) -> Bulk | Refusal:
    try:
        bulk, parent = bulk_from_atoms(*random_alloy(spec)), parent_crystal(spec)
    except UserError as error:
        return Refusal(spec.name, "bulk", str(error))
    # an index of the parent's cell, times the cells along each vector, is one of the supercell
    miller_33 = integer_rows(np.array(bulk.axes[0].miller_33) @ np.diag(spec.cells))
    axes = FileAxes(bulk.source, miller_33, is_hexagonal(parent.cell.array))
    return replace(bulk, parent=parent, axes=(axes,), symmetry=None)


def _from_file(read: FileCrystal | Refusal, tolerance_ang: float) -> Bulk | Refusal:
    if isinstance(read, Refusal):
        return read
    try:
        return bulk_from_atoms(read.atoms, read.source, tolerance_ang)
    except Exception as error:  # spglib and pymatgen raise their own kinds on odd crystals
        return Refusal(read.source, "bulk", first_line(error))


def _from_materials_project(
    material_id: str, key: str | None, tolerance_ang: float
) -> Bulk | Refusal:
    if not key:
        raise UserError(
            f"{material_id} needs a Materials Project key: set MP_API_KEY (free at "
            "materialsproject.org), or save the structure and give its file"
        )
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise UserError(
            f"{material_id} needs mp-api: pip install 'sabatier[materials-project]'"
        ) from error
    try:
        with MPRester(key) as rester:
            structure = rester.get_structure_by_material_id(material_id)
        source = f"Materials Project {material_id}"
        bulk = bulk_from_atoms(atoms_from_pymatgen(structure), source, tolerance_ang)
        return replace(bulk, axes=())  # people know its conventional cell, not the one that comes
    except Exception as error:  # the client raises its own kinds and those of its HTTP library
        return Refusal(
            material_id, "bulk", f"not had from the Materials Project: {first_line(error)}"
        )
