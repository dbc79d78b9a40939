"""The loop that is replayed: believe, score, ask a batch, until enough is found.

Only answers that were asked for reach a surrogate. Where the line of the top is not given, it is
estimated in each round from answers and predictions: so low that as many pairs are expected below
it as there are to find.

Shapes  R pairs, X reactions. Units: eV.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from replay_pool import SEEDED, Answers, Pool, wanted_of
from replay_surrogates import Scale, Surrogate
from scipy.special import ndtr

from tasks.acquisition import PairEstimates, Policy, Score, Share, select
from tasks.acquisition.scores import BestDistance

Floats = NDArray[np.float64]

_DEEP = 100.0  # spreads from the line down to the far end of its window: no energy is lower
_SURE_EV = 1e-3  # sigma of an answer


@dataclass(frozen=True)
class Pace:
    """How many pairs a round asks for: a share of the answers so far, and a number at least."""

    growth: float = 0.15
    least: int = 50

    def batch(self, answered: int) -> int:
        """Return the size of the next batch."""
        return max(self.least, round(self.growth * answered))


@dataclass(frozen=True)
class Contest:
    """One way to choose pairs; at random where there is no surrogate."""

    name: str
    surrogate: Surrogate | None = None
    score: Score | None = None
    pace: Pace = Pace()


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a round."""

    calls: int
    relaxations: int  # rows of the table behind these calls
    found: int


