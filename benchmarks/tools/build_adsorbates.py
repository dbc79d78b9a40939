"""Make ``adsorbate_structures.json`` of the enumeration: run once when the list changes.

    python benchmarks/tools/build_adsorbates.py        (needs rdkit)

A fragment is built as the molecule with its open valences closed by deuterium ([2H]), relaxed with
MMFF94; the deuterium atoms are then taken away, and the bonds of the first atom that bore one point
to the surface. Of several conformers the one that keeps farthest from the surface is stored.
Whole molecules bind through the atoms given and point away from them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from tasks.structures.orientation import upright

TARGET = Path(__file__).parents[2] / "tasks" / "enumeration" / "adsorbate_structures.json"
CONFORMERS = 60

# Name: SMILES with [2H] for each bond to the surface. The first atom that bears one binds.
FRAGMENTS = {
    "OH": "[2H]O",
    "SH": "[2H]S",
    "OOH": "[2H]OO",
    "CH": "[2H]C([2H])[2H]",
    "CH2": "[2H]C[2H]",
    "CH3": "[2H]C",
    "CHO": "[2H]C=O",
    "COH": "[2H]C([2H])([2H])O",
    "CHOH": "[2H]C([2H])O",
    "CH2OH": "[2H]CO",
    "CH3O": "[2H]OC",
    "COOH": "[2H]C(=O)O",
    "CCO": "[2H]C([2H])=C=O",
    "CCH": "[2H]C#C",
    "CHCH2": "[2H]C=C",
    "CCH2": "[2H]C([2H])=C",
    "CCH3": "[2H]C([2H])([2H])C",
    "CHCH3": "[2H]C([2H])C",
    "CH2CH3": "[2H]CC",
    "CHCO": "[2H]C=C=O",
    "CH3CO": "[2H]C(=O)C",
    "CHCHO": "[2H]C([2H])C=O",
    "CH2CHO": "[2H]CC=O",
    "CCHO": "[2H]C([2H])([2H])C=O",
    "CCOH": "[2H]C([2H])=C([2H])O",
    "CCHOH": "[2H]C([2H])=CO",
    "CCH2OH": "[2H]C([2H])([2H])CO",
    "CCH2O": "[2H]C([2H])([2H])CO[2H]",
    "CHCOH": "[2H]C=C([2H])O",
    "CHCHOH": "[2H]C=CO",
    "CHCH2OH": "[2H]C([2H])CO",
    "CHCH2O": "[2H]C([2H])CO[2H]",
    "CH2COH": "[2H]CC([2H])([2H])O",
    "CH2CH2OH": "[2H]CCO",
    "CH2CH2O": "[2H]CCO[2H]",
    "CH3COH": "[2H]C([2H])(O)C",
    "CH3CHOH": "[2H]C(C)O",
    "CH3CH2O": "[2H]OCC",
    "OCHCH3": "[2H]OC([2H])C",
    "CHOHCHOH": "[2H]C(O)C([2H])O",
    "CHOHCH2OH": "[2H]C(O)CO",
    "CHOCHOH": "[2H]C(O)C=O",
    "OCH2CHOH": "[2H]OCC([2H])O",
    "COCHO": "[2H]C(=O)C=O",
    "COCH2O": "[2H]C(=O)CO[2H]",
    "COCH2OH": "[2H]C(=O)CO",
    "COHCHO": "[2H]C([2H])(O)C=O",
    "COHCHOH": "[2H]C([2H])(O)C([2H])O",
    "COHCOH": "[2H]C([2H])(O)C([2H])([2H])O",
    "COHCH2OH": "[2H]C([2H])(O)CO",
    "CN": "[2H]C#N",
    "NH": "[2H]N[2H]",
    "NH2": "[2H]N",
    "NNH": "[2H]N=N",
    "NOH": "[2H]N([2H])O",
    "NHOH": "[2H]NO",
    "NONH": "[2H]N([2H])ON[2H]",
    "ONNH2": "[2H]ON([2H])N",
}

# Name: name in ASE's G2 set, binding atoms as indices there.
G2 = {
    "H2": ("H2", (0,)),
    "H2O": ("H2O", (0,)),
    "O2": ("O2", (0, 1)),
    "CO": ("CO", (1,)),
    "CO2": ("CO2", (0,)),
    "CH4": ("CH4", (1,)),
    "CH2O": ("H2CO", (0,)),
    "CH3OH": ("CH3OH", (1,)),
    "HCOOH": ("HCOOH", (0,)),
    "CH3CHO": ("CH3CHO", (0,)),
    "CH3CH2OH": ("CH3CH2OH", (2,)),
    "CH2CO": ("H2CCO", (0, 1)),
    "CH2CH2": ("C2H4", (0, 1)),
    "N2": ("N2", (0,)),
    "NH3": ("NH3", (0,)),
    "NO": ("NO", (0,)),
    "NO2": ("NO2", (0,)),
    "NNO": ("N2O", (0,)),
    "HCN": ("HCN", (2,)),
    "C2H6": ("C2H6", (2,)),
    "H2S": ("SH2", (0,)),
    "HF": ("HF", (0,)),
    "HCl": ("HCl", (0,)),
}

# Name: SMILES of a whole molecule, binding atoms in its order.
MOLECULES = {
    "HCOO": ("[O-]C=O", (0, 2)),
    "CH3COO": ("[O-]C(=O)C", (0, 2)),
    "CH3COOH": ("O=C(O)C", (0,)),
    "CHOCHO": ("O=CC=O", (0,)),
    "CHOCH2OH": ("O=CCO", (0,)),
    "HNO": ("N=O", (0,)),
    "ONOH": ("N(=O)O", (0,)),
    "NH2OH": ("NO", (0,)),
    "NH2NH2": ("NN", (0,)),
    "NHNH": ("[H]/N=N\\[H]", (1, 2)),
    "NO3": ("[O-][N+](=O)[O-]", (0, 2)),
    "NH2N(CH3)2": ("NN(C)C", (1,)),
    "ONN(CH3)2": ("O=NN(C)C", (0,)),
}

# Name: SMILES of a molecule that lies flat on its double bond, binding atoms.
FLAT = {"CH2CHOH": ("C=CO", (0, 1))}

# Positions in Å: single atoms, C2 lying down, acetylene with its hydrogens bent up.
BY_HAND = {
    "H": (["H"], [[0, 0, 0]], (0,)),
    "C": (["C"], [[0, 0, 0]], (0,)),
    "N": (["N"], [[0, 0, 0]], (0,)),
    "O": (["O"], [[0, 0, 0]], (0,)),
    "S": (["S"], [[0, 0, 0]], (0,)),
    "F": (["F"], [[0, 0, 0]], (0,)),
    "Cl": (["Cl"], [[0, 0, 0]], (0,)),
    "C2": (["C", "C"], [[-0.63, 0, 0], [0.63, 0, 0]], (0, 1)),
    "CHCH": (
        ["C", "C", "H", "H"],
        [[-0.65, 0, 0], [0.65, 0, 0], [-1.32, 0, 0.85], [1.32, 0, 0.85]],
        (0, 1),
    ),
}


def conformers(smiles: str) -> list[Atoms]:
    """Return relaxed conformers, deuterium marked by mass 2, best force-field energy first."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    ids = rdDistGeom.EmbedMultipleConfs(molecule, CONFORMERS, randomSeed=20)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        results = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=5000)
    else:
        results = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, maxIters=5000)
    atoms_of = list(molecule.GetAtoms())
    found = []
    for conformer in ids:
        positions = np.asarray(molecule.GetConformer(conformer).GetPositions())
        symbols = [chemical_symbols[atom.GetAtomicNum()] for atom in atoms_of]
        atoms = Atoms(symbols, positions)
        atoms.set_masses([2.0 if atom.GetIsotope() == 2 else None for atom in atoms_of])
        atoms.info["energy"] = results[conformer][1]
        found.append(atoms)
    return sorted(found, key=lambda atoms: atoms.info["energy"])


