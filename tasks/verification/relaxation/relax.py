"""Relax a structure: fixed atoms stay, forces fall below fmax, steps and time are limited."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from tasks.levels import EnergyKeyName
from tasks.levels.calculation import RelaxSettings as RelaxSettings
from tasks.structures.identity import fixed_mask
from tasks.verification.engines import EngineError, FailureKind, ScfTry
from tasks.verification.relaxation.checkpoint import RelaxationFrame, Track

_OPTIMISERS: dict[str, type[Optimizer]] = {"BFGS": BFGS, "LBFGS": LBFGS, "FIRE": FIRE}
# BFGS needs half the steps of FIRE, and has no end where forces are not quite those of the energy,
# as of a network in single precision: FIRE takes over what it has not ended by then.
_FIRE_FROM_STEP = 40
_ABSURD_FORCE_EV_ANG = 1e4  # beyond this the atoms sit on each other and no step is meaningful
_ABSURD_ENERGY_EV = 1e5  # for each atom: no valence electrons are worth that much
_ABSURD_GAIN_EV = 10.0  # for each atom: tungsten, the strongest crystal, is bound by 8.9
_FREE_MOVE_ANG = 10.0  # of atoms without a cell


@dataclass(frozen=True)
class Relaxation:
    """The end of a relaxation; ``atoms`` carry no calculator.

    ``energy_ev`` is of the level's energy key, ``free_energy_ev`` the one that forces belong to
    (None where the calculator knows one energy alone). ``tries`` are those at the electrons.
    ``lost_moments`` counts atoms of an antiferromagnet whose moment turned over or vanished.
    """

    energy_ev: float
    fmax_ev_ang: float
    initial_fmax_ev_ang: float
    steps: int
    converged: bool
    atoms: Atoms
    free_energy_ev: float | None = None
    tries: tuple[ScfTry, ...] = ()
    lost_moments: int = 0


@dataclass(frozen=True)
class ResultReader:
    """How results are read: under which key the energy, and whether its electrons converged."""

    energy_key: EnergyKeyName = "energy"
    electrons_converged: Callable[[], bool] = lambda: True


def relax(
    atoms: Atoms,
    calculator: Calculator,
    settings: RelaxSettings,
    reading: ResultReader | None = None,
    track: Track | None = None,
) -> Relaxation:
    """Return the relaxed structure; the input is left as it is.

    Args:
        atoms: The start; if all its atoms are fixed, a single point is computed.
        calculator: Its exceptions pass through.
        settings: Optimiser, force limit (eV/Å), step limit and wall limit (s).
        reading: Which energy counts, and whether its electrons converged.
        track: Has the recorded steps of an earlier attempt and takes the new ones.

    Returns:
        Energy, forces, steps and structure; ``converged`` is False at the step limit.

    Raises:
        EngineError: energies or forces are not finite, the structure flies apart or falls into a
            hole of its potential, the electrons did not converge, or the wall limit was reached;
            the steps so far are in ``track``.
    """
    reading, track = reading or ResultReader(), track or Track()
    if bool(fixed_mask(atoms).all()):
        return single_point(atoms, calculator, reading)
    work, started = atoms.copy(), time.monotonic()
    work.calc = track.answering(calculator)
    reading = _of_new_steps(reading, track)
    for step in _steps(work, settings):
        frame = _frame(work, reading, step)
        _require_whole(frame, (*track.frames, frame)[0], work)
        if track.add(frame) and frame.fmax_ev_ang > settings.fmax_ev_ang:
            _require_time(settings, started, frame.step)
    work.calc, last = None, track.frames[-1]
    return Relaxation(
        last.energy_ev,
        last.fmax_ev_ang,
        track.frames[0].fmax_ev_ang,
        last.step,
        last.fmax_ev_ang <= settings.fmax_ev_ang,
        work,
        last.free_energy_ev,
    )


def _steps(work: Atoms, settings: RelaxSettings) -> Iterator[int]:
    """Move ``work`` step by step, and yield the number of each geometry, 0 for the start."""
    done = 0
    for name in settings.optimiser.split("+"):
        optimiser = _OPTIMISERS[name](work, logfile=None)
        is_last = settings.optimiser.endswith(name)
        limit = settings.max_steps - done if is_last else min(_FIRE_FROM_STEP, settings.max_steps)
        for _ in optimiser.irun(fmax=settings.fmax_ev_ang, steps=limit):
            if optimiser.nsteps or not done:  # else it is where the one before ended
                yield done + int(optimiser.nsteps)
        done += int(optimiser.nsteps)
        if np.linalg.norm(work.get_forces(), axis=1).max() <= settings.fmax_ev_ang:
            return


def _of_new_steps(reading: ResultReader, track: Track) -> ResultReader:
    """Return a reading that asks about electrons only where the engine has just answered."""
    converged = reading.electrons_converged
    return replace(reading, electrons_converged=lambda: track.replaying or converged())


def _frame(work: Atoms, reading: ResultReader, step: int) -> RelaxationFrame:
    fmax = _checked_fmax(work, reading)
    energy_ev, free_energy_ev = _energies(work, reading)
    return RelaxationFrame(
        step=step,
        energy_ev=energy_ev,
        free_energy_ev=free_energy_ev,
        fmax_ev_ang=fmax,
        at=time.time(),
        positions_N3=work.positions.copy(),
        forces_N3=np.array(work.get_forces(apply_constraint=False)),
    )


def single_point(
    atoms: Atoms, calculator: Calculator, reading: ResultReader | None = None
) -> Relaxation:
    """Return the energy of a structure as it is; forces are computed where an atom is free."""
    reading, work = reading or ResultReader(), atoms.copy()
    work.calc = calculator
    # pw.x has no forces to give where every atom is fixed
    fmax = 0.0 if bool(fixed_mask(work).all()) else _checked_fmax(work, reading)
    energy_ev, free_energy_ev = _energies(work, reading)
    work.calc = None
    return Relaxation(energy_ev, fmax, fmax, 0, True, work, free_energy_ev)


def _energies(atoms: Atoms, reading: ResultReader) -> tuple[float, float | None]:
    """Return the energy (eV) of the level's key, and the free energy."""
    energy_ev = float(atoms.get_potential_energy())
    _require_electrons(reading)
    free_ev = atoms.calc.results.get("free_energy")
    if reading.energy_key == "free_energy":
        if free_ev is None:
            raise EngineError(
                FailureKind.BAD_INPUT,
                "the level takes the free energy, which this calculator does not give; write "
                "energy_key: energy",
            )
        energy_ev = float(free_ev)
    _require_sane_energy(energy_ev, len(atoms))
    return energy_ev, None if free_ev is None else float(free_ev)


