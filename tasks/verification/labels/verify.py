"""Verify one adslab: its relaxed adsorption energy at a level of theory, with its flags."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from tasks.enumeration import Adsorbate
from tasks.errors import UserError
from tasks.levels import Energy, LevelOfTheory, adsorption_energy
from tasks.structures.formulas import formula_counts
from tasks.structures.identity import fixed_mask
from tasks.verification.engines import Engine, FailureKind, ScfTry, engine_for
from tasks.verification.labels.checks import Flag, check, left_site, limits_of
from tasks.verification.labels.energies import EnergyCache, gas_energy, slab_energy
from tasks.verification.labels.two_starts import is_sampled, second_start
from tasks.verification.relaxation.admission import admit
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook
from tasks.verification.relaxation.relax import Relaxation

_SAME_POSITION_ANG = 1e-6


@dataclass(frozen=True)
class VerifiedEnergy:
    """A computed adsorption energy and everything that decides whether it counts.

    All parts are of the level's energy key; ``free_energy_ev`` is the adslab's free energy beside
    ``e_adslab_ev``, where the engine gives both. ``reference_ev`` is the gas reference that was
    subtracted and ``references`` the gas energies (eV) behind it. A site that changed, other slab
    atoms touched than before, is recorded and no fault. ``two_start_ev`` is how far a second
    relaxation ended from the first, None where there was no second.
    """

    level: str
    level_hash: str
    energy_ev: float
    e_adslab_ev: float
    e_slab_ev: float
    reference_ev: float
    references: tuple[tuple[str, float], ...]
    flags: tuple[Flag, ...]
    converged: bool
    steps: int
    fmax_ev_ang: float
    initial_fmax_ev_ang: float
    site_changed: bool
    atoms: Atoms
    free_energy_ev: float | None = None
    tries: tuple[ScfTry, ...] = ()
    two_start_ev: float | None = None

    @property
    def trainable(self) -> bool:
        """Return True where forces converged and no check raised a flag."""
        return self.converged and not self.flags


@dataclass(frozen=True)
class RelaxedGeometries:
    """An adslab and its clean slab as another engine, or a model, relaxed them."""

    adslab: Atoms
    slab: Atoms


def verify_adslab(
    adslab: Atoms,
    slab: Atoms,
    adsorbate: Adsorbate,
    level: LevelOfTheory,
    cache: EnergyCache,
    engine: Engine | None = None,
    *,
    relaxed: RelaxedGeometries | None = None,
    book: Logbook | None = None,
) -> VerifiedEnergy:
    """Return the adsorption energy of an adslab; the same input gives the same energy.

    Args:
        adslab: Slab atoms first (tags 0 and 1), then the adsorbate (tag 2).
        slab: The clean slab, with the same cell and fixed atoms.
        adsorbate: Gives the formula and the geometry of gas references.
        level: Level of theory of all parts.
        cache: Where reference energies (eV) are read and kept.
        engine: The level's engine, where it was made before.
        relaxed: Where the calculation starts instead, or what a level of single points computes;
            the checks still compare with ``adslab``.
        book: Of a queued item; the calculation goes on where an earlier attempt was stopped, and a
            sample of the items is relaxed from a second start.

    Returns:
        Energies (eV) of the adsorption and its parts, flags, and the relaxed adslab.

    Raises:
        EngineError: there is no energy.
        UserError: structures do not belong together, or single points have no relaxed geometry.
    """
    _require_adslab_of(adslab, slab)
    _require_adsorbate(adslab, adsorbate)
    if relaxed is not None:
        _require_adslab_of(relaxed.adslab, slab, moved=True)
        _require_adsorbate(relaxed.adslab, adsorbate)
    engine = engine or engine_for(level)
    admit(adslab, level, engine)  # before anything is spent on its references
    gas = _gas_energies(adsorbate, level, engine, cache)
    reference_ev = level.reference.reference_ev(
        adsorbate.name, adsorbate.formula, {name: e.energy_ev for name, e in gas.items()}
    )
    e_slab = slab_energy(slab, level, engine, cache, relaxed=relaxed.slab if relaxed else None)
    start, book = adslab if relaxed is None else relaxed.adslab, book or Logbook()
    relaxation = compute(start, level, engine, book=book)
    e_adslab = Energy(relaxation.energy_ev, level)
    energy = adsorption_energy(e_adslab, e_slab, Energy(reference_ev, level))
    verified = _verified(adslab, relaxation, energy, e_slab, gas, reference_ev)
    if not relaxation.converged or not is_sampled(book.item, level):
        return verified
    apart_ev, flag = second_start(start, relaxation.energy_ev, level, engine, book)
    flags = verified.flags if flag is None else (*verified.flags, flag)
    return replace(verified, flags=flags, two_start_ev=apart_ev)


def _verified(
    adslab: Atoms,
    relaxation: Relaxation,
    energy: Energy,
    e_slab: Energy,
    gas: dict[str, Energy],
    reference_ev: float,
) -> VerifiedEnergy:
    flags = check(
        adslab,
        relaxation.atoms,
        energy_ev=energy.energy_ev,
        initial_fmax_ev_ang=relaxation.initial_fmax_ev_ang,
        limits=limits_of(energy.level),
    )
    if not relaxation.converged:
        limit_ev_ang = energy.level.require_calculation().relaxation.fmax_ev_ang
        unconverged = FailureKind.IONS_NOT_CONVERGED.value
        flags = (*flags, Flag(unconverged, relaxation.fmax_ev_ang, limit_ev_ang))
    if relaxation.lost_moments:
        flags = (*flags, Flag("magnetic_order", float(relaxation.lost_moments), 0.0))
    return VerifiedEnergy(
        level=energy.level.name,
        level_hash=energy.level.level_hash,
        energy_ev=energy.energy_ev,
        e_adslab_ev=relaxation.energy_ev,
        e_slab_ev=e_slab.energy_ev,
        reference_ev=reference_ev,
        references=tuple(sorted((name, item.energy_ev) for name, item in gas.items())),
        flags=flags,
        converged=relaxation.converged,
        steps=relaxation.steps,
        fmax_ev_ang=relaxation.fmax_ev_ang,
        initial_fmax_ev_ang=relaxation.initial_fmax_ev_ang,
        site_changed=left_site(adslab, relaxation.atoms),
        atoms=relaxation.atoms,
        free_energy_ev=relaxation.free_energy_ev,
        tries=relaxation.tries,
    )


def _gas_energies(
    adsorbate: Adsorbate, level: LevelOfTheory, engine: Engine, cache: EnergyCache
) -> dict[str, Energy]:
    """Return the gas energies that the reference of one adsorbate is made of."""
    own = adsorbate.atoms if level.reference.kind == "molecule" else None
    names = level.reference.weights(adsorbate.name, adsorbate.formula)
    return {name: gas_energy(name, level, engine, cache, own) for name in names}


def _require_adslab_of(adslab: Atoms, slab: Atoms, *, moved: bool = False) -> None:
    """Refuse an adslab that is not its slab with an adsorbate after it.

    Where it has ``moved`` since, its fixed atoms have not.
    """
    tags = adslab.get_tags()
    if not (tags == 2).any() or not (tags != 2).any():
        raise UserError("an adslab has slab atoms (tags 0, 1) and adsorbate atoms (tag 2)")
    count = len(slab)
    held = fixed_mask(slab) if moved else np.ones(count, dtype=bool)
    matches = (
        int((tags != 2).sum()) == count
        and bool((tags[count:] == 2).all())
        and np.array_equal(adslab.numbers[:count], slab.numbers)
        and np.array_equal(fixed_mask(adslab)[:count], fixed_mask(slab))
        and np.allclose(adslab.cell.array, slab.cell.array, rtol=0, atol=_SAME_POSITION_ANG)
        and _same_positions(adslab[:count][held], slab[held])
    )
    if not matches:
        raise UserError(
            "an adslab starts with the atoms of its clean slab, in the same cell and with the same "
            "atoms fixed; got "
            f"{adslab.get_chemical_formula()} on {slab.get_chemical_formula()}, which differ"
        )


def _same_positions(first: Atoms, second: Atoms) -> bool:
    return np.allclose(first.positions, second.positions, rtol=0, atol=_SAME_POSITION_ANG)


def _require_adsorbate(adslab: Atoms, adsorbate: Adsorbate) -> None:
    """Refuse an adslab whose adsorbate is not the one that the gas reference is taken for."""
    placed = adslab[adslab.get_tags() == 2].get_chemical_formula()
    if formula_counts(placed) != formula_counts(adsorbate.formula):
        raise UserError(
            f"an adslab holds the adsorbate that its reference is of, {adsorbate.name} "
            f"({adsorbate.formula}); got {placed}"
        )
