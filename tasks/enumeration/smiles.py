"""Molecules from SMILES, by rdkit (extra ``rdkit``): embedded, relaxed with a force field."""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tasks.errors import UserError

_SEED = 20  # the same string gives the same geometry everywhere


def molecule_from_smiles(smiles: str) -> Atoms:
    """Return the molecule with all hydrogens, heavy atoms first, in the order of the string."""
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