def _checked_fmax(atoms: Atoms, reading: ResultReader) -> float:
    """Return the largest force (eV/Å) on a free atom, refusing what is not a number."""
    forces_N3 = atoms.get_forces()
    _require_electrons(reading)
    energy_ev = float(atoms.get_potential_energy())
    fmax = float(np.linalg.norm(forces_N3, axis=1).max())
    if not (np.isfinite(fmax) and np.isfinite(energy_ev)) or fmax > _ABSURD_FORCE_EV_ANG:
        raise EngineError(
            FailureKind.NUMERICAL,
            f"energy and forces must be finite and below {_ABSURD_FORCE_EV_ANG:.0e} eV/Å, got "
            f"{energy_ev:.4g} eV and {fmax:.4g} eV/Å; look for overlapping atoms",
        )
    return fmax


def _require_sane_energy(energy_ev: float, count: int) -> None:
    if not abs(energy_ev) <= _ABSURD_ENERGY_EV * count:
        raise EngineError(
            FailureKind.NUMERICAL,
            f"an energy must be finite and within {_ABSURD_ENERGY_EV:.0e} eV an atom, got "
            f"{energy_ev:.4g} eV for {count} atoms; look into the engine's output",
        )


def _require_whole(frame: RelaxationFrame, first: RelaxationFrame, atoms: Atoms) -> None:
    """Refuse a structure that flies apart, or gains more than any bonds are worth.

    An atom that moved by more than half the cell's longest vector is nearer to an image of its
    start than to its start: what leaves a surface arrives at the back of the next one.
    """
    moved_N = np.linalg.norm(frame.positions_N3 - first.positions_N3, axis=1)
    limit_ang = float(atoms.cell.lengths().max()) / 2 or _FREE_MOVE_ANG
    if not moved_N.max() <= limit_ang:
        furthest = int(moved_N.argmax())
        raise EngineError(
            FailureKind.NUMERICAL,
            f"an atom may move {limit_ang:.1f} Å in a relaxation, {atoms.symbols[furthest]} "
            f"{furthest} moved {moved_N[furthest]:.1f} Å by step {frame.step}: the structure flies "
            "apart; look for overlapping atoms at its start, or use another level",
        )
    gained_ev = first.energy_ev - frame.energy_ev
    if gained_ev > _ABSURD_GAIN_EV * len(atoms):
        raise EngineError(
            FailureKind.NUMERICAL,
            f"a relaxation gains at most {_ABSURD_GAIN_EV:g} eV an atom, {gained_ev:.4g} eV were "
            f"gained for {len(atoms)} atoms by step {frame.step}; look for overlapping atoms at "
            "its start, or use another level",
        )


def _require_electrons(reading: ResultReader) -> None:
    if not reading.electrons_converged():
        raise EngineError(
            FailureKind.SCF_NOT_CONVERGED,
            "the engine gave an energy and says that its electrons did not converge",
        )


def _require_time(settings: RelaxSettings, started: float, steps: int) -> None:
    limit_s = settings.wall_limit_s
    if limit_s is not None and time.monotonic() - started > limit_s:
        raise EngineError(
            FailureKind.WALL_LIMIT,
            f"a relaxation may take {limit_s:g} s, which were over after {steps} steps; raise "
            "relaxation.wall_limit_s or go on from there",
        )
