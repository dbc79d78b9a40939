"""Known energies instead of a program: a loop is judged on what was calculated long ago.

A level of it is of single points and states which table it answers from, so that another table is
another level:

    name: mine
    engine: replay
    functional: BEEF-vdW            # of the energies in the table
    calculation:
      mode: single_point
      relaxation: {optimiser: BFGS, fmax_ev_ang: 0.05, max_steps: 1}    # read by nothing
      potentials: {family: my-table, checksums: {table: SHA-256 of the file}}
    reference: {kind: reactions, molecules: [CH4, H2O, H2]}

Tables are written by ``tasks.verification.engines.replay_table``; ``SABATIER_REPLAY_TABLE`` says
where the file is. A structure that is not in it is refused, never answered by a similar one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from tasks.errors import UserError
from tasks.levels.theory import REPLAY, LevelOfTheory
from tasks.verification.engines.base import (
    CalculationJob,
    Engine,
    content_sha256,
)
from tasks.verification.engines.failures import EngineError, FailureKind, Rung
from tasks.verification.engines.replay_table import EnergyTable, energy_id, read_table
from tasks.verification.engines.requirements import (
    require_energy_key,
)

_TABLE = "table"  # under which a level states the checksum of the one file


@dataclass(frozen=True)
class ReplayEngine(Engine):
    """A table of known energies; ``potentials`` of its location is its file."""

    name: ClassVar[str] = REPLAY
    ladder: ClassVar[tuple[Rung, ...]] = (Rung.AS_STATED,)
    functionals: ClassVar[frozenset[str]] = frozenset()  # whichever the table is of
    computes_crystals: ClassVar[bool] = False

    def missing(self) -> str:
        """Return what to set before it can answer."""
        if not Path(self.location.potentials or "-").is_file():
            return "no table: set SABATIER_REPLAY_TABLE to a Parquet file of known energies"
        return ""

    def version(self) -> str:
        """Return nothing: no program runs, and the level states the table."""
        return ""

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that the table has a structure of."""
        return self._table().elements

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse a level that relaxes, or that does not say which table it is."""
        require_energy_key(self, level)
        if level.require_calculation().mode != "single_point":
            raise UserError(
                f"a table knows energies and no forces, level {level.name} states mode: "
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
        # Structures of a table rest where they are known.
        at_rest_N3 = np.zeros((len(job.atoms), 3))
        return SinglePointCalculator(job.atoms, energy=energy_ev, forces=at_rest_N3)

    def _table(self) -> EnergyTable:
        return read_table(Path(self.location.potentials))
