"""Relax a structure: fixed atoms stay, forces fall below fmax, steps are limited."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.verify.engines import EngineError, FailureKind

_OPTIMISERS: dict[str, type[Optimizer]] = {"BFGS": BFGS, "LBFGS": LBFGS, "FIRE": FIRE}
_ABSURD_FORCE_EV_ANG = 1e4  # beyond this the atoms sit on each other and no step is meaningful


@dataclass(frozen=True)
class RelaxSettings:
    """How far and how long to relax."""

    optimiser: str
    fmax_ev_ang: float
    max_steps: int

    def __post_init__(self) -> None:
        if self.optimiser not in _OPTIMISERS:
            raise UserError(
                f"optimiser must be one of {', '.join(_OPTIMISERS)}, got {self.optimiser}"
            )
        if self.fmax_ev_ang <= 0 or self.max_steps < 1:
            raise UserError(
                "a relaxation needs fmax above 0 eV/Å and at least 1 step, got "
                f"{self.fmax_ev_ang} and {self.max_steps}"
            )


def relax_settings(level: LevelOfTheory) -> RelaxSettings:
    """Return the relaxation settings that a level of theory states."""
    return RelaxSettings(
        optimiser=str(level.setting("optimiser")),
        fmax_ev_ang=float(level.setting("fmax_ev_ang")),
        max_steps=int(level.setting("max_steps")),
    )


@dataclass(frozen=True)
class Relaxation:
    """The end of a relaxation; ``atoms`` carry no calculator."""

    energy_ev: float
    fmax_ev_ang: float
    initial_fmax_ev_ang: float
    steps: int
    converged: bool
    atoms: Atoms


def relax(atoms: Atoms, calculator: Calculator, settings: RelaxSettings) -> Relaxation:
    """Return the relaxed structure; the input is left as it is.

    Not converging within the step limit is a result (``converged`` is False); energies or forces
    that are not finite are an ``EngineError``.
    """
    work = atoms.copy()
    work.calc = calculator
    optimiser = _OPTIMISERS[settings.optimiser](work, logfile=None)
    initial_fmax: float | None = None
    try:
        for _ in optimiser.irun(fmax=settings.fmax_ev_ang, steps=settings.max_steps):
            fmax = _checked_fmax(work)
            initial_fmax = fmax if initial_fmax is None else initial_fmax
    except (CalculatorError, NotImplementedError, np.linalg.LinAlgError) as error:
        raise EngineError(FailureKind.ENGINE, f"the calculation stopped: {error}") from error
    fmax = _checked_fmax(work)
    energy_ev = float(work.get_potential_energy())
    steps = int(optimiser.nsteps)
    work.calc = None
    converged = fmax <= settings.fmax_ev_ang
    return Relaxation(energy_ev, fmax, initial_fmax or fmax, steps, converged, work)


def _checked_fmax(atoms: Atoms) -> float:
    """Return the largest force (eV/Å) on a free atom, refusing what is not a number."""
    forces_N3 = atoms.get_forces()
    energy_ev = atoms.get_potential_energy()
    fmax = float(np.linalg.norm(forces_N3, axis=1).max())
    if not (np.isfinite(fmax) and np.isfinite(energy_ev)) or fmax > _ABSURD_FORCE_EV_ANG:
        raise EngineError(
            FailureKind.NUMERICAL,
            f"energy and forces must be finite and below {_ABSURD_FORCE_EV_ANG:.0e} eV/Å, got "
            f"{energy_ev:.4g} eV and {fmax:.4g} eV/Å; look for overlapping atoms",
        )
    return fmax
