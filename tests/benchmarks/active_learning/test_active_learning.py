"""The replayed loop on a made-up table: what a contest finds, and that nothing is asked twice."""

import importlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.paths import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks" / "active_learning"
SURFACES, REACTIONS = 300, 2


@dataclass(frozen=True)
class Scripts:
    """The modules of the benchmark."""

    pool: ModuleType
    surrogates: ModuleType
    loop: ModuleType
    command: ModuleType


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("replay_pool", "replay_surrogates", "replay_loop", "active_learning")
    return Scripts(*(importlib.import_module(name) for name in names))


def made_up(scripts: Scripts, *, has_partners: bool = False) -> tuple[Any, Any]:
    """Return pairs whose energy is a smooth function of one of their features, and its answers."""
    rng = np.random.default_rng(7)
    surface_R = np.repeat(np.arange(SURFACES), REACTIONS)
    reaction_R = np.tile(np.arange(REACTIONS), SURFACES)
    features_RF = rng.normal(size=(SURFACES, 3))[surface_R]
    energy_R = np.sin(2 * features_RF[:, 0]) + features_RF[:, 1] + 3.0 * reaction_R
    n = len(energy_R)
    pool = scripts.pool.Pool(
        ids=tuple(map(str, range(n))),
        surface_R=surface_R,
        reaction_R=reaction_R,
        features_RF=np.column_stack([features_RF, reaction_R]),
        descriptors_RD=features_RF,
        low_R=np.where(reaction_R == 0, -3.0, 0.0),
        high_R=np.where(reaction_R == 0, -1.0, 2.0),
        partner_R=np.arange(n) + np.where(reaction_R == 0, 1, -1)
        if has_partners
        else np.full(n, -1),
        has_windows=has_partners,
    )
    if not has_partners:
        wanted_R, group_R = scripts.pool.lowest(energy_R, reaction_R), np.arange(n)
    else:
        inside_R = (energy_R >= pool.low_R) & (energy_R <= pool.high_R)
        wanted_R = (np.bincount(surface_R, weights=inside_R) == 2)[surface_R]
        group_R = surface_R
    return pool, scripts.pool.Answers(energy_R, np.full(n, 3), wanted_R, group_R)


