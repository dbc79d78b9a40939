"""Compute one structure at a level: admitted first, then up the SCF ladder, each try recorded."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from tasks.levels.calculation import Mode
from tasks.levels.theory import LevelOfTheory
from tasks.verify.admission import admit
from tasks.verify.engines.base import Engine, Job
from tasks.verify.engines.failures import EngineError, FailureKind, ScfTry
from tasks.verify.relax import Reading, Relaxation, relax, single_point
from tasks.verify.sampling import start_moments


def compute(
    atoms: Atoms, level: LevelOfTheory, engine: Engine, mode: Mode | None = None
) -> Relaxation:
    """Return the energy of ``atoms``, relaxed or as they are; ``mode`` is the level's unless given.

    Each rung of the ladder starts from ``atoms`` again, so the same input gives the same energy.

    Raises:
        EngineError: there is no energy; its class and every try are in the error.
    """
    admit(atoms, level, engine)
    start = engine.prepared(_magnetised(atoms, level))
    tries: list[ScfTry] = []
    with _work_folder(engine, atoms, level) as folder:
        for number, rung in enumerate(engine.ladder):
            job = Job(start, level, folder / f"try{number + 1}", rung)
            try:
                done = _computed(job, engine, mode or level.stated().mode)
            except EngineError as failure:
                tries.append(ScfTry(rung, failure.kind, str(failure)))
                if failure.kind is FailureKind.SCF_NOT_CONVERGED:
                    continue
                raise EngineError(failure.kind, str(failure), tuple(tries)) from failure
            return replace(done, atoms=_moved(atoms, done.atoms), tries=(*tries, ScfTry(rung)))
    raise EngineError(
        FailureKind.SCF_NOT_CONVERGED,
        f"the electrons of {atoms.get_chemical_formula()} did not converge in {len(tries)} tries "
        f"({', '.join(t.rung.value for t in tries)}); the last: {tries[-1].message}",
        tuple(tries),
    )


def _computed(job: Job, engine: Engine, mode: Mode) -> Relaxation:
    """Return what one try gives; whatever the program raises becomes a failure with a class."""
    job.folder.mkdir(parents=True, exist_ok=True)
    calculator = None
    try:
        calculator = made = engine.calculator(job)
        reading = Reading(
            job.calculation.energy_key, lambda: engine.electrons_converged(made, job.folder)
        )
        if mode == "single_point":
            return single_point(job.atoms, calculator, reading)
        return relax(job.atoms, calculator, job.calculation.relaxation, reading)
    except EngineError:
        raise
    except Exception as error:  # a program may raise anything
        if not job.folder.is_dir():
            raise EngineError(
                FailureKind.KILLED,
                f"the work folder {job.folder} vanished while {engine.name} ran; it is computed "
                "again in a new one",
            ) from error
        raise engine.failure(error, job.folder) from error
    finally:
        _close(calculator)


def _close(calculator: object) -> None:
    """End the process of a calculator that keeps one, such as CP2K's shell."""
    close = getattr(calculator, "close", None)
    if callable(close):
        try:
            close()
        except (AssertionError, OSError, ValueError):
            return  # it had died before: how is in the failure already


def _magnetised(atoms: Atoms, level: LevelOfTheory) -> Atoms:
    moments_N = start_moments(atoms, level.stated().spin)
    start: Atoms = atoms.copy()
    start.set_initial_magnetic_moments(moments_N if moments_N.any() else None)
    return start


def _moved(atoms: Atoms, end: Atoms) -> Atoms:
    """Return ``atoms`` as they were, at the positions of the end."""
    moved: Atoms = atoms.copy()
    moved.positions = np.asarray(end.positions)
    return moved


@contextmanager
def _work_folder(engine: Engine, atoms: Atoms, level: LevelOfTheory) -> Iterator[Path]:
    """Yield a new folder for the files of one calculation; it stays where a place is given."""
    if not engine.place.work:
        with tempfile.TemporaryDirectory(prefix="sabatier-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    kept = Path(engine.place.work).resolve() / level.name
    kept.mkdir(parents=True, exist_ok=True)
    # never that of an earlier try: an old output would be read as the new one's
    yield Path(tempfile.mkdtemp(prefix=f"{atoms.get_chemical_formula()}-", dir=kept))
