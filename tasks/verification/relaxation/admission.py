"""Checks before a calculation: structures and potentials whose energy could not be right."""

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from model.contract import ADSORBATE_TAG
from tasks.errors import UserError
from tasks.levels import ONE_FILE, LevelOfTheory
from tasks.structures.formulas import formula_counts
from tasks.verification.engines import Engine, EngineError, FailureKind, hubbard_fault
from tasks.verification.inputs.sampling import is_crystal, is_gas, vacuum_ang

_ANIONS = {"N", "O", "F", "P", "S", "Cl", "Se", "Br", "Te", "I"}
_SHOWN_DIGITS = 16  # of a checksum: as many as a level has to state


def admit(atoms: Atoms, level: LevelOfTheory, engine: Engine) -> None:
    """Refuse atoms that the engine cannot compute, or that no engine should.

    Raises:
        EngineError: a missing potential, none or those of another family on this machine, elements
            that meet with a U in the data of a model and without one apart, a charge, free spins
            under a level without them, a magnetic compound without an order, overlapping atoms, a
            slab without vacuum.
    """
    symbols = sorted(set(atoms.get_chemical_symbols()))
    require_elements(engine, level, symbols)
    engine.check_potentials(level, symbols)
    if fault := hubbard_fault(level, symbols):
        raise EngineError(FailureKind.BAD_INPUT, fault)
    require_checksums(engine, level, symbols)
    require_neutral(atoms)
    require_spins(atoms, level)
    require_magnetic_order(atoms, level)
    limits = level.require_calculation().checks
    require_apart(atoms, limits.overlap_ratio)
    if not is_gas(atoms) and not is_crystal(atoms):
        require_vacuum(atoms, limits.min_vacuum_ang)


def unverifiable(name: str, formula: str, level: LevelOfTheory, elements: frozenset[str]) -> str:
    """Return why an adsorbate can have no energy at a level, or nothing.

    Its reference must be covered, and it and its reference molecules be of the ``elements`` that
    the level's engine has potentials for.
    """
    cannot = f"adsorbate that level {level.name} cannot verify: "
    try:
        weights = level.reference.weights(name, formula)
    except UserError as fault:
        return f"{cannot}{fault}, or drop the adsorbate"
    gas = () if level.reference.kind == "molecule" else tuple(weights)
    missing = {symbol for part in (formula, *gas) for symbol in formula_counts(part)} - elements
    if not missing:
        return ""
    beside = f", measured against {', '.join(gas)}," if gas else ""
    return (
        f"{cannot}{name}{beside} needs a potential of {', '.join(sorted(missing))}, which engine "
        f"{level.engine} does not have here; install it, choose another verification level or drop "
        "the adsorbate"
    )


def slab_fault(symbols: Iterable[str], level: LevelOfTheory) -> str:
    """Return why a clean slab of these elements can have no energy at a level, or nothing."""
    fault = hubbard_fault(level, symbols)
    return f"slab that level {level.name} cannot verify: {fault}" if fault else ""


def pair_fault(slab: Iterable[str], adsorbate: Iterable[str], level: LevelOfTheory) -> str:
    """Return why an adsorbate can have no energy on a slab that has one, or nothing.

    Args:
        slab: The elements of the slab.
        adsorbate: The elements of the adsorbate.
        level: The level of theory that would verify the pair.

    Returns:
        One line, ``rule: values``, with the way out.
    """
    fault = hubbard_fault(level, {*slab, *adsorbate})
    return f"pair that level {level.name} cannot verify: {fault}" if fault else ""


def unsupported_elements(engine: Engine, level: LevelOfTheory, symbols: Iterable[str]) -> list[str]:
    """Return, sorted, the elements that an engine has no potential for."""
    return sorted(set(symbols) - engine.elements(level))


def require_elements(engine: Engine, level: LevelOfTheory, symbols: Iterable[str]) -> None:
    """Refuse, by name, elements that an engine has no potential for."""
    missing = unsupported_elements(engine, level, symbols)
    if missing:
        there = sorted(engine.elements(level))
        raise EngineError(
            FailureKind.MISSING_POTENTIAL if there else FailureKind.NOT_INSTALLED,
            f"engine {engine.name} has no potential for {', '.join(missing)}; it has "
            f"{', '.join(there) or 'none at all'}",
        )


def require_checksums(engine: Engine, level: LevelOfTheory, symbols: Iterable[str]) -> None:
    """Refuse potentials that are not the files which the level states, where it states any."""
    potentials = level.require_calculation().potentials
    if potentials is None or not potentials.checksums:
        return
    found = engine.checksums(level, sorted(set(symbols)))
    for key in sorted(set(found) & ONE_FILE or set(symbols)):
        listed = potentials.checksums.get(key, "")  # else the level is at fault, not this machine
        fault = _fault(key, listed, found.get(key, ""))
        if fault:
            raise EngineError(
                FailureKind.NOT_INSTALLED if listed else FailureKind.MISSING_POTENTIAL,
                f"level {level.name} is computed with {potentials.family}, {fault}",
            )


