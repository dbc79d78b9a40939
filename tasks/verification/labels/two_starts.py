"""Whether an energy depends on the start of its relaxation: a sample is relaxed from two starts."""

import numpy as np
from ase import Atoms

from tasks.levels import CheckLimits, LevelOfTheory
from tasks.structures.identity import seed_from
from tasks.verification.engines import Engine, EngineError, FailureKind
from tasks.verification.labels.checks import Flag, limits_of
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook

NAME = "not_reproducible"
_PART = "second-start-"
_SEEDS = 1 << 63
# The start causes these, not the machine: the second start does not confirm the first, and a retry
# would fail again.
_OF_THE_START = frozenset(
    {
        FailureKind.BAD_INPUT,
        FailureKind.SCF_NOT_CONVERGED,
        FailureKind.IONS_NOT_CONVERGED,
        FailureKind.NUMERICAL,
    }
)


def is_sampled(item: str, level: LevelOfTheory) -> bool:
    """Return whether an adslab is among those of its level that are relaxed twice.

    The share is taken by the hash of the id, so it is the same in every run.
    """
    if level.require_calculation().mode != "relaxation" or not item:
        return False
    return seed_from("two starts", item) < limits_of(level).two_start_share * _SEEDS


def displaced(adslab: Atoms, item: str, limits: CheckLimits) -> Atoms:
    """Return ``adslab``, each adsorbate atom moved a fixed distance in a random direction."""
    count = int((adslab.get_tags() == 2).sum())
    ways_A3 = np.random.default_rng(seed_from("second start", item)).normal(size=(count, 3))
    ways_A3 *= limits.two_start_ang / np.linalg.norm(ways_A3, axis=1, keepdims=True)
    moved: Atoms = adslab.copy()
    moved.positions[adslab.get_tags() == 2] += ways_A3
    return moved


def second_start(
    adslab: Atoms, energy_ev: float, level: LevelOfTheory, engine: Engine, book: Logbook
) -> tuple[float, Flag | None]:
    """Return how far (eV) a second relaxation ends from ``energy_ev``, and a flag if too far.

    Where there is no energy from the second start, the distance is infinite.

    Raises:
        EngineError: it failed for a reason that another attempt may not meet.
    """
    limits = limits_of(level)
    start = displaced(adslab, book.item, limits)
    try:
        second = compute(start, level, engine, book=book, part=_PART)
    except EngineError as failure:
        if failure.kind not in _OF_THE_START:
            raise
        book.note(f"no energy from the second start: {failure}")
        return _judged(float("inf"), limits)
    apart_ev = abs(second.energy_ev - energy_ev) if second.converged else float("inf")
    return _judged(apart_ev, limits)


def _judged(apart_ev: float, limits: CheckLimits) -> tuple[float, Flag | None]:
    if apart_ev <= limits.two_start_ev:
        return apart_ev, None
    return apart_ev, Flag(NAME, apart_ev, limits.two_start_ev)
