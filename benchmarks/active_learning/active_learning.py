"""Replay active learning on the Mamun rows: how many calculations until the best are found.

    python benchmarks/active_learning/active_learning.py --data DIR
    python benchmarks/active_learning/active_learning.py --data DIR --goals lowest --seeds 2
    python benchmarks/active_learning/active_learning.py --table

The first computes whatever is missing and prints the table; ``--contests`` limits it to some ways
to choose; ``--table`` prints and draws what is stored.

A *call* answers one pair of a surface and a reaction with its global minimum, the lowest energy of
its rows (its adsorption sites); how many rows stand behind the calls is counted beside it. Goals:

``lowest``  of each of the 15 reactions the 1 % of its surfaces that bind most strongly. Where that
            line lies is not given; each round estimates it.
``window``  surfaces that hold N between -1.0 and -0.5 eV (of 1/2 N2) and H above -0.1 eV (of
            1/2 H2), lowest sites: nitrogen reduction without hydrogen on the surface. Both must be
            requested; once one is outside, the other is not computed. The rows have no CO; this is
            the nearest pair with usable references.

All contests of a seed begin with the same 1 % of the pairs, taken by lot, and ask for 15 % of what
they know in each round, 50 at least (``low-half``: 50 in each); a surrogate learns anew in each.
What is finished is a small JSON file under ``--runs``: a run that was killed goes on.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from replay_loop import Contest, Floats, Pace, Progress, calls_until, run
from replay_pool import GOALS, Answers, Pool, read_pool
from replay_surrogates import Boosting, GaussianProcess

from tasks.acquisition import SCORES, ConfidenceBound, PairEstimates, Score
from tasks.acquisition.scores import BestDistance

SHARES = (0.5, 0.8, 0.95)
SEEDS = 5
MOST = {"lowest": 0.2, "window": 0.6}  # of the pairs that are requested at most, but at random
RANDOM = "random"
DRAWN = {  # in the plot: colour and legend
    RANDOM: ("black", "by lot"),
    "greedy": ("tab:orange", "boosting, greedy"),
    "probability": ("tab:blue", "boosting, probability"),
    "bound": ("tab:red", "boosting, bound (one sigma)"),
    "low-half": ("tab:purple", "boosting on low halves, probability"),
    "process-ei": ("tab:green", "Gaussian process, improvement"),
    "process-probability": ("tab:green", "Gaussian process, probability"),
}


def nearest(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return how near the prediction is to its window, in (0, 1]; sigma plays no part."""
    outside_R = np.maximum(
        estimates.low_R - estimates.energy_R, estimates.energy_R - estimates.high_R
    )
    return 1 / (1 + np.maximum(outside_R, 0.0) / 0.1)


def contests(goal: str) -> tuple[Contest, ...]:
    """Return the ways to choose that are compared for a goal."""
    boosting, process = Boosting(), GaussianProcess()
    scored = SCORES["expected_improvement" if goal == "lowest" else "probability"]
    low_half = Boosting(parts=5, low_half=True)
    lowest = Contest("low-half", low_half, SCORES["probability"], Pace(growth=0.0))
    return (
        Contest(RANDOM),
        Contest("greedy", boosting, _greedy(goal)),
        Contest("probability", boosting, SCORES["probability"]),
        Contest("bound", boosting, ConfidenceBound(1.0)),
        Contest(f"process-{'ei' if goal == 'lowest' else 'probability'}", process, scored),
        *((lowest,) if goal == "lowest" else ()),
    )


def _greedy(goal: str) -> Score:
    """Return the score of the prediction alone; a window that is open has no middle to be near."""
    return SCORES["greedy"] if goal == "lowest" else nearest


@dataclass(frozen=True)
class Stored:
    """A finished run of a contest with one seed."""

    goal: str
    contest: str
    seed: int
    pairs: int
    to_find: int
    cpu_s: float
    history: list[Progress]

    @classmethod
    def read(cls, file: Path) -> "Stored":
        """Return what a file holds."""
        values = json.loads(file.read_text())
        return cls(**values | {"history": [Progress(*step) for step in values["history"]]})

    def write(self, file: Path) -> None:
        """Write it whole or not at all."""
        values = asdict(self) | {"history": [[*asdict(step).values()] for step in self.history]}
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(values))
        part.replace(file)

    def calls(self, share: float) -> float:
        """Return the calls until a share was found, NaN where the run ended before."""
        return calls_until(self.history, share, self.to_find)


def main() -> None:
    """Run what is missing, print the table and draw the plot."""
    options = _options()
    if not options.table:
        _run_missing(options)
    stored = [Stored.read(file) for file in sorted(options.runs.glob("*/*-seed*.json"))]
    if not stored:
        raise SystemExit(f"nothing is stored under {options.runs}; run with --data first")
    for line in table(stored):
        print(line)
    draw(stored, options.out)
    print(f"{options.out} written")


