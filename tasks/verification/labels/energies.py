"""Gas and clean-slab energies, computed once for each level and kept in a cache."""

from dataclasses import dataclass
from typing import Literal, Protocol

from ase import Atoms

from tasks.errors import UserError
from tasks.levels import CalculationMode, Energy, LevelOfTheory
from tasks.structures.identity import slab_id
from tasks.verification.engines import Engine, EngineError, FailureKind
from tasks.verification.inputs.free_molecule import free_molecule
from tasks.verification.inputs.sampling import boxed
from tasks.verification.labels.checks import largest_slab_move, limits_of
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook
from tasks.verification.relaxation.relax import Relaxation


@dataclass(frozen=True)
class EnergyKey:
    """Key of a reference energy: a gas molecule by name or a clean slab by its id, at a level."""

    kind: Literal["gas", "slab"]
    item: str
    level_hash: str


class EnergyCache(Protocol):
    """A store of reference energies (eV), such as the screening database."""

    def get(self, key: EnergyKey) -> float | None:
        """Return the energy kept under a key, or None."""
        ...

    def put(self, key: EnergyKey, energy_ev: float) -> None:
        """Keep one energy; the same key always brings the same value."""
        ...


class MemoryCache:
    """Reference energies for one process."""

    def __init__(self) -> None:
        self._kept: dict[EnergyKey, float] = {}

    def get(self, key: EnergyKey) -> float | None:
        """Return the energy kept under a key, or None."""
        return self._kept.get(key)

    def put(self, key: EnergyKey, energy_ev: float) -> None:
        """Keep one energy."""
        self._kept[key] = energy_ev


def gas_energy(
    name: str,
    level: LevelOfTheory,
    engine: Engine,
    cache: EnergyCache,
    start: Atoms | None = None,
    book: Logbook | None = None,
) -> Energy:
    """Return the energy of a relaxed gas molecule; ``start`` is its geometry if not a G2 one."""
    key = EnergyKey("gas", name, level.level_hash)
    kept = cache.get(key)
    if kept is None:
        atoms = boxed(free_molecule(name, start), level.require_calculation().gas_vacuum_ang)
        # its geometry is a guess under every level, so it is always relaxed
        kept = _converged(atoms, f"gas {name}", level, engine, "relaxation", book).energy_ev
        cache.put(key, kept)
    return Energy(kept, level)


def slab_energy(
    slab: Atoms,
    level: LevelOfTheory,
    engine: Engine,
    cache: EnergyCache,
    book: Logbook | None = None,
    *,
    relaxed: Atoms | None = None,
) -> Energy:
    """Return the energy of a clean slab, relaxed at the level or as another level ``relaxed`` it.

    The slab's own constraints hold. The key is the content id of the slab as it was cut, so all
    adsorbates on one slab share one calculation.

    Args:
        slab: The slab as it was cut, positions in Å.
        level: The level it is computed at.
        engine: The engine of that level.
        cache: The reference energies that are known; a new one is put into it.
        book: The logbook of the attempt.
        relaxed: The slab as the level of its geometry relaxed it, for levels of single points.

    Returns:
        The energy of the whole slab, eV.

    Raises:
        UserError: the level is of single points and no level relaxed the slab.
        EngineError: there is no energy, or the slab reconstructed: it is no reference of adslabs
            that did not.
    """
    stated = level.require_calculation()
    if stated.geometry and relaxed is None:
        raise UserError(
            f"level {level.name} takes clean slabs as {stated.geometry} relaxed them, and there is "
            f"none for {slab.get_chemical_formula()}; verify at {stated.geometry} first"
        )
    key = EnergyKey("slab", slab_id(slab), level.level_hash)
    kept = cache.get(key)
    if kept is None:
        start = relaxed if relaxed is not None and stated.mode == "single_point" else slab
        item = f"clean slab {slab.get_chemical_formula()}"
        done = _converged(start, item, level, engine, stated.mode, book)
        _require_unreconstructed(item, largest_slab_move(slab, done.atoms), level)
        kept = done.energy_ev
        cache.put(key, kept)
    return Energy(kept, level)


def _converged(
    atoms: Atoms,
    item: str,
    level: LevelOfTheory,
    engine: Engine,
    mode: CalculationMode,
    book: Logbook | None,
) -> Relaxation:
    settings = level.require_calculation().relaxation
    done = compute(atoms, level, engine, mode, book)
    if not done.converged:
        raise EngineError(
            FailureKind.IONS_NOT_CONVERGED,
            f"{item} must reach forces of {settings.fmax_ev_ang} eV/Å within "
            f"{settings.max_steps} steps, got {done.fmax_ev_ang:.3f} eV/Å",
            done.tries,
        )
    if done.lost_moments:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"{item} must keep the magnetic order that level {level.name} states, "
            f"{done.lost_moments} of its moments turned over or vanished; state another spin.order "
            "or larger spin.moments in a level of your own",
            done.tries,
        )
    return done


def _require_unreconstructed(item: str, moved_ang: float, level: LevelOfTheory) -> None:
    limit_ang = limits_of(level).slab_move_ang
    if moved_ang > limit_ang:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"{item} must keep its structure, got an atom that moved {moved_ang:.2f} Å (limit "
            f"{limit_ang:g} Å): it reconstructs, so its adslabs have no clean slab to refer to; "
            "fix more layers, or raise checks.slab_move_ang in a level of your own",
        )