def fragment(atoms: Atoms) -> tuple[Atoms, tuple[int, ...]]:
    """Return a fragment without its deuterium atoms, bonds to the surface pointing down."""
    marks = [i for i in range(len(atoms)) if atoms.symbols[i] == "H" and atoms.get_masses()[i] == 2]
    kept = [i for i in range(len(atoms)) if i not in marks]
    bearer = {mark: min(kept, key=lambda i: atoms.get_distance(i, mark)) for mark in marks}
    binding = bearer[marks[0]]
    mine = [mark for mark in marks if bearer[mark] == binding]
    down_3 = (atoms.positions[mine] - atoms.positions[binding]).mean(axis=0)
    bare = Atoms(atoms.symbols[kept], atoms.positions[kept])
    index = (kept.index(binding),)
    return upright(bare, index, down_3), index


def highest(structures: Sequence[tuple[Atoms, tuple[int, ...]]]) -> tuple[Atoms, tuple[int, ...]]:
    """Return the structure whose lowest atom is highest; ties go to the lower energy."""
    return max(structures, key=lambda item: round(float(item[0].positions[:, 2].min()), 1))


def _normal(atoms: Atoms) -> NDArray[np.float64]:
    """Return the normal of the plane of an ethylene unit: its first two atoms and the third."""
    one, two = atoms.positions[1] - atoms.positions[0], atoms.positions[2] - atoms.positions[0]
    return np.cross(one, two)


def main() -> None:
    """Build every adsorbate and write the file."""
    argparse.ArgumentParser(description=f"Write {TARGET.name}.").parse_args()
    rdBase.DisableLog("rdApp.*")
    built = {name: highest([fragment(a) for a in conformers(s)]) for name, s in FRAGMENTS.items()}
    for name, (g2_name, binding) in G2.items():
        built[name] = upright(g2_molecule(g2_name), binding), binding
    for name, (smiles, binding) in MOLECULES.items():
        built[name] = highest([(upright(a, binding), binding) for a in conformers(smiles)])
    for name, (smiles, binding) in FLAT.items():
        flat = [(upright(a, binding, _normal(a)), binding) for a in conformers(smiles)]
        built[name] = highest(flat)
    for name, (symbols, positions, binding) in BY_HAND.items():
        built[name] = Atoms(symbols, positions), binding
    entries = {
        name: {
            "symbols": atoms.get_chemical_symbols(),
            "positions": np.round(atoms.positions, 4).tolist(),
            "binding": list(binding),
        }
        for name, (atoms, binding) in sorted(built.items())
    }
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