def _run_missing(options: argparse.Namespace) -> None:
    """Run all contests of a seed before those of the next one, so that what is there compares."""
    pools = {goal: read_pool(options.data, goal, options.runs) for goal in options.goals}
    for seed in range(options.seeds):
        for goal, (pool, answers) in pools.items():
            for contest in contests(goal):
                file = options.runs / goal / f"{contest.name}-seed{seed}.json"
                if file.exists() or (options.contests and contest.name not in options.contests):
                    continue
                _one(pool, answers, contest, goal, seed).write(file)
                print(f"{file} written", flush=True)


def _one(pool: Pool, answers: Answers, contest: Contest, goal: str, seed: int) -> Stored:
    began = time.process_time()
    most = len(pool) if contest.surrogate is None else round(MOST[goal] * len(pool))
    history = run(pool, answers, contest, seed=seed, most=most)
    spent = round(time.process_time() - began, 1)
    return Stored(goal, contest.name, seed, len(pool), answers.to_find, spent, history)


def table(stored: Sequence[Stored]) -> Iterator[str]:
    """Yield Markdown: calls until 50, 80, 95 %, mean and standard deviation over seeds."""
    for goal in GOALS:
        here = [one for one in stored if one.goal == goal]
        if not here:
            continue
        yield f"goal {goal}: {here[0].to_find} to find among {here[0].pairs} pairs"
        yield ""
        yield "| contest | seeds | 50 % | 80 % | 95 % | random / it at 80 % | rows | CPU s |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        chance = _mean([one.calls(0.8) for one in here if one.contest == RANDOM])
        for name in (c.name for c in contests(goal)):
            runs = [one for one in here if one.contest == name]
            if runs:
                yield _line(name, runs, chance)
        yield ""


def _line(name: str, runs: Sequence[Stored], chance: float) -> str:
    cells = [_spread([one.calls(share) for one in runs]) for share in SHARES]
    at_80 = _mean([one.calls(0.8) for one in runs])
    rows = _spread([_rows(one, 0.8) for one in runs])
    cpu = _mean([one.cpu_s for one in runs])
    ratio = "-" if np.isnan(at_80) else f"{chance / at_80:.1f}"
    return f"| {name} | {len(runs)} | {' | '.join(cells)} | {ratio} | {rows} | {cpu:.0f} |"


def _rows(one: Stored, share: float) -> float:
    goal = int(np.ceil(share * one.to_find))
    return next((float(s.relaxations) for s in one.history if s.found >= goal), float("nan"))


def _spread(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return f"in {int(np.isfinite(values).sum())} of {len(values)} runs"
    return f"{np.mean(values):.0f} ± {np.std(values):.0f}"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def draw(stored: Sequence[Stored], out: Path) -> None:
    """Draw the share found over calls: means as lines, the range over seeds as bands.

    Args:
        stored: The runs that are done.
        out: The image's path.
    """
    goals = [goal for goal in GOALS if any(one.goal == goal for one in stored)]
    figure, axes = plt.subplots(1, len(goals), figsize=(5.6 * len(goals), 5.2), squeeze=False)
    for axis, goal in zip(axes[0], goals, strict=True):
        here = [one for one in stored if one.goal == goal]
        for name, (colour, label) in DRAWN.items():
            _curve(axis, [one for one in here if one.contest == name], label, colour)
        axis.set_xscale("log")
        axis.set_xlabel("calls (pairs answered)")
        axis.set_ylabel("found, %")
        axis.set_ylim(0, 101)
        axis.axhline(80, color="grey", lw=0.6, ls=":")
        axis.grid(alpha=0.25, which="both")
        seeds = len({one.seed for one in here})
        title = (
            f"{goal}: {here[0].to_find} among {here[0].pairs} pairs; mean and range, seeds: {seeds}"
        )
        axis.set_title(title, fontsize=9)
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _curve(axis: Axes, runs: Sequence[Stored], label: str, colour: str) -> None:
    if not runs:
        return
    end = min(one.history[-1].calls for one in runs)
    grid = np.geomspace(runs[0].history[0].calls, end, 120)
    found = np.array([_found_at(one, grid) for one in runs])
    axis.plot(grid, found.mean(axis=0), color=colour, lw=1.6, label=label)
    axis.fill_between(grid, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.15, lw=0)


def _found_at(one: Stored, grid: Floats) -> Floats:
    calls = [float(step.calls) for step in one.history]
    percent = [100 * step.found / one.to_find for step in one.history]
    return np.interp(grid, calls, percent)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Active learning, replayed.")
    parser.add_argument("--data", type=Path, help="folder of the published sets")
    parser.add_argument("--goals", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--contests", nargs="+", help="by name, all by default")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("runs/active-learning"))
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/plots/active_learning.png"))
    options = parser.parse_args()
    if not options.table and options.data is None:
        parser.error("give --data DIR, or --table for what is stored")
    return options


if __name__ == "__main__":
    main()