@dataclass(frozen=True)
class OnOneSlab:
    """A score of two adsorbates on one surface: the product of what each is worth."""

    score: Score
    partner_R: NDArray[np.int64]

    def __call__(self, estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
        """Return the product; a pair without a partner stands for itself."""
        own_R = self.score(estimates, best_ev=best_ev, seed=seed)
        return np.where(self.partner_R < 0, own_R, own_R * own_R[self.partner_R])


def run(
    pool: Pool,
    answers: Answers,
    contest: Contest,
    *,
    seed: int,
    share: float = 0.95,
    most: int | None = None,
) -> list[Progress]:
    """Ask until ``share`` of the finds are made or ``most`` calls are spent.

    The first pairs are the same for all contests of a seed.

    Args:
        pool: R pairs and their features.
        answers: Their energies (eV), and which count as finds.
        contest: The surrogate, the score and the pace; without a surrogate pairs come by lot.
        seed: Of the first pairs, the order of ties and the surrogate.
        share: The share of the finds at which it ends, 0 to 1.
        most: The most calls; None for as many as there are pairs.

    Returns:
        Calls and finds after the first pairs and after each round.
    """
    lot_R = np.random.default_rng(seed).permutation(len(pool))
    requested_R = np.zeros(len(pool), dtype=bool)
    requested_R[lot_R[: max(20, round(SEEDED * len(pool)))]] = True
    history = [_progress(answers, requested_R)]
    end, goal = most or len(pool), share * answers.to_find
    shuffled = _shuffled(pool, seed)
    while history[-1].found < goal and history[-1].calls < end:
        batch = min(contest.pace.batch(int(requested_R.sum())), end - int(requested_R.sum()))
        if contest.surrogate is None or contest.score is None:
            over_R = requested_R | lost(pool, requested_R, answers.energy_R)
            rows = [row for row in lot_R if not over_R[row]][:batch]
        else:
            shares = contest.surrogate, contest.score
            rows = _chosen(shuffled, answers, requested_R, *shares, batch, seed + len(history))
        if requested_R[rows].any():
            raise RuntimeError("a pair was requested twice")
        if not rows:
            break  # what is left belongs to surfaces that failed
        requested_R[rows] = True
        history.append(_progress(answers, requested_R))
    return history


def _shuffled(pool: Pool, seed: int) -> Pool:
    """Return the pool under ids by lot: ties go to the lower id, and names may tell something."""
    lot_R = np.random.default_rng([seed, 1]).permutation(len(pool))
    return replace(pool, ids=tuple(f"{drawn:06d}" for drawn in lot_R))


def _chosen(
    pool: Pool,
    answers: Answers,
    requested_R: NDArray[np.bool_],
    surrogate: Surrogate,
    score: Score,
    batch: int,
    seed: int,
) -> list[int]:
    """Return the rows of the next batch; a surrogate sees energies of requested pairs alone."""
    requested_A = np.flatnonzero(requested_R)
    answer_A = answers.energy_R[requested_A]
    energy_R, sigma_R = surrogate(pool, requested_A, answer_A, seed=seed)
    energy_R, sigma_R = energy_R.copy(), np.maximum(sigma_R, _SURE_EV)
    energy_R[requested_A], sigma_R[requested_A] = answer_A, _SURE_EV
    estimates, best_ev = _estimates(pool, energy_R, sigma_R, requested_A)
    policy = Policy((Share(OnOneSlab(score, pool.partner_R)),))
    taken = [
        pool.ids[row] for row in np.flatnonzero(requested_R | lost(pool, requested_R, energy_R))
    ]
    chosen = select(
        estimates, policy, budget=batch, computed_slabs=(), seed=seed, best_ev=best_ev, taken=taken
    )
    return [one.row for one in chosen]


def lost(pool: Pool, requested_R: NDArray[np.bool_], energy_R: Floats) -> NDArray[np.bool_]:
    """Return True for pairs whose partner was requested and lies outside its window."""
    outside_R = requested_R & ((energy_R < pool.low_R) | (energy_R > pool.high_R))
    return (pool.partner_R >= 0) & outside_R[pool.partner_R]


def _estimates(
    pool: Pool, energy_R: Floats, sigma_R: Floats, requested_A: NDArray[np.int64]
) -> tuple[PairEstimates, float | None]:
    """Return estimates with their windows, and the distance (eV) to improve on.

    Reactions whose energies spread differently are compared in units of their spread, from the
    line; with windows that are given, in eV.
    """
    slabs = [str(s) for s in pool.surface_R]
    if pool.has_windows:
        rows = (energy_R, sigma_R, pool.low_R, pool.high_R)
        best_ev = None
    else:
        spread_R = Scale.of(pool, requested_A, energy_R[requested_A]).spread_R
        line_R = lines(pool, energy_R, sigma_R)[pool.reaction_R]
        zero_R = np.zeros(len(pool))
        depth_R = np.maximum((energy_R - line_R) / spread_R, -_DEEP / 2)
        rows = (depth_R, sigma_R / spread_R, zero_R - _DEEP, zero_R)
        best_ev = _DEEP / 2  # an improvement is what lies below the line
    estimates = PairEstimates.plain(
        pool.ids, slabs, slabs, energy_R=rows[0], sigma_R=rows[1], low_R=rows[2], high_R=rows[3]
    )
    return estimates, best_ev


def lines(pool: Pool, energy_R: Floats, sigma_R: Floats) -> Floats:
    """Return for each reaction the energy below which as many pairs are expected as are wanted."""
    return np.array([_line(*rows) for rows in _by_reaction(pool, energy_R, sigma_R)])


def _by_reaction(pool: Pool, energy_R: Floats, sigma_R: Floats) -> Iterator[tuple[Floats, Floats]]:
    for reaction in range(int(pool.reaction_R.max()) + 1):
        here = pool.reaction_R == reaction
        yield energy_R[here], sigma_R[here]


def _line(energy_R: Floats, sigma_R: Floats) -> float:
    wanted = wanted_of(len(energy_R))
    low, high = float((energy_R - 9 * sigma_R).min()), float((energy_R + 9 * sigma_R).max())
    for _ in range(40):  # halves 100 eV to less than 1e-9
        middle = (low + high) / 2
        if ndtr((middle - energy_R) / sigma_R).sum() < wanted:
            low = middle
        else:
            high = middle
    return high


def _progress(answers: Answers, requested_R: NDArray[np.bool_]) -> Progress:
    relaxations = int(answers.relaxations_R[requested_R].sum())
    return Progress(int(requested_R.sum()), relaxations, answers.found(requested_R))


def calls_until(history: list[Progress], share: float, to_find: int) -> float:
    """Return the calls after which a share was found, between two rounds on the line; or NaN."""
    goal = int(np.ceil(share * to_find))
    before = Progress(0, 0, 0)
    for after in history:
        if after.found >= goal:
            part = (goal - before.found) / max(after.found - before.found, 1)
            return before.calls + part * (after.calls - before.calls)
        before = after
    return float("nan")
