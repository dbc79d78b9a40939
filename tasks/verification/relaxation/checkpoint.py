"""Every step of one relaxation in one file, so that a killed one goes on where it was.

A header line and one line for each step, appended as the step is done; a line begins with a hash of
itself and of the line before. A kill while a line is written costs that step. Anything else that
does not fit is refused: a file that was cut, edited, or is of another calculation.

A relaxation that was killed begins at its start again. As long as the optimiser asks for geometries
of the file, it is answered from there, so that it is in the same state as before, whichever
optimiser it is; from there on the engine answers.

Units   positions in Å, forces in eV/Å, energies in eV, times in seconds since 1970, UTC.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from model.files import new_file
from tasks.errors import UserError

_FORMAT = 1
_DIGITS = 16  # of the hash, in front of each line
_SAME_POSITION_ANG = 1e-6  # as far as two machines round apart
_SYNC_S = 1.0  # what is newer than this may be lost with the machine, never with the process


class CheckpointError(UserError):
    """A checkpoint from which a relaxation cannot go on, and why."""


@dataclass(frozen=True)
class RelaxationFrame:
    """One step: the geometry, and what the engine found there.

    ``energy_ev`` is of the level's energy key, ``free_energy_ev`` the one that forces belong to.
    """

    step: int
    energy_ev: float
    free_energy_ev: float | None
    fmax_ev_ang: float
    at: float
    positions_N3: NDArray[np.float64]
    forces_N3: NDArray[np.float64]


Watch = Callable[[RelaxationFrame], None]  # is called with each new step


@dataclass(frozen=True)
class CheckpointContents:
    """Content of a checkpoint: start of the relaxation, its steps, number of the last attempt."""

    start_N3: NDArray[np.float64]
    frames: tuple[RelaxationFrame, ...]
    attempt: int


class RelaxationCheckpoint:
    """The file of one relaxation; ``attempt`` is the number of the one that writes."""

    def __init__(self, path: Path, key: str, attempt: int) -> None:
        self.path, self.key, self.attempt = path, key, attempt
        self._digest = ""
        self._synced = time.monotonic()

    def read(self) -> CheckpointContents | None:
        """Return the content of the file, or None where there is none; ``append`` then goes on.

        Raises:
            CheckpointError: it is damaged, or of another calculation.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", "replace").splitlines()
        contents = self._contents(lines)
        found = _read(contents, self.key)
        if len(whole) < len(data):  # the step during which the process was killed
            os.truncate(self.path, len(whole))
        return found

    def begin(self, start_N3: NDArray[np.float64], frames: Sequence[RelaxationFrame] = ()) -> None:
        """Write the file anew with the steps so far; a kill leaves the old or the new one."""
        self._digest = ""
        header = {"format": _FORMAT, "key": self.key, "attempt": self.attempt}
        lines = [self._line(header | {"start": start_N3.tolist()})]
        lines += [self._line(self._written(frame)) for frame in frames]
        with new_file(self.path) as fresh:
            fresh.write_bytes(b"".join(lines))

    def append(self, frame: RelaxationFrame) -> None:
        """Write one step more."""
        with self.path.open("ab") as file:
            file.write(self._line(self._written(frame)))
            file.flush()
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(file.fileno())
                self._synced = time.monotonic()

    def _contents(self, lines: Sequence[str]) -> list[dict[str, Any]]:
        """Return the JSON objects of the lines, each of which has to follow from those before."""
        contents, digest = [], ""
        for number, line in enumerate(lines, start=1):
            written, text = line[:_DIGITS], line[_DIGITS + 1 :]
            digest = _chained(digest, text)
            if written != digest:
                raise CheckpointError(
                    f"line {number} of {self.path.name} does not follow from those before it"
                )
            contents.append(json.loads(text))
        if not contents:
            raise CheckpointError(f"{self.path.name} is empty")
        self._digest = digest
        return contents

    def _line(self, content: dict[str, Any]) -> bytes:
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        self._digest = _chained(self._digest, text)
        return f"{self._digest} {text}\n".encode()

    def _written(self, frame: RelaxationFrame) -> dict[str, Any]:
        return {
            "attempt": self.attempt,
            "step": frame.step,
            "energy": frame.energy_ev,
            "free": frame.free_energy_ev,
            "fmax": frame.fmax_ev_ang,
            "at": frame.at,
            "positions": frame.positions_N3.tolist(),
            "forces": frame.forces_N3.tolist(),
        }


def _chained(digest: str, text: str) -> str:
    return hashlib.sha256(f"{digest} {text}".encode()).hexdigest()[:_DIGITS]


