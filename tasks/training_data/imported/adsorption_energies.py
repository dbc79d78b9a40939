"""Adsorption energies from a source's rows: who is slab, gas or adslab, and what is subtracted.

An adslab's adsorbate is named by its row, has tag 2, or is what a clean slab of the source lacks.
Of total energies the clean slab's and the level's gas reference are subtracted; energies that are
of adsorption already must state the molecules that the level counts from.

Shapes  S slab atoms, N atoms of the adslab.
Units   eV, Å.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from model.contract import ADSORBATE_TAG
from tasks.enumeration import ALIASES, Adsorbate, adsorbate, adsorbate_names
from tasks.enumeration.custom.clean_slab import foreign_elements, tags_are_layers
from tasks.errors import Refusal, UserError
from tasks.levels import LevelOfTheory
from tasks.structures.contacts import find_adsorbate
from tasks.structures.formulas import formula_counts
from tasks.structures.orientation import is_same_species
from tasks.structures.standard_frame import joined_adsorbate
from tasks.structures.vacuum import vacuum_along_c
from tasks.training_data.imported.convergence import fmax_limit, is_converged, largest_force
from tasks.training_data.imported.source_rows import SourceRow
from tasks.training_data.imported.stated_references import (
    StatedReferences,
    require_ev,
    require_references_of,
)
from tasks.verification.engines import hubbard_fault

T = TypeVar("T")
_SAME_CELL_ANG = 0.05
_SAME_SLAB_ANG = 0.05
_SLAB_MOVE_ANG = 1.5  # between the clean slab and the same atom under an adsorbate
_SAME_GAS_EV = 0.01
_SAME_SLAB_EV = 0.05
_LARGEST_GAS = 20  # atoms: what has none but a molecule's, and no slab under it


@dataclass(frozen=True, eq=False)
class AdsorptionEnergy:
    """An adslab's adsorption energy (eV), its parts where they are known, and its adsorbate.

    ``atoms`` have tag 2 on the adsorbate and 0 elsewhere. Without parts the slab's energy is 0 and
    the adslab's is that of adsorption: it is counted from slab and references.
    """

    row: SourceRow
    atoms: Atoms
    species: Adsorbate
    energy_ev: float
    e_adslab_ev: float
    e_slab_ev: float
    references: tuple[tuple[str, float], ...]
    slab_source: str = ""


class EnergyReader:
    """Makes adsorption energies of the rows of one source at one level of theory.

    Rows of another level, and slabs and molecules that are not relaxed, are ``refused``.
    """

    def __init__(
        self, rows: Sequence[SourceRow], level: LevelOfTheory, stated: StatedReferences
    ) -> None:
        self._level, self._stated = level, stated
        self._molecules = require_references_of(level, stated)
        self.gases_ev = dict(stated.gases_ev)
        self.gas_rows: list[SourceRow] = []
        self.slab_rows: list[SourceRow] = []
        self.adslab_rows: list[SourceRow] = []
        self.refused: list[Refusal] = []
        rows = self._of_level(rows)
        for row in rows:
            self._rows_of(row).append(row)
        covered = [
            row
            for row in self.slab_rows
            if not row.role and (_without(row, self.slab_rows) or _is_covered(row.atoms))
        ]
        self.slab_rows = [row for row in self.slab_rows if row not in covered]
        self.adslab_rows += covered
        self.adslab_rows.sort(key=rows.index)
        # Of a slab whose held atoms are not known no force must vanish; of a molecule all do.
        self.slab_rows = [row for row in self.slab_rows if self._is_relaxed(row, is_free=False)]
        self.gas_rows = [row for row in self.gas_rows if self._is_relaxed(row, is_free=True)]
        for row in self.gas_rows:
            self._take_gas(row)
        require_ev(self.gases_ev)

    def _of_level(self, rows: Sequence[SourceRow]) -> list[SourceRow]:
        """Return the rows of the level with the energy that it is made of; others are refused."""
        level, kept = self._level, []
        key = "energy" if level.calculation is None else level.calculation.energy_key
        own = [row for row in rows if row.level in ("", level.name)]
        is_free = key != "energy" and any(row.free_energy_ev is not None for row in own)
        for row in rows:
            if row.level not in ("", level.name):
                self._refuse(row, f"level: this row is of {row.level}, the import of {level.name}")
            elif not is_free or row.states_energy:
                kept.append(row)
            elif row.free_energy_ev is None:
                self._refuse(
                    row,
                    f"energy: {level.name} is made of free energies, which other rows give and "
                    "this one does not; state it as energy_ev",
                )
            else:
                kept.append(replace(row, energy_ev=row.free_energy_ev))
        return kept

    def _is_relaxed(self, row: SourceRow, *, is_free: bool) -> bool:
        free_N = np.full(len(row.atoms), is_free)
        if is_converged(row, self._level, free_N):
            return True
        force = None if row.converged is False else largest_force(row, free_N)
        words = "it says so" if force is None else f"{force:.3f} eV/Å"
        self._refuse(
            row, f"not converged: {words}, at most {fmax_limit(self._level):g} eV/Å in a reference"
        )
        return False

    def _refuse(self, row: SourceRow, reason: str) -> None:
        self.refused.append(Refusal(row.source, "placement", reason))

    def _rows_of(self, row: SourceRow) -> list[SourceRow]:
        if row.role:
            rows = {"gas": self.gas_rows, "slab": self.slab_rows, "adslab": self.adslab_rows}
            return rows[row.role]
        has_slab = row.slab is not None or row.slab_energy_ev is not None
        if row.adsorbate or has_slab or _is_tagged(row.atoms):
            return self.adslab_rows
        if self._stated.energies == "adsorption":
            return self.adslab_rows
        formula = row.atoms.symbols.formula.count()
        names = (*self._level.reference.gases, *self._stated.gases_ev)
        if len(row.atoms) <= _LARGEST_GAS and any(formula_counts(n) == formula for n in names):
            return self.gas_rows
        return self.slab_rows

    def _take_gas(self, row: SourceRow) -> None:
        counts = row.atoms.symbols.formula.count()
        names = [n for n in self._level.reference.gases if formula_counts(n) == counts]
        name = names[0] if names else row.adsorbate or row.atoms.get_chemical_formula()
        known = self.gases_ev.setdefault(name, row.energy_ev)
        if abs(known - row.energy_ev) > _SAME_GAS_EV:
            raise UserError(
                f"a gas molecule has one energy: {name} is {known:.3f} eV and in {row.source} "
                f"{row.energy_ev:.3f} eV; leave one out"
            )

    def read(self, row: SourceRow, adsorbate_name: str = "") -> AdsorptionEnergy:
        """Return the adsorption energy of an adslab's row.

        Args:
            row: A row of ``adslab_rows``.
            adsorbate_name: Its adsorbate, where the row does not name one.

        Returns:
            The energy (eV) with its parts, and the adsorbate.

        Raises:
            UserError: the reason why there is none, as ``rule: values``.
        """
        row = replace(row, adsorbate=row.adsorbate or adsorbate_name)
        atoms = row.atoms.copy()
        atoms.calc = None
        chosen = ruled("adsorbate", self._adsorbate_atoms, row)
        atoms.set_tags(np.where(np.isin(np.arange(len(atoms)), chosen), ADSORBATE_TAG, 0))
        species = ruled("adsorbate", species_of, row, atoms[chosen])
        if fault := hubbard_fault(self._level, set(atoms.get_chemical_symbols())):
            raise UserError(f"data with U: {fault}")
        weights = ruled("reference", self._level.reference.weights, species.name, species.formula)
        if self._stated.energies == "adsorption":
            if missing := sorted(set(weights) - self._molecules - {species.name}):
                raise UserError(
                    f"reference: {species.name} is counted from {', '.join(missing)} as well, "
                    "which the import does not state"
                )
            energy_ev = row.energy_ev
            return AdsorptionEnergy(row, atoms, species, energy_ev, energy_ev, 0.0, ())
        reference_ev = ruled(
            "reference",
            self._level.reference.reference_ev,
            species.name,
            species.formula,
            self.gases_ev,
        )
        e_slab_ev, source = self._slab_energy(row, atoms)
        used = tuple((name, self.gases_ev[name]) for name in sorted(weights))
        energy_ev = row.energy_ev - e_slab_ev - reference_ev
        return AdsorptionEnergy(
            row, atoms, species, energy_ev, row.energy_ev, e_slab_ev, used, source
        )

    def _adsorbate_atoms(self, row: SourceRow) -> NDArray[np.int64]:
        tagged = np.flatnonzero(row.atoms.get_tags() == ADSORBATE_TAG)
        named = formula_counts(row.adsorbate) if row.adsorbate else None
        if _is_tagged(row.atoms) and named in (None, row.atoms[tagged].symbols.formula.count()):
            return tagged
        slabs = [row.slab] if row.slab is not None else [each.atoms for each in self.slab_rows]
        lacking = [rest for slab in slabs if (rest := added_atoms(row.atoms, slab)) is not None]
        fitting = [
            rest
            for rest in lacking
            if named is None or row.atoms[rest].symbols.formula.count() == named
        ]
        if fitting:
            return min(fitting, key=len)
        if not row.adsorbate:
            raise UserError(
                "it is not known which atoms it is: name it (adsorbate), give its atoms tag 2, or "
                "give the clean slab"
            )
        return np.array(find_adsorbate(row.atoms, row.adsorbate))

    def _slab_energy(self, row: SourceRow, atoms: Atoms) -> tuple[float, str]:
        """Return the energy (eV) of the clean slab under an adslab, and where it is from."""
        if row.slab_energy_ev is not None:
            return row.slab_energy_ev, row.source
        host = atoms[atoms.get_tags() != ADSORBATE_TAG]
        stated = [host] if row.slab is None else [host, row.slab]
        same = [
            each
            for each in self.slab_rows
            if all(_apart_ang(one, each.atoms) <= _SLAB_MOVE_ANG for one in stated)
        ]
        if not same:
            raise UserError(
                f"slab: no clean {host.get_chemical_formula()} of this cell, with its atoms where "
                "they are here, has an energy in the source; add it, or slab_energy_ev"
            )
        if row.slab is not None:
            near = [_apart_ang(row.slab, each.atoms) for each in same]
            least = min(near) + _SAME_SLAB_ANG
            same = [each for each, ang in zip(same, near, strict=True) if ang < least]
        same.sort(key=lambda each: (each.energy_ev, each.source))
        lowest, highest = same[0], same[-1]
        if highest.energy_ev - lowest.energy_ev > _SAME_SLAB_EV:
            raise UserError(
                f"slab: two clean slabs fit, {lowest.source} at {lowest.energy_ev:.3f} eV and "
                f"{highest.source} at {highest.energy_ev:.3f} eV; leave one out, or say which it "
                "is by slab or slab_energy_ev"
            )
        return lowest.energy_ev, lowest.source


def species_of(row: SourceRow, chosen: Atoms) -> Adsorbate:
    """Return the stored adsorbate that some atoms are, by its name or by their bonds.

    Raises:
        UserError: none is, or the named one is another.
    """
    if row.adsorbate and ALIASES.get(row.adsorbate, row.adsorbate) in adsorbate_names():
        return adsorbate(row.adsorbate)
    molecule = Atoms(chosen.numbers, joined_adsorbate(chosen))
    counts = molecule.symbols.formula.count()
    known = map(adsorbate, adsorbate_names())
    alike = [each for each in known if each.atoms.symbols.formula.count() == counts]
    for each in alike:
        if is_same_species(molecule, each.atoms):
            return each
    formula = row.adsorbate or molecule.get_chemical_formula()
    near = f"; {', '.join(each.name for each in alike)} have other bonds" if alike else ""
    raise UserError(f"{formula} is none of those that are known (sabatier adsorbates){near}")


def added_atoms(atoms: Atoms, slab: Atoms) -> NDArray[np.int64] | None:
    """Return the atoms that an adslab has beside a clean slab, None where the slab is another.

    Atoms of the slab are assigned to the nearest of their element, each at most 1.5 Å away.
    """
    if len(atoms) <= len(slab) or not _same_cell(atoms, slab):
        return None
    have, need = atoms.symbols.formula.count(), slab.symbols.formula.count()
    if any(have.get(symbol, 0) < count for symbol, count in need.items()):
        return None
    columns, apart_ang = _nearest_atoms(slab, atoms)
    if apart_ang > _SLAB_MOVE_ANG:
        return None
    return np.setdiff1d(np.arange(len(atoms)), columns)


def _nearest_atoms(slab: Atoms, atoms: Atoms) -> tuple[NDArray[np.int64], float]:
    """Return which atoms those of a slab are, each its own, and how far (Å) the farthest is."""
    _, apart_SN = get_distances(slab.positions, atoms.positions, cell=atoms.cell, pbc=True)
    apart_SN = apart_SN + 1e3 * (slab.numbers[:, None] != atoms.numbers[None])
    rows, columns = linear_sum_assignment(apart_SN)
    return columns, float(apart_SN[rows, columns].max())


def _is_tagged(atoms: Atoms) -> bool:
    return bool((atoms.get_tags() == ADSORBATE_TAG).any()) and not tags_are_layers(atoms)


def _is_covered(atoms: Atoms) -> bool:
    """Return whether atoms that are not of a slab lie on it; what has no vacuum is no adslab."""
    try:
        return bool(foreign_elements(vacuum_along_c(atoms)))
    except UserError:
        return False


def _without(row: SourceRow, slabs: Sequence[SourceRow]) -> bool:
    """Return whether a row is another row of clean slab with atoms on it."""
    return any(added_atoms(row.atoms, each.atoms) is not None for each in slabs if each is not row)


def _apart_ang(host: Atoms, slab: Atoms) -> float:
    """Return how far (Å) the farthest atoms of two slabs are apart, infinite if they are others."""
    same_atoms = host.symbols.formula.count() == slab.symbols.formula.count()
    if not same_atoms or not _same_cell(host, slab):
        return np.inf
    return _nearest_atoms(slab, host)[1]


def _same_cell(one: Atoms, other: Atoms) -> bool:
    """Return whether two cells have the same sides and angles; vacuum counts."""
    if one.cell.rank < 3 or other.cell.rank < 3:
        return False
    same = np.abs(one.cell.lengths() - other.cell.lengths()).max() < _SAME_CELL_ANG
    return bool(same and np.abs(one.cell.angles() - other.cell.angles()).max() < 1.0)


def ruled(rule: str, read: Callable[..., T], *arguments: object) -> T:
    """Call a function; what it refuses is a reason that begins with the rule."""
    try:
        return read(*arguments)
    except UserError as error:
        raise UserError(f"{rule}: {error}") from error
