"""The steps of one relaxation: those that are known are replayed, new ones are kept as they come.

A relaxation that was killed begins at its start again. As long as the optimiser asks for geometries
that are known, it is answered from the record, so that it is in the same state as before, whichever
optimiser it is; from there on the engine answers.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from tasks.verification.relaxation.checkpoint import RelaxationCheckpoint, RelaxationFrame

_SAME_POSITION_ANG = 1e-6  # as far as two machines round apart

Watch = Callable[[RelaxationFrame], None]


class _Replayed(Calculator):
    """Answers from known steps in their order, then from an engine."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  ASE's name

    def __init__(self, known: Sequence[RelaxationFrame], engine: Calculator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left, self.engine, self.from_record = list(known), engine, False

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Answer; a known step of another geometry ends the replay."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        asked: Any = self.atoms  # a copy of those that are asked for
        if self.left and not _same(asked.positions, self.left[0].positions_N3):
            self.left = []
        self.from_record = bool(self.left)
        self.results = _known(self.left.pop(0)) if self.left else self._computed(asked)

    def _computed(self, asked: Atoms) -> dict[str, Any]:
        forces_N3 = self.engine.get_forces(asked)
        energy_ev = self.engine.get_potential_energy(asked)
        free_ev = self.engine.results.get("free_energy")
        results = {"energy": energy_ev, "forces": forces_N3}
        return results if free_ev is None else results | {"free_energy": free_ev}


@dataclass
class Track:
    """The steps of one relaxation: ``known`` before it begins, ``frames`` as it goes on.

    Each new one is written to the ``checkpoint``, which holds the known ones, and told to
    ``watch``.
    """

    known: Sequence[RelaxationFrame] = ()
    checkpoint: RelaxationCheckpoint | None = None
    watch: Watch | None = None
    frames: list[RelaxationFrame] = field(default_factory=list)
    _replayed: _Replayed | None = None
    _written: int = -1  # steps in the file, from the first new one on

    @property
    def replaying(self) -> bool:
        """Tell whether the last answer was a known one."""
        return self._replayed is not None and self._replayed.from_record

    def answering(self, engine: Calculator) -> Calculator:
        """Return a calculator that answers with what is known first, then with the engine."""
        if not self.known:
            return engine
        self._replayed = _Replayed(self.known, engine)
        return self._replayed

    def add(self, frame: RelaxationFrame) -> bool:
        """Add a step and tell whether it is new."""
        if self.replaying:
            self.frames.append(self.known[len(self.frames)])
            return False
        self._write(frame)
        self.frames.append(frame)
        if self.watch is not None:
            self.watch(frame)
        return True

    def forget(self) -> None:
        """Remove the file: there is nothing more to go on from in it."""
        if self.checkpoint is not None:
            with suppress(OSError):
                self.checkpoint.path.unlink()

    def _write(self, frame: RelaxationFrame) -> None:
        if self.checkpoint is None:
            return
        written = len(self.known) if self._written < 0 else self._written
        if written > len(self.frames):  # the replay ended early: the rest is of no use any more
            self.checkpoint.begin((*self.frames, frame)[0].positions_N3, self.frames)
        self.checkpoint.append(frame)
        self._written = len(self.frames) + 1


def _same(first_N3: Any, second_N3: Any) -> bool:
    return first_N3.shape == second_N3.shape and np.allclose(
        first_N3, second_N3, rtol=0, atol=_SAME_POSITION_ANG
    )


def _known(frame: RelaxationFrame) -> dict[str, Any]:
    results = {"energy": frame.energy_ev, "forces": frame.forces_N3.copy()}
    free_ev = frame.free_energy_ev
    return results if free_ev is None else results | {"free_energy": free_ev}
