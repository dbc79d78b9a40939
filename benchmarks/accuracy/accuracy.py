r"""Print how accurate QE-Catalytic is on rows that it never saw, set by set.

    python -m tasks.training_data.benchmark_tables --data DIR --out TABLES \\
        --sets fg wwl_simple wwl_oxygenates alloy_gmae oc20_text gaspy_oh hea_orr
    python benchmarks/accuracy/accuracy.py --tables TABLES                     every set
    python benchmarks/accuracy/accuracy.py --tables TABLES --sets fg           one set, a minute
    python benchmarks/accuracy/accuracy.py --table train.parquet --sets emt    from a training table

Sets that the embedded checkpoint was trained on are answered by it; for the others, whose licence
keeps weights from shipping, one is trained first by ``recipes/SET.yaml`` (beside this file) and
kept under ``--runs``. ``--train`` trains for every set. Fold 4 is reported: it took part in neither
training nor calibration. Inputs are what a screening sees; relaxed geometries stand beside them.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from flows.learning.training import train
from model.contract import Prediction, Predictor
from model.data.rows import UNRELAXED, Row, read_rows
from model.prediction.predictor import load_predictor
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.uncertainty.metrics import AccuracyScores, accuracy_scores
from model.uncertainty.modes import TEXT_MODE

REPORT_FOLD = 4
SETS = ("fg", "wwl_simple", "wwl_oxygenates", "alloy_gmae", "gaspy_oh", "hea_orr", "oc20_text")
MINE = "emt"  # made here, so it is in training tables only
RECIPES = Path(__file__).parent / "recipes"
PUBLISHED = {
    ("fg", "unrelaxed"): "GemNet 0.125, PaiNN 0.135, DimeNet++ 0.136",
    ("fg", "relaxed"): "PaiNN 0.077, DimeNet++ 0.093",
    ("alloy_gmae", "unrelaxed"): "AdsMT 0.143, 66.3 % within 0.1 eV",
    ("oc20_text", "unrelaxed"): "ALIGNN on 10,000 / 460,000 graphs 0.663 / 0.506",
    ("hea_orr", "relaxed"): "equivGNN < 0.09",
}
HEADER = (
    f"{'set':<15}{'input':<11}{'answer':<11}{'rows':>5}{'MAE':>7}{'RMSE':>7}{'R2':>7}"
    f"{'<0.1 eV':>9}{'90 %':>7}{'miscal.':>8}{'law':>7}{'rho':>6}"
)


@dataclass(frozen=True)
class Line:
    """One way to answer the rows of one set."""

    set: str
    input: str  # unrelaxed, relaxed
    answer: str  # mean, regression, tokens, text alone
    scores: AccuracyScores
    has_sigma: bool  # a single head has none of its own

    def __str__(self) -> str:
        s = self.scores
        sigma = (
            f"{s.coverage_90:>7.1%}{s.miscalibration:>8.3f}{s.miscalibration_law:>7.3f}"
            f"{s.spearman:>6.2f}"
            if self.has_sigma
            else f"{'-':>7}{'-':>8}{'-':>7}{'-':>6}"
        )
        return (
            f"{self.set:<15}{self.input:<11}{self.answer:<11}{s.rows:>5}{s.mae_ev:>7.3f}"
            f"{s.rmse_ev:>7.3f}{s.r2:>7.3f}{s.within_0_1_ev:>9.1%}{sigma}"
        )


def main() -> None:
    """Print the lines of each set, and what others published for the same rows."""
    options = _options()
    torch.set_num_threads(1)  # two threads that wait for each other on a busy machine take tenfold
    print(f"fold {REPORT_FOLD}; errors in eV")
    print(HEADER)
    for name in options.sets:
        table = options.table or options.tables / f"{name}.parquet"
        predictor = _predictor(name, table, options)
        rows = [r for r in read_rows(table) if r.fold == REPORT_FOLD and r.set == name]
        started = time.perf_counter()
        lines = list(set_lines(name, rows, predictor))
        seconds = time.perf_counter() - started
        for line in lines:
            published = PUBLISHED.get((line.set, line.input), "") if line.answer == "mean" else ""
            print(line, published, flush=True)
        print(f"  checkpoint {predictor.checkpoint_sha256[:12]}, answered in {seconds:.0f} s")


def set_lines(name: str, rows: Sequence[Row], predictor: QECatalyticPredictor) -> Iterator[Line]:
    """Yield the lines of one set: both heads, their mean, and the text alone."""
    for view in ("unrelaxed", "relaxed"):
        here = [row for row in rows if (row.kind in UNRELAXED) == (view == "unrelaxed")]
        if here:
            predictions = predictor.predict([row.configuration() for row in here])
            for answer in ("mean", "regression", "tokens"):
                yield _line(name, view, answer, here, predictions, predictor)
    alone = [row for row in rows if row.kind in UNRELAXED and len(row.numbers_N)]
    if alone and TEXT_MODE in predictor.modes:
        predictions = predictor.predict([_without_structure(row).configuration() for row in alone])
        yield _line(name, "text", "text alone", alone, predictions, predictor)


def _line(
    name: str,
    view: str,
    answer: str,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    predictor: QECatalyticPredictor,
) -> Line:
    field = {"regression": "regression_ev", "tokens": "token_ev"}.get(answer, "energy_ev")
    mode = predictor.modes["text" if view == "text" or not len(rows[0].numbers_N) else "graph"]
    scores = accuracy_scores(
        np.array([getattr(p, field) for p in predictions]),
        np.array([p.sigma_ev for p in predictions]),
        np.array([row.energy_ev for row in rows]),
        mode.calibration.level(rows[0].level).law,
    )
    return Line(name, view, answer, scores, has_sigma=field == "energy_ev")


def _without_structure(row: Row) -> Row:
    nothing = np.zeros(0, dtype=np.int64)
    return replace(row, numbers_N=nothing, tags_N=nothing, positions_N3=np.zeros((0, 3)))


def _predictor(name: str, table: Path, options: argparse.Namespace) -> QECatalyticPredictor:
    """Return the embedded checkpoint where it knows the set, else one trained for it."""
    recipe = RECIPES / f"{name}.yaml"
    if recipe.is_file() or options.train:
        recipe = recipe if recipe.is_file() else options.recipe
        checkpoint = train(recipe, table, options.runs / name)[-1]
        return _qe_catalytic(load_predictor(checkpoint.folder))
    return _qe_catalytic(load_predictor(options.model))


def _qe_catalytic(predictor: Predictor) -> QECatalyticPredictor:
    if not isinstance(predictor, QECatalyticPredictor):
        raise SystemExit(
            "--model is a QE-Catalytic checkpoint; for baselines: accuracy/baselines.py"
        )
    return predictor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Accuracy of QE-Catalytic on published sets.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tables", type=Path, help="folder of benchmark tables")
    source.add_argument("--table", type=Path, help="a training table of several sets")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=(*SETS, MINE))
    parser.add_argument("--model", default="mini", help="an embedded name or a folder")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--train", action="store_true", help="train for every set")
    parser.add_argument("--recipe", default="mini", help="of --train, for sets without their own")
    return parser.parse_args()


if __name__ == "__main__":
    main()
