r"""Print what the baselines reach on every set, from the tables of ``benchmark_tables``.

    python -m tasks.training_data.benchmark_tables --data DIR --out TABLES \\
        --sets fg wwl_simple wwl_oxygenates alloy_gmae oc20_text gaspy_oh hea_orr
    python benchmarks/accuracy/baselines.py --tables TABLES
    python benchmarks/accuracy/baselines.py --tables TABLES --sets alloy_gmae --folds 0 1 2 3 4

Trained on the other folds less a tenth of their rows, which calibrates: surfaces that training
never saw where the folds are split by surface, else any. Inputs are what a screening sees.
``published`` are predictions that others published for rows of the set.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from model.checkpoint import Checkpoint
from model.contract import Domain, Predictor
from model.data.domain import domain_of
from model.data.rows import Row, read_rows
from model.data.splits import split
from model.prediction.baseline import BaselinePredictor
from model.prediction.medians import MedianPredictor
from model.training.baseline import train_baseline, train_medians
from model.uncertainty.metrics import AccuracyScores, accuracy_scores
from tasks.training_data.benchmark_tables import PUBLISHED

REPORT_FOLD = 4
SEED = 0
HEADER = (
    f"{'set':<15}{'baseline':<18}{'folds':>6}{'rows':>6}{'MAE':>7}{'RMSE':>7}{'R2':>7}"
    f"{'<0.1 eV':>9}{'90 %':>7}{'miscal.':>8}{'rho':>6}{'CPU s':>8}"
)


@dataclass(frozen=True)
class Answered:
    """A row and its prediction."""

    row: Row
    energy_ev: float
    sigma_ev: float


@dataclass(frozen=True)
class Baseline:
    """How a baseline is trained, and what answers for its checkpoint."""

    train: Callable[[Sequence[Row], Sequence[Row], Domain, Path], Checkpoint]
    predictor: Callable[[Checkpoint], Predictor]


def main() -> None:
    """Print one line for each set and baseline."""
    options = _options()
    print(f"MAE and RMSE in eV, mean over the folds {', '.join(map(str, options.folds))}")
    print(HEADER)
    for name in options.sets or _names(options.tables):
        rows = read_rows(options.tables / f"{name}.parquet")
        for title, baseline in baselines().items():
            started = time.process_time()
            found = [predictions(rows, fold, baseline) for fold in options.folds]
            print(_line(name, title, found, time.process_time() - started), flush=True)
        ours = [answer for answers in found for answer in answers]
        for line in _published_lines(published(options.tables, rows), ours):
            print(line, flush=True)


def baselines() -> dict[str, Baseline]:
    """Return the baselines by the names they have in the table."""
    return {
        "median": Baseline(
            lambda *rest: train_medians(*rest, by_adsorbate=False, seed=SEED), MedianPredictor
        ),
        "adsorbate median": Baseline(
            lambda *rest: train_medians(*rest, by_adsorbate=True, seed=SEED), MedianPredictor
        ),
        "boosting": Baseline(lambda *rest: train_baseline(*rest, seed=SEED), BaselinePredictor),
    }


def predictions(rows: Sequence[Row], fold: int, baseline: Baseline) -> list[Answered]:
    """Train without a fold and return its rows with what the baseline says of them."""
    by: Literal["pair", "surface"] = "surface" if _split_by_surface(rows, fold) else "pair"
    train, held_out, reported = split(rows, report_fold=fold, by=by)
    with tempfile.TemporaryDirectory() as folder:
        domain = domain_of([*train, *held_out])
        checkpoint = baseline.train(train, held_out, domain, Path(folder))
        answered = baseline.predictor(checkpoint).predict([row.configuration() for row in reported])
    return [
        Answered(row, answer.energy_ev, answer.sigma_ev)
        for row, answer in zip(reported, answered, strict=True)
    ]


def published(tables: Path, rows: Sequence[Row]) -> dict[str, list[Answered]]:
    """Return what others predicted for these rows, by model."""
    found: dict[str, list[Answered]] = {}
    if not (tables / PUBLISHED).exists():
        return found
    label = {row.uid: row for row in rows}
    for record in pq.read_table(tables / PUBLISHED).to_pylist():
        if row := label.get(record["uid"]):
            found.setdefault(record["model"], []).append(Answered(row, record["energy_ev"], 0.0))
    return found


def _split_by_surface(rows: Sequence[Row], fold: int) -> bool:
    inside = {row.group for row in rows if row.fold == fold}
    return inside.isdisjoint(row.group for row in rows if row.fold != fold)


def _line(name: str, title: str, found: Sequence[Sequence[Answered]], seconds: float) -> str:
    scores = [_scores(answers) for answers in found]

    def mean(field: str) -> float:
        return float(np.mean([getattr(one, field) for one in scores]))

    return (
        f"{name:<15}{title:<18}{len(found):>6}{sum(one.rows for one in scores):>6}"
        f"{mean('mae_ev'):>7.3f}{mean('rmse_ev'):>7.3f}{mean('r2'):>7.2f}"
        f"{mean('within_0_1_ev'):>9.1%}{mean('coverage_90'):>7.1%}"
        f"{mean('miscalibration'):>8.3f}{mean('spearman'):>6.2f}{seconds / len(found):>8.0f}"
    )


def _published_lines(
    answered: dict[str, list[Answered]], ours: Sequence[Answered]
) -> Iterator[str]:
    """Yield MAEs of published predictions, on all their rows and on those reported here."""
    here = {answer.row.uid for answer in ours}
    for model, answers in answered.items():
        shared = [answer for answer in answers if answer.row.uid in here]
        yield f"  published {model:<30}{_mae(answers):>7.3f} of {len(answers)} rows" + (
            f"{_mae(shared):>8.3f} of {len(shared)} rows of the folds above" if shared else ""
        )
    answered_uids = {answer.row.uid for answers in answered.values() for answer in answers}
    shared = [answer for answer in ours if answer.row.uid in answered_uids]
    if shared:
        yield f"  boosting on the same rows{_mae(shared):>42.3f} of {len(shared)} rows"


def _scores(answers: Sequence[Answered]) -> AccuracyScores:
    return accuracy_scores(
        np.array([answer.energy_ev for answer in answers]),
        np.array([answer.sigma_ev for answer in answers]),
        np.array([answer.row.energy_ev for answer in answers]),
    )


def _mae(answers: Sequence[Answered]) -> float:
    return float(np.mean([abs(answer.energy_ev - answer.row.energy_ev) for answer in answers]))


def _names(tables: Path) -> list[str]:
    return sorted(file.stem for file in tables.glob("*.parquet") if file.name != PUBLISHED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Accuracy of the baselines.")
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--sets", nargs="+", help="tables to take, all by default")
    parser.add_argument("--folds", nargs="+", type=int, default=[REPORT_FOLD], help="to report")
    return parser.parse_args()


if __name__ == "__main__":
    main()
