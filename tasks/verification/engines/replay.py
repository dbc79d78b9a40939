"""Energies from a table instead of a program, to judge a loop on published calculations.

A level of this engine is of single points and states which table it answers from, so that another
table is another level:

    name: mine
    engine: replay
    functional: BEEF-vdW            # of the energies in the table
    calculation:
      mode: single_point
      relaxation: {optimiser: BFGS, fmax_ev_ang: 0.05, max_steps: 1}    # read by nothing
      potentials: {family: my-table, checksums: {table: SHA-256 of the file}}
    reference: {kind: reactions, molecules: [CH4, H2O, H2]}

``SABATIER_REPLAY_TABLE`` says where the file is. It is Parquet with a row for each structure:
``id``, ``formula`` and ``energy_ev`` (total energies, or any others whose differences are right).
The id of a slab or an adslab is of its canonical form (``tasks.structures.identity``), that of a
gas molecule of its elements and distances, as it has no cell. A structure that is not in the table
is refused, never answered by a similar one.

    energies = [TabulatedEnergy(slab, -10.0), TabulatedEnergy(adslab, -24.5)]
    write_energy_table(path, [*energies, TabulatedEnergy(boxed(gas, None), -14.0)])

Where only adsorption energies are available, as in labels of another database, slabs and molecules
stand at zero and the adslab at the adsorption energy, so that subtracting the references leaves the
source's energy. The gas references must then be those that the source measures against.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from tasks.errors import UserError
from tasks.levels import REPLAY, LevelOfTheory
from tasks.structures.formulas import formula_counts
from tasks.structures.identity import content_id, structure_bytes
from tasks.verification.engines.base import CalculationJob, Engine, content_sha256
from tasks.verification.engines.failures import EngineError, FailureKind, Rung
from tasks.verification.engines.requirements import require_energy_key
from tasks.verification.inputs.sampling import is_gas

_DISTANCE_STEP_ANG = 0.01
_OFFSET = 0.2887  # no tabulated distance sits on a border of the steps
_TABLE = "table"  # under which a level states the checksum of the one file
_SCHEMA = pa.schema([("id", pa.string()), ("formula", pa.string()), ("energy_ev", pa.float64())])


@dataclass(frozen=True)
class TabulatedEnergy:
    """A structure and its energy (eV); a molecule is boxed (see ``inputs.sampling.boxed``)."""

    atoms: Atoms
    energy_ev: float


def energy_id(atoms: Atoms) -> str:
    """Return the id under which a table keeps a structure."""
    if not is_gas(atoms):
        return content_id("structure", structure_bytes(atoms))
    order = np.argsort(atoms.numbers, kind="stable")
    lengths_P = np.sort(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)])
    steps_P = np.floor(lengths_P / _DISTANCE_STEP_ANG + _OFFSET).astype("<i4")
    return content_id("gas", atoms.numbers[order].astype("<i4").tobytes(), steps_P.tobytes())


def write_energy_table(path: Path, energies: Iterable[TabulatedEnergy]) -> None:
    """Write energies by id, in the order of the ids: the same energies are the same file.

    Raises:
        UserError: an energy is not finite, or a structure has two.
    """
    rows: dict[str, tuple[str, float]] = {}
    for one in energies:
        formula = one.atoms.get_chemical_formula()
        if not np.isfinite(one.energy_ev):
            raise UserError(f"an energy is finite, got {one.energy_ev} of {formula}; leave it out")
        found = rows.setdefault(energy_id(one.atoms), (formula, float(one.energy_ev)))
        if found[1] != one.energy_ev:
            raise UserError(
                f"a structure has one energy, got {found[1]} and {one.energy_ev} eV of {formula}; "
                "leave one out"
            )
    lines = [{"id": i, "formula": f, "energy_ev": e} for i, (f, e) in sorted(rows.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(lines, schema=_SCHEMA), path)


@dataclass(frozen=True)
class EnergyTable:
    """The content of a file: energies (eV) by structure id, and the elements of its structures."""

    energies_ev: dict[str, float]
    elements: frozenset[str]


def read_table(path: Path) -> EnergyTable:
    """Return the energies of a file, which is read once as long as it does not change.

    Raises:
        UserError: it is no table of energies.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(
    path: Path, changed_ns: int, size: int
) -> EnergyTable:  # a file that changed is read again
    try:
        columns = pq.read_table(path, columns=_SCHEMA.names).cast(_SCHEMA).to_pydict()
    except (OSError, ValueError) as error:
        raise UserError(
            f"a table of energies is Parquet with the columns {', '.join(_SCHEMA.names)}, "
            f"got {path} ({error}); write it with write_energy_table of {__name__}"
        ) from error
    energies_ev = dict(zip(columns["id"], columns["energy_ev"], strict=True))
    elements = {symbol for formula in set(columns["formula"]) for symbol in formula_counts(formula)}
    return EnergyTable(energies_ev, frozenset(elements))


@dataclass(frozen=True)
class ReplayEngine(Engine):
    """A table of energies; ``potentials`` of its location is its file."""

    name: ClassVar[str] = REPLAY
    ladder: ClassVar[tuple[Rung, ...]] = (Rung.AS_STATED,)
    functionals: ClassVar[frozenset[str]] = frozenset()  # whichever the table is of
    computes_crystals: ClassVar[bool] = False

    def missing(self) -> str:
        """Return which variable to set where there is no table."""
        if not Path(self.location.potentials or "-").is_file():
            return "no table: set SABATIER_REPLAY_TABLE to a Parquet file of energies"
        return ""

    def version(self) -> str:
        """Return nothing: no program runs, and the level states the table."""
        return ""

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that the table has a structure of."""
        return self._table().elements

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse a level that relaxes, or that names no table."""
        require_energy_key(self, level)
        if level.require_calculation().mode != "single_point":
            raise UserError(
                f"a table holds energies and no forces, level {level.name} states mode: "
                f"{level.require_calculation().mode}; write mode: single_point"
            )
        potentials = level.require_calculation().potentials
        if potentials is None or _TABLE not in potentials.checksums:
            raise UserError(
                f"level {level.name} must state which table it is: potentials: {{family: my-table, "
                f"checksums: {{{_TABLE}: ...}}}} with the SHA-256 of its file"
            )

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of the table."""
        path = Path(self.location.potentials)
        return {_TABLE: content_sha256(path)} if path.is_file() else {}

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return the table's answer to one structure.

        Raises:
            EngineError: the table does not have it.
        """
        energy_ev = self._table().energies_ev.get(energy_id(job.atoms))
        if energy_ev is None:
            raise EngineError(
                FailureKind.BAD_INPUT,
                f"level {job.level.name} answers from {self.location.potentials}, which has no "
                f"energy of {job.atoms.get_chemical_formula()} as it is placed "
                f"({energy_id(job.atoms)[:12]}); add it, which makes another level",
            )
        # the table has no forces; zero ones let the structure count as relaxed
        at_rest_N3 = np.zeros((len(job.atoms), 3))
        return SinglePointCalculator(job.atoms, energy=energy_ev, forces=at_rest_N3)

    def _table(self) -> EnergyTable:
        return read_table(Path(self.location.potentials))
