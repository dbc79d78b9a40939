"""Bulk crystals from files, from formula and prototype, or from the Materials Project."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ase import Atoms
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from tasks.enumeration.bulk_files import FileCrystal, check_crystal, read_bulk_files
from tasks.enumeration.custom.random_alloys import RandomAlloySpec, parent_crystal, random_alloy
from tasks.enumeration.prototypes import ALLOY_PROTOTYPES, alloy_formulas, crystal
from tasks.errors import Refusal, UserError, first_line
from tasks.structures.formats import atoms_from_pymatgen
from tasks.structures.identity import bulk_id

CONVENTIONAL = "conventional_cell"  # said in a file's comment: its cell is to be kept
_SYMPREC_ANG = 0.01


@dataclass(frozen=True)
class Bulk:
    """A crystal in its conventional cell; ``source`` says where it comes from.

    ``parent`` is the cell whose sites a random alloy fills; Miller indices count by it.
    """

    bulk_id: str
    formula: str
    source: str
    atoms: Atoms
    parent: Atoms | None = None


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


def resolve_bulks(
    specs: Sequence[BulkSpec], *, materials_project_key: str | None = None
) -> tuple[list[Bulk], list[Refusal]]:
    """Return the crystals of ``specs`` in order, and those that cannot be had, with reasons.

    A crystal that comes twice is kept once and refused the second time.

    Args:
        specs: Files, formulas and entries of the Materials Project.
        materials_project_key: The key of its interface, needed for its entries alone.

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
        found += _resolve(spec, materials_project_key)
    bulks: dict[str, Bulk] = {}
    refused: list[Refusal] = []
    for item in found:
        if isinstance(item, Refusal):
            refused.append(item)
        elif item.bulk_id in bulks:
            first = bulks[item.bulk_id].source
            refused.append(Refusal(item.source, "bulk", f"the same crystal as {first}"))
        else:
            bulks[item.bulk_id] = item
    return list(bulks.values()), refused


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return a crystal in the smallest cell that repeats it."""
    return atoms_from_pymatgen(_symmetry(atoms).get_primitive_standard_structure())


def bulk_from_atoms(atoms: Atoms, source: str) -> Bulk:
    """Return ``atoms`` as a bulk in its conventional cell.

    The cell is kept where ``atoms.info`` says that it is conventional already.

    Args:
        atoms: A crystal, positions in Å.
        source: Where it comes from, as reports name it.

    Returns:
        The crystal with its id and reduced formula.

    Raises:
        UserError: the atoms are no crystal: overlapping, without a cell, or with vacuum between
            them.
    """
    check_crystal(atoms)
    if atoms.info.get(CONVENTIONAL, False):
        return _bulk(atoms, source)
    standard = _symmetry(atoms).get_conventional_standard_structure()
    numbers = [site.specie.Z for site in standard]
    cell = standard.lattice.matrix
    return _bulk(Atoms(numbers, scaled_positions=standard.frac_coords, cell=cell), source)


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


def _resolve(spec: BulkSpec, key: str | None) -> list[Bulk | Refusal]:
    if isinstance(spec, FileSpec):
        return [_from_file(read) for read in read_bulk_files(spec.path)]
    if isinstance(spec, MaterialsProjectSpec):
        return [_from_materials_project(spec.material_id, key)]
    if isinstance(spec, RandomAlloySpec):
        return [_from_random_alloy(spec)]
    try:
        return [_bulk(*crystal(spec.formula, spec.prototype))]
    except UserError as error:
        item = f"{spec.formula} {spec.prototype}" if spec.prototype else spec.formula
        return [Refusal(item, "bulk", str(error))]


def _from_random_alloy(spec: RandomAlloySpec) -> Bulk | Refusal:
    try:
        return replace(_bulk(*random_alloy(spec)), parent=parent_crystal(spec))
    except UserError as error:
        return Refusal(spec.name, "bulk", str(error))


def _from_file(read: FileCrystal | Refusal) -> Bulk | Refusal:
    if isinstance(read, Refusal):
        return read
    try:
        return bulk_from_atoms(read.atoms, read.source)
    except Exception as error:  # spglib and pymatgen raise their own kinds on odd crystals
        return Refusal(read.source, "bulk", first_line(error))


def _from_materials_project(material_id: str, key: str | None) -> Bulk | Refusal:
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
        return bulk_from_atoms(atoms_from_pymatgen(structure), f"Materials Project {material_id}")
    except Exception as error:  # the client raises its own kinds and those of its HTTP library
        return Refusal(
            material_id, "bulk", f"not had from the Materials Project: {first_line(error)}"
        )