@dataclass(frozen=True)
class Perfect:
    """A surrogate that knows, which no surrogate may; it notes the rows that it is given."""

    energy_R: np.ndarray
    chosen: list[np.ndarray] = field(default_factory=list)

    def __call__(
        self, pool: Any, chosen_A: np.ndarray, energy_A: np.ndarray, *, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        self.chosen.append(chosen_A)
        assert np.array_equal(energy_A, self.energy_R[chosen_A])
        return self.energy_R, np.full(len(self.energy_R), 0.01)


def calls(scripts: Scripts, contest: Any, seed: int = 0, has_partners: bool = False) -> float:
    pool, answers = made_up(scripts, has_partners=has_partners)
    contest = replace(contest, pace=scripts.loop.Pace(least=5))
    history = scripts.loop.run(pool, answers, contest, seed=seed, share=1.0)
    return float(scripts.loop.calls_until(history, 1.0, answers.to_find))


@pytest.mark.parametrize("has_partners", [False, True])
@pytest.mark.parametrize("score", ["greedy", "probability", "expected_improvement"])
def test_a_perfect_surrogate_finds_the_top_at_once(
    scripts: Scripts, score: str, has_partners: bool
) -> None:
    _, answers = made_up(scripts, has_partners=has_partners)
    choose = scripts.command.nearest if has_partners else scripts.command.SCORES[score]
    contest = scripts.loop.Contest("perfect", Perfect(answers.energy_R), choose)
    spent = calls(scripts, contest, has_partners=has_partners)
    # the pairs at the start, all that belong to the finds, and a last batch that is not needed
    assert spent <= 1.1 * (20 + (2 if has_partners else 1) * answers.to_find) + 5


def test_chance_needs_half_of_the_calls_for_half_of_the_finds(scripts: Scripts) -> None:
    pool, answers = made_up(scripts)
    by_lot, needed = scripts.loop.Contest("random", pace=scripts.loop.Pace(0.0, 5)), []
    for seed in range(60):
        history = scripts.loop.run(pool, answers, by_lot, seed=seed)
        needed.append(scripts.loop.calls_until(history, 0.5, answers.to_find))
    # of six finds the third is expected after 3 / 7 of the pairs
    assert np.mean(needed) == pytest.approx(3 / 7 * len(pool), rel=0.15)


@pytest.mark.parametrize("low_half", [False, True])
def test_counts_rise_and_no_pair_is_asked_twice(scripts: Scripts, low_half: bool) -> None:
    pool, answers = made_up(scripts)
    boosting = scripts.surrogates.Boosting(trees=20, low_half=low_half)
    contest = scripts.loop.Contest("b", boosting, scripts.command.SCORES["probability"])
    history = scripts.loop.run(pool, answers, contest, seed=1, share=1.0)
    for before, after in pairwise(history):
        assert after.calls > before.calls
        assert after.found >= before.found
        assert after.relaxations == 3 * after.calls
    assert history[-1].found == answers.to_find
    assert history[-1].calls < 0.6 * len(pool)


def test_all_contests_of_a_seed_begin_with_the_same_pairs(scripts: Scripts) -> None:
    _, answers = made_up(scripts)
    first = []
    for score in ("greedy", "probability"):
        surrogate = Perfect(answers.energy_R)
        calls(scripts, scripts.loop.Contest("p", surrogate, scripts.command.SCORES[score]), seed=3)
        first.append(surrogate.chosen[0])
    assert np.array_equal(*first)


def test_a_surrogate_does_not_see_what_was_not_asked(scripts: Scripts) -> None:
    pool, answers = made_up(scripts)
    chosen_A = np.arange(0, 200)
    surrogates = (
        scripts.surrogates.Boosting(trees=20),
        scripts.surrogates.GaussianProcess(rows=100),
    )
    for surrogate in surrogates:
        energy_R, sigma_R = surrogate(pool, chosen_A, answers.energy_R[chosen_A], seed=0)
        assert np.abs(energy_R - answers.energy_R)[200:].mean() < 0.5 * answers.energy_R.std()
        assert (sigma_R > 0).all()
        assert not hasattr(pool, "energy_R")


def test_of_the_upper_half_nothing_is_learnt_but_that_it_is_above(scripts: Scripts) -> None:
    pool, answers = made_up(scripts)
    chosen_A = np.arange(0, 200)
    energy_A = answers.energy_R[chosen_A]
    scale = scripts.surrogates.Scale.of(pool, chosen_A, energy_A)
    boosting = scripts.surrogates.Boosting(trees=200, low_half=True)
    energy_R, _ = boosting(pool, chosen_A, energy_A, seed=0)
    assert ((energy_R - scale.mean_R) / scale.spread_R).max() < 0.3
    assert ((energy_A - scale.mean_R[chosen_A]) / scale.spread_R[chosen_A]).max() > 1.5


def test_the_line_leaves_as_many_below_as_are_wanted(scripts: Scripts) -> None:
    pool, answers = made_up(scripts)
    line_X = scripts.loop.lines(pool, answers.energy_R, np.full(len(pool), 1e-3))
    below_R = answers.energy_R <= line_X[pool.reaction_R] + 1e-3
    assert np.array_equal(below_R, answers.wanted_R)


def test_a_window_on_one_surface_is_found_when_both_were_asked(scripts: Scripts) -> None:
    _, answers = made_up(scripts, has_partners=True)
    requested_R = answers.wanted_R.copy()
    assert answers.found(requested_R) == answers.to_find > 0
    requested_R[np.flatnonzero(requested_R)[0]] = False
    assert answers.found(requested_R) == answers.to_find - 1


def test_a_pair_whose_partner_failed_is_not_asked_any_more(scripts: Scripts) -> None:
    pool, answers = made_up(scripts, has_partners=True)
    requested_R = pool.reaction_R == 0
    lost_R = scripts.loop.lost(pool, requested_R, answers.energy_R)
    failed_R = (answers.energy_R < pool.low_R) | (answers.energy_R > pool.high_R)
    assert np.array_equal(lost_R[1::2], failed_R[::2])
    assert not lost_R[::2].any()
    pool, answers = made_up(scripts)
    assert not scripts.loop.lost(pool, requested_R, answers.energy_R).any()


def test_a_run_that_is_stored_is_printed_again(scripts: Scripts, tmp_path: Path) -> None:
    step = scripts.loop.Progress
    history = [step(100, 300, 2), step(200, 600, 8), step(300, 900, 10)]
    one = scripts.command.Stored("lowest", "random", 0, 1000, 10, 1.5, history)
    one.write(tmp_path / "lowest" / "random-seed0.json")
    again = scripts.command.Stored.read(tmp_path / "lowest" / "random-seed0.json")
    assert again == one
    assert "| random | 1 | 150 ± 0 | 200 ± 0 | 300 ± 0 | 1.0 | 600 ± 0 | 2 |" in list(
        scripts.command.table([again])
    )
    scripts.command.draw([again], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