def _fault(key: str, stated: str, found: str) -> str:
    """Return the fault of one potential's checksum with the way out, or an empty text."""
    if not stated:
        hint = f": its file has {found[:_SHOWN_DIGITS]}" if found else ""
        return (
            f"whose checksums leave out {key}, so that any file would pass; add it to "
            f"potentials.checksums in a level of your own{hint}"
        )
    if not found:
        return (
            f"whose potential of {key} has checksum {stated}, and this engine shows no file to "
            "compare; leave potentials.checksums out in a level of your own"
        )
    if not found.startswith(stated):
        return (
            f"whose potential of {key} has checksum {stated}; found {found[: len(stated)]}; "
            "install that family, or make a level of your own with the checksums found"
        )
    return ""


def require_neutral(atoms: Atoms) -> None:
    """Refuse charges: a charged cell repeats and its energy has no zero."""
    charge = float(atoms.get_initial_charges().sum()) + float(atoms.info.get("charge", 0.0))
    if abs(charge) > 1e-6:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"a periodic cell must be neutral, got charge {charge:+g} e; remove the charge",
        )


def require_spins(atoms: Atoms, level: LevelOfTheory) -> None:
    """Refuse a molecule with unpaired electrons at a level that pairs them all.

    An engine without electrons, of whose convergence its level states nothing, has none to pair.
    """
    stated = level.require_calculation()
    if stated.spin.policy != "none" or stated.scf is None or not is_gas(atoms):
        return
    free = round(float(np.abs(atoms.get_initial_magnetic_moments()).sum()))
    free = free or int(atoms.numbers.sum()) % 2
    if free:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"a molecule with unpaired electrons is computed with free spins, "
            f"{atoms.get_chemical_formula()} has {free} and level {level.name} states spin: "
            "{policy: none}; make a level of your own with spin: {policy: magnetic-elements, "
            "moments: {Fe: 3.0, ...}}, or with gas references whose electrons are paired",
        )


def require_magnetic_order(atoms: Atoms, level: LevelOfTheory) -> None:
    """Refuse a magnetic compound of a non-metal whose order the level does not state.

    Each element starts with one moment, which makes NiO, an antiferromagnet, a ferromagnet; that
    error need not cancel between adslab and clean slab.
    """
    spin = level.require_calculation().spin
    if spin.policy == "none" or spin.order == "ferromagnetic" or is_gas(atoms):
        return
    if spin.order == "antiferromagnetic":
        _require_signs(atoms, level)
        return
    slab = set(atoms[atoms.get_tags() != ADSORBATE_TAG].get_chemical_symbols())
    magnetic = sorted(symbol for symbol in slab if spin.moments.get(symbol))
    partners = sorted(slab & _ANIONS)
    if magnetic and partners:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"level {level.name} starts all {', '.join(magnetic)} with one moment, a ferromagnet, "
            f"and compounds with {', '.join(partners)} often are none; make a level of your own "
            "with spin: {policy: magnetic-elements, order: ferromagnetic, ...} where that is "
            "meant, or with order: antiferromagnetic, planes: [1, 1, 1]",
        )


def _require_signs(atoms: Atoms, level: LevelOfTheory) -> None:
    """Refuse an antiferromagnet of which nobody has said which moments are turned over."""
    moments = level.require_calculation().spin.moments
    starts_N = atoms.get_initial_magnetic_moments()
    slab_N = atoms.get_tags() != ADSORBATE_TAG
    magnetic_N = slab_N & np.array([bool(moments.get(symbol)) for symbol in atoms.symbols])
    if magnetic_N.any() and not starts_N[magnetic_N].all():
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"level {level.name} alternates planes of moments, which is told of slabs that a "
            f"campaign cut from a bulk, and {atoms.get_chemical_formula()} is none; compute it at "
            "a level of another spin.order",
        )


def require_apart(atoms: Atoms, ratio: float) -> None:
    """Refuse atoms nearer than ``ratio`` times the sum of their covalent radii."""
    if len(atoms) < 2:
        return
    _, distances_NN = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    radii_N = covalent_radii[atoms.numbers]
    near_NN = np.triu(distances_NN < ratio * (radii_N[:, None] + radii_N[None, :]), 1)
    if near_NN.any():
        i, j = (int(index) for index in np.argwhere(near_NN)[0])
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"two atoms must be {ratio:g} (r_i + r_j) apart or more, {atoms.symbols[i]} {i} and "
            f"{atoms.symbols[j]} {j} are {distances_NN[i, j]:.2f} Å; move one of these overlapping "
            "atoms",
        )


def require_vacuum(atoms: Atoms, least_ang: float) -> None:
    """Refuse a slab that would feel its own image."""
    found = vacuum_ang(atoms)
    if found < least_ang:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"a slab needs {least_ang:g} Å of vacuum along c, got {found:.1f} Å; enlarge the "
            "campaign's surfaces.vacuum",
        )
