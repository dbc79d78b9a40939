"""Adsorbates by name, from a file or from SMILES, each with its binding atoms.

The named ones are stored geometries (``adsorbate_structures.json``, made by
``benchmarks/tools/build_adsorbates.py``): those of C, H, O, N chemistry that OC20 and the BEEF-vdW
oxygenate sets use, sulphur as in Mamun et al. 2019, and halogens. The binding atoms' centre is at
the origin, the rest towards +z. Units: Å.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from tasks.errors import UserError, nearest_names
from tasks.structures.distances import check_distances
from tasks.structures.files.structure_files import read_structure
from tasks.structures.formulas import formula_counts, structural_formula
from tasks.structures.orientation import is_connected, is_same_species, molecule_bonds, upright

_SEED = 20  # a SMILES string gives the same geometry everywhere
# Other spellings of the same species, as OC20 writes them.
ALIASES = {
    "OH2": "H2O",
    "OCH3": "CH3O",
    "OCH2CH3": "CH3CH2O",
    "OHCH3": "CH3OH",
    "OHCH2CH3": "CH3CH2OH",
    "COCH3": "CH3CO",
    "COHCH3": "CH3COH",
    "CHOHCH3": "CH3CHOH",
    "CHOHCH2": "CH2CHOH",
    "ONH": "HNO",
    "OHNH2": "NH2OH",
    "C2H2": "CHCH",
    "C2H4": "CH2CH2",
    "C2H5": "CH2CH3",
    "HCO": "CHO",
    "HCHO": "CH2O",
    "C2H5OH": "CH3CH2OH",
    "N2O": "NNO",
    "HO2": "OOH",
    "HS": "SH",
    "SH2": "H2S",
    "ClH": "HCl",
    "FH": "HF",
}


@dataclass(frozen=True)
class Adsorbate:
    """A species to place; ``binding`` are the indices of the atoms that meet the surface."""

    name: str
    formula: str
    atoms: Atoms
    binding: tuple[int, ...]


def adsorbate(name: str) -> Adsorbate:
    """Return the adsorbate called ``name``, or the one it is another spelling of."""
    stored = _stored().get(ALIASES.get(name, name))
    if stored is None:
        raise UserError(
            f"no adsorbate is called {name!r}; {nearest_names(name, adsorbate_names())}. "
            "sabatier adsorbates lists all; give your own by file or SMILES"
        )
    return stored


def adsorbate_names() -> list[str]:
    """Return the names of all stored adsorbates, in alphabetical order."""
    return sorted(_stored())


def species_name(molecule: Atoms) -> str:
    """Return the name of a molecule in texts: that of its species, or a formula by bonds."""
    formula = structural_formula(molecule)
    stored = _stored()
    if formula in stored:
        return formula
    bonds = len(molecule_bonds(molecule))
    return _named_by_structure().get((formula, bonds), formula)


def adsorbate_from_file(
    path: str | Path, binding: tuple[int, ...], name: str | None = None
) -> Adsorbate:
    """Return the last structure of a file as an adsorbate, ``binding`` turned to the surface."""
    source = Path(path)
    try:
        molecule = read_structure(source, keep_order=True)  # ``binding`` counts atoms in it
        check_distances(Atoms(molecule.numbers, molecule.positions))
    except UserError as error:
        raise UserError(f"the adsorbate file {source} cannot be read: {error}") from error
    return adsorbate_from_atoms(molecule, binding, name or source.stem)


def adsorbate_from_smiles(
    smiles: str, binding: tuple[int, ...], name: str | None = None
) -> Adsorbate:
    """Return the molecule of a SMILES string with a force-field geometry.

    ``binding`` counts atoms in the order of the string, hydrogens last. Without ``name`` it is
    called as it is bonded: ``CH3OCH3``.
    """
    molecule = molecule_from_smiles(smiles)
    return adsorbate_from_atoms(molecule, binding, name or species_name(molecule))


def adsorbate_from_atoms(molecule: Atoms, binding: tuple[int, ...], name: str) -> Adsorbate:
    """Return ``molecule`` as an adsorbate, turned so that ``binding`` meets the surface."""
    if not name or any(character.isspace() for character in name) or "<" in name:
        raise UserError(f"an adsorbate's name is one word, as in CH3OH; got {name!r}")
    if not np.isfinite(molecule.positions).all() or (molecule.numbers < 1).any():
        raise UserError(f"{name}: every atom needs an element and a finite position")
    if not is_connected(molecule):
        raise UserError(f"{name}: an adsorbate is one molecule, these atoms do not hang together")
    plain = Atoms(molecule.numbers, molecule.positions)
    _require_name(name, plain)
    return Adsorbate(name, plain.get_chemical_formula(), upright(plain, binding), binding)


def _require_name(name: str, molecule: Atoms) -> None:
    """Refuse the name of another species: a model that reads text goes by the name."""
    stored = _stored().get(ALIASES.get(name, name))
    if stored is not None:
        fits = is_same_species(molecule, stored.atoms)
    else:
        fits = _reads_as(name) in (None, formula_counts(molecule.get_chemical_formula()))
    if not fits:
        raise UserError(
            f"an adsorbate's name says what it is: {name} is another species than this "
            f"{molecule.get_chemical_formula()}; give yours another name"
        )


def _reads_as(name: str) -> dict[str, int] | None:
    """Return the atoms of a name that is a formula, and None of any other name."""
    try:
        counts = formula_counts(name)
    except UserError:
        return None
    return counts if set(counts) <= set(atomic_numbers) else None


@cache
def _stored() -> Mapping[str, Adsorbate]:
    text = (
        files("tasks.enumeration").joinpath("adsorbate_structures.json").read_text(encoding="utf-8")
    )
    return {name: _from_entry(name, entry) for name, entry in json.loads(text).items()}


@cache
def _named_by_structure() -> Mapping[tuple[str, int], str]:
    return {
        (structural_formula(each.atoms), len(molecule_bonds(each.atoms))): name
        for name, each in sorted(_stored().items(), reverse=True)
    }


def _from_entry(name: str, entry: Mapping[str, object]) -> Adsorbate:
    atoms = Atoms(entry["symbols"], positions=entry["positions"])
    binding = tuple(int(index) for index in entry["binding"])  # type: ignore[attr-defined]
    return Adsorbate(name, atoms.get_chemical_formula(), atoms, binding)


def molecule_from_smiles(smiles: str) -> Atoms:
    """Return the molecule of a SMILES string with a force-field geometry.

    The force field is MMFF, or UFF where MMFF lacks a parameter.

    Args:
        smiles: The molecule, hydrogens implied or written.

    Returns:
        The molecule with all hydrogens, heavy atoms first, in the order of the string. Positions in
        Å.

    Raises:
        UserError: rdkit is not installed, cannot read the string or finds no geometry.
    """
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    except ImportError as error:
        raise UserError(
            "adsorbates from SMILES need rdkit: pip install 'sabatier[rdkit]'"
        ) from error
    with rdBase.BlockLogs():  # its complaints come back as our error
        parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or parsed.GetNumAtoms() == 0:
        raise UserError(f"expected a SMILES string such as CO for methanol, got {smiles!r}")
    molecule = Chem.AddHs(parsed)
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=_SEED) != 0:
        raise UserError(f"rdkit finds no geometry for {smiles!r}: give an xyz file instead")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.UFFOptimizeMolecule(molecule, maxIters=2000)
    symbols = [chemical_symbols[atom.GetAtomicNum()] for atom in molecule.GetAtoms()]
    return Atoms(symbols, np.asarray(molecule.GetConformer().GetPositions(), dtype=np.float64))
