"""Gas and clean-slab energies: computed once for each level, kept by whoever offers a cache."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule

from tasks.errors import UserError
from tasks.identity import slab_id
from tasks.levels import Energy, LevelOfTheory
from tasks.verify.engines import Engine, EngineError, FailureKind, require_elements
from tasks.verify.relax import relax, relax_settings


@dataclass(frozen=True)
class EnergyKey:
    """What a reference energy belongs to: a gas molecule by name or a clean slab by its id."""

    kind: Literal["gas", "slab"]
    item: str
    level_hash: str


class EnergyCache(Protocol):
    """Somewhere that reference energies (eV) are kept, such as the screening database."""

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
    name: str, level: LevelOfTheory, engine: Engine, cache: EnergyCache, start: Atoms | None = None
) -> Energy:
    """Return the energy of a relaxed gas molecule; ``start`` is its geometry if not a G2 one."""
    key = EnergyKey("gas", name, level.level_hash)
    kept = cache.get(key)
    if kept is None:
        atoms = _free_molecule(name, start)
        kept = _relaxed_energy(atoms, f"gas {name}", level, engine)
        cache.put(key, kept)
    return Energy(kept, level)


def slab_energy(slab: Atoms, level: LevelOfTheory, engine: Engine, cache: EnergyCache) -> Energy:
    """Return the energy of a clean slab relaxed with its own constraints and the level's settings.

    The key is the slab's content id, so all adsorbates on one slab share one calculation.
    """
    key = EnergyKey("slab", slab_id(slab), level.level_hash)
    kept = cache.get(key)
    if kept is None:
        kept = _relaxed_energy(slab, f"clean slab {slab.get_chemical_formula()}", level, engine)
        cache.put(key, kept)
    return Energy(kept, level)


def _relaxed_energy(atoms: Atoms, item: str, level: LevelOfTheory, engine: Engine) -> float:
    require_elements(engine, atoms.get_chemical_symbols())
    settings = relax_settings(level)
    relaxation = relax(atoms, engine.calculator(level), settings)
    if not relaxation.converged:
        raise EngineError(
            FailureKind.NOT_CONVERGED,
            f"{item} must reach forces of {settings.fmax_ev_ang} eV/Å within "
            f"{settings.max_steps} steps, got {relaxation.fmax_ev_ang:.3f} eV/Å",
        )
    return relaxation.energy_ev


def _free_molecule(name: str, start: Atoms | None) -> Atoms:
    """Return a molecule without cell, constraints and tags, at its G2 or its given geometry."""
    if start is not None:
        return Atoms(start.numbers, positions=start.positions - start.positions.mean(axis=0))
    try:
        atoms = g2_molecule(name)
    except KeyError:
        raise UserError(f"no gas geometry is known for {name}; give one") from None
    return Atoms(atoms.numbers, positions=np.asarray(atoms.positions))
