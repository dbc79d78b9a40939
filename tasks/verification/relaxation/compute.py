"""Compute one structure at a level: admitted first, then up the SCF ladder, each try recorded."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from tasks.levels import CalculationMode, LevelOfTheory
from tasks.verification.engines import (
    CalculationJob,
    Engine,
    EngineError,
    FailureKind,
    Rung,
    ScfTry,
)
from tasks.verification.engines.requirements import require_version
from tasks.verification.inputs.magnetic_order import lost_moments
from tasks.verification.inputs.sampling import start_moments
from tasks.verification.relaxation.admission import admit
from tasks.verification.relaxation.checkpoint import Track
from tasks.verification.relaxation.logbook import Logbook, keep
from tasks.verification.relaxation.relax import Relaxation, ResultReader, relax, single_point
from tasks.verification.relaxation.work_folder import WorkFolder, work_folder


def compute(
    atoms: Atoms,
    level: LevelOfTheory,
    engine: Engine,
    mode: CalculationMode | None = None,
    book: Logbook | None = None,
    part: str = "",
) -> Relaxation:
    """Return the energy of a structure, relaxed or as it is.

    Each rung of the ladder starts from ``atoms`` again, so the same input gives the same energy.

    Args:
        atoms: Positions in Å, with the constraints that hold in the relaxation.
        level: Level of theory.
        engine: The level's engine.
        mode: Relaxation or single point; the level's unless given.
        book: Of a queued item; a relaxation goes on where an earlier attempt was stopped, on the
            rung that it had reached.
        part: Names a relaxation beside the item's own, such as a second start.

    Returns:
        Energy (eV), forces (eV/Å), steps and the structure at the end.

    Raises:
        EngineError: there is no energy; the kind of failure and each rung are in the error.
    """
    admit(atoms, level, engine)
    book, mode = book or Logbook(), mode or level.require_calculation().mode
    book.start = book.start or atoms
    book.versions |= _potentials_used(engine, level, atoms)
    tries: list[ScfTry] = []
    with work_folder(engine.location.work, level.name, book) as folder:
        calculation = _Calculation(atoms, level, engine, mode, folder, part)
        for number, rung in enumerate(engine.ladder, start=1):
            done = calculation.tried(f"{part}rung{number}", rung)
            tries.append(_scf_try(rung, done))
            book.tried(part, tries[-1])
            if isinstance(done, Relaxation):
                if not part:
                    book.atoms = done.atoms
                return replace(done, tries=tuple(tries))
            if done.kind is not FailureKind.SCF_NOT_CONVERGED:
                raise EngineError(done.kind, str(done), tuple(tries)) from done
        folder.forget_stuck(part)
    raise EngineError(
        FailureKind.SCF_NOT_CONVERGED,
        f"the electrons of {atoms.get_chemical_formula()} did not converge in {len(tries)} tries "
        f"({', '.join(t.rung.value for t in tries)}); the last: {tries[-1].message}",
        tuple(tries),
    )


def _potentials_used(engine: Engine, level: LevelOfTheory, atoms: Atoms) -> dict[str, str]:
    """Return the checksums of the potentials of these atoms, for the record of the attempt."""
    found = engine.checksums(level, sorted(set(atoms.get_chemical_symbols())))
    return {f"potential of {key}": sha256 for key, sha256 in found.items()}


def _scf_try(rung: Rung, done: Relaxation | EngineError) -> ScfTry:
    return ScfTry(rung, done.kind, str(done)) if isinstance(done, EngineError) else ScfTry(rung)


@dataclass(frozen=True)
class _Calculation:
    """One structure to compute, in its work folder."""

    atoms: Atoms
    level: LevelOfTheory
    engine: Engine
    mode: CalculationMode
    folder: WorkFolder
    part: str

    def tried(self, name: str, rung: Rung) -> Relaxation | EngineError:
        """Return the outcome of one rung; one that an earlier attempt was stuck on is skipped."""
        before = self.folder.stuck(name)
        if before is not None:
            return EngineError(FailureKind.SCF_NOT_CONVERGED, f"in an earlier try: {before}")
        try:
            return self.on_rung(name, rung)
        except EngineError as failure:
            if failure.kind is FailureKind.SCF_NOT_CONVERGED:
                self.folder.mark_stuck(name, str(failure))
            return failure

    def on_rung(self, name: str, rung: Rung) -> Relaxation:
        """Return the result of one rung; its files and steps are kept, however it ends."""
        start, track = self._begun(name)
        prepared = self.engine.prepared(_magnetised(start, self.level))
        job = CalculationJob(prepared, self.level, self.folder.run / name, rung)
        try:
            done = _computed(job, self.engine, self.mode, track)
        finally:
            keep(self.folder.book, self.engine, job.folder, name, self.atoms, track.frames)
        if not done.converged:
            track.forget()  # the next attempt starts from the last geometry, not from these steps
        return replace(
            done,
            atoms=_moved(self.atoms, done.atoms),
            initial_fmax_ev_ang=max(done.initial_fmax_ev_ang, self._former_fmax()),
        )

    def _begun(self, name: str) -> tuple[Atoms, Track]:
        if self.mode == "single_point":
            return self.atoms, Track()
        return self.folder.begin(self.atoms, name, own=not self.part)

    def _former_fmax(self) -> float:
        last = self.folder.book.last
        return 0.0 if last is None or self.part else last.initial_fmax_ev_ang


def _computed(
    job: CalculationJob, engine: Engine, mode: CalculationMode, track: Track
) -> Relaxation:
    """Return the result of one rung; any exception of the program becomes an ``EngineError``."""
    job.folder.mkdir(parents=True, exist_ok=True)
    calculator = None
    try:
        calculator = made = engine.calculator(job)
        reading = ResultReader(job.calculation.energy_key, lambda: _answered(job, engine, made))
        if mode == "single_point":
            done = single_point(job.atoms, calculator, reading)
        else:
            done = relax(job.atoms, calculator, job.calculation.relaxation, reading, track)
        return replace(done, lost_moments=_lost(job.atoms, done.atoms, made))
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


def _lost(start: Atoms, end: Atoms, calculator: Calculator) -> int:
    """Return how many moments of an antiferromagnet are lost at its end.

    An attempt that was killed after its last step is answered from the record, which holds no
    moments: the end is computed once more.
    """
    results = getattr(calculator, "results", None)  # some of other packages keep none
    if results == {} and (start.get_initial_magnetic_moments() < 0).any():
        calculator.get_potential_energy(_moved(start, end))
        results = calculator.results
    return lost_moments(start, (results or {}).get("magmoms"))


def _answered(job: CalculationJob, engine: Engine, calculator: Calculator) -> bool:
    """Return whether the electrons converged; refuse a version that only the output shows."""
    if engine.version_after_run and job.calculation.engine_version != "any":
        version = engine.version_in_output(job.folder) or engine.version()
        require_version(engine, job.level, version, FailureKind.BAD_INPUT)
    return engine.electrons_converged(calculator, job.folder)


def _close(calculator: object) -> None:
    """End the process of a calculator that keeps one, such as CP2K's shell."""
    close = getattr(calculator, "close", None)
    if callable(close):
        try:
            close()
        except (AssertionError, OSError, ValueError):
            return  # it had died before: how is in the failure already


def _magnetised(atoms: Atoms, level: LevelOfTheory) -> Atoms:
    moments_N = start_moments(atoms, level.require_calculation().spin)
    start: Atoms = atoms.copy()
    start.set_initial_magnetic_moments(moments_N if moments_N.any() else None)
    return start


def _moved(atoms: Atoms, end: Atoms) -> Atoms:
    """Return ``atoms`` as they were, at the positions of the end."""
    moved: Atoms = atoms.copy()
    moved.positions = np.asarray(end.positions)
    return moved