def _read(contents: Sequence[dict[str, Any]], key: str) -> CheckpointContents:
    header, *steps = contents
    if header.get("format") != _FORMAT or header.get("key") != key:
        raise CheckpointError("the checkpoint is of another calculation or release")
    try:
        start_N3 = _array(header["start"])
        frames = tuple(_frame(step, number) for number, step in enumerate(steps))
        return CheckpointContents(start_N3, frames, int(contents[-1]["attempt"]))
    except (KeyError, TypeError, ValueError) as fault:
        raise CheckpointError(f"the checkpoint does not hold steps ({fault!r})") from fault


def _frame(step: dict[str, Any], number: int) -> RelaxationFrame:
    if step["step"] != number:
        raise ValueError(f"step {step['step']} stands where {number} should")
    return RelaxationFrame(
        step=number,
        energy_ev=float(step["energy"]),
        free_energy_ev=None if step["free"] is None else float(step["free"]),
        fmax_ev_ang=float(step["fmax"]),
        at=float(step["at"]),
        positions_N3=_array(step["positions"]),
        forces_N3=_array(step["forces"]),
    )


def _array(rows: Any) -> NDArray[np.float64]:
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise ValueError(f"coordinates of shape {array.shape}")
    return array


class _Replayed(Calculator):
    """Answers from recorded steps in their order, then from an engine."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  ASE's name

    def __init__(self, recorded: Sequence[RelaxationFrame], engine: Calculator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left, self.engine, self.from_record = list(recorded), engine, False

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Answer; a recorded step of another geometry ends the replay."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        current: Any = self.atoms  # a copy that ASE made
        if self.left and not _same(current.positions, self.left[0].positions_N3):
            self.left = []
        self.from_record = bool(self.left)
        self.results = _results(self.left.pop(0)) if self.left else self._computed(current)

    def _computed(self, atoms: Atoms) -> dict[str, Any]:
        forces_N3 = self.engine.get_forces(atoms)
        energy_ev = self.engine.get_potential_energy(atoms)
        free_ev = self.engine.results.get("free_energy")
        results = {"energy": energy_ev, "forces": forces_N3}
        return results if free_ev is None else results | {"free_energy": free_ev}


@dataclass
class Track:
    """The steps of one relaxation: ``recorded`` before it begins, ``frames`` as it goes on.

    Each new one is appended to the ``checkpoint``, which holds the recorded ones, and passed to
    ``watch``.
    """

    recorded: Sequence[RelaxationFrame] = ()
    checkpoint: RelaxationCheckpoint | None = None
    watch: Watch | None = None
    frames: list[RelaxationFrame] = field(default_factory=list)
    _replayed: _Replayed | None = None
    _written: int = -1  # steps in the file, from the first new one on

    @property
    def replaying(self) -> bool:
        """Return whether the last answer was a recorded one."""
        return self._replayed is not None and self._replayed.from_record

    def answering(self, engine: Calculator) -> Calculator:
        """Return a calculator that answers from the recorded steps first, then by the engine."""
        if not self.recorded:
            return engine
        self._replayed = _Replayed(self.recorded, engine)
        return self._replayed

    def add(self, frame: RelaxationFrame) -> bool:
        """Add a step and return whether it is new."""
        if self.replaying:
            self.frames.append(self.recorded[len(self.frames)])
            return False
        self._write(frame)
        self.frames.append(frame)
        if self.watch is not None:
            self.watch(frame)
        return True

    def forget(self) -> None:
        """Remove the file: no later attempt goes on from it."""
        if self.checkpoint is not None:
            with suppress(OSError):
                self.checkpoint.path.unlink()

    def _write(self, frame: RelaxationFrame) -> None:
        if self.checkpoint is None:
            return
        written = len(self.recorded) if self._written < 0 else self._written
        if written > len(self.frames):  # the replay ended early: the rest is of no use any more
            self.checkpoint.begin((*self.frames, frame)[0].positions_N3, self.frames)
        self.checkpoint.append(frame)
        self._written = len(self.frames) + 1


def _same(first_N3: Any, second_N3: Any) -> bool:
    return first_N3.shape == second_N3.shape and np.allclose(
        first_N3, second_N3, rtol=0, atol=_SAME_POSITION_ANG
    )


def _results(frame: RelaxationFrame) -> dict[str, Any]:
    results = {"energy": frame.energy_ev, "forces": frame.forces_N3.copy()}
    free_ev = frame.free_energy_ev
    return results if free_ev is None else results | {"free_energy": free_ev}
