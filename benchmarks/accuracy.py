"""Print how accurate the embedded checkpoints are on rows that they never saw.

    python benchmarks/accuracy.py --data DIR --sets fg        one set, a few seconds
    python benchmarks/accuracy.py --data DIR                  all published sets, a few minutes
    python benchmarks/accuracy.py --table train.parquet       a training table, EMT included

Inputs are unrelaxed placements, as in a screening; the MAE on relaxed geometries stands beside it.
Fold 4 is reported: it took part in neither training nor calibration.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.contract import Prediction, Predictor
from model.metrics import Scores, score
from model.predictor import load_predictor
from model.rows import UNRELAXED, Row, read_rows
from tasks.training_data.assemble import set_rows
from tasks.training_data.sources import SETS
from tasks.training_data.table import write_rows

REPORT_FOLD = 4
PUBLISHED = {"fg": "GemNet 0.125, PaiNN 0.135, DimeNet++ 0.136 (initial geometry)"}
HEADER = (
    f"{'set':<15}{'rows':>5}{'median':>8}{'boosting':>9}{'mini':>7}{'regr.':>7}{'tokens':>7}"
    f"{'<0.1 eV':>8}{'90 %':>6}{'miscal.':>8}{'rho':>6}{'relaxed':>8}  published"
)


def main() -> None:
    """Print one line for each set."""
    options = _options()
    rows = _rows(options.data, options.table, options.sets)
    mini, boosting = load_predictor(options.model), load_predictor("baseline")
    print(f"MAE in eV on fold {REPORT_FOLD}; checkpoint {mini.checkpoint_sha256[:12]}")
    print(HEADER)
    for name in sorted({row.set for row in rows}):
        here = [row for row in rows if row.set == name and row.fold == REPORT_FOLD]
        train = [row.energy_ev for row in rows if row.set == name and row.fold != REPORT_FOLD]
        print(_line(name, here, float(np.median(train)), mini, boosting), flush=True)


def _line(
    name: str, rows: Sequence[Row], median_ev: float, mini: Predictor, boosting: Predictor
) -> str:
    unrelaxed = [row for row in rows if row.kind in UNRELAXED]
    relaxed = [row for row in rows if row.kind not in UNRELAXED]
    started = time.perf_counter()
    said = _ask(mini, unrelaxed)
    rate = len(unrelaxed) / (time.perf_counter() - started)
    scores = _score(said, unrelaxed)
    heads = (_mae([getattr(p, head) for p in said], unrelaxed) for head in _HEADS)
    regression, tokens = heads
    baseline = _score(_ask(boosting, unrelaxed), unrelaxed).mae_ev
    beside = f"{_score(_ask(mini, relaxed), relaxed).mae_ev:>8.3f}" if relaxed else f"{'-':>8}"
    median = _mae([median_ev] * len(unrelaxed), unrelaxed)
    return (
        f"{name:<15}{scores.rows:>5}{median:>8.3f}{baseline:>9.3f}{scores.mae_ev:>7.3f}"
        f"{regression:>7.3f}{tokens:>7.3f}{scores.within_0_1_ev:>8.1%}{scores.coverage_90:>6.1%}"
        f"{scores.miscalibration:>8.3f}{scores.spearman:>6.2f}{beside}  "
        f"{PUBLISHED.get(name, '')} [{rate:.0f} rows/s]"
    )


_HEADS = ("regression_ev", "token_ev")


def _ask(predictor: Predictor, rows: Sequence[Row]) -> list[Prediction]:
    return predictor.predict([row.configuration() for row in rows])


def _score(said: Sequence[Prediction], rows: Sequence[Row]) -> Scores:
    energy_R = np.array([p.energy_ev for p in said])
    sigma_R = np.array([p.sigma_ev for p in said])
    return score(energy_R, sigma_R, np.array([row.energy_ev for row in rows]))


def _mae(energies: Sequence[float], rows: Sequence[Row]) -> float:
    truth_R = np.array([row.energy_ev for row in rows])
    return float(np.abs(np.array(energies) - truth_R).mean())


def _rows(data: Path | None, table: Path | None, names: Sequence[str]) -> list[Row]:
    if table is not None:
        return read_rows(table)
    if data is None:
        raise SystemExit("name --data or --table")
    with tempfile.TemporaryDirectory() as folder:
        rows: list[Row] = []
        for spec in SETS:
            if spec.name in names:
                file = Path(folder) / f"{spec.name}.parquet"
                write_rows(file, set_rows(data, spec)[0])
                rows += read_rows(file)
    return rows


def _options() -> argparse.Namespace:
    names = [spec.name for spec in SETS]
    parser = argparse.ArgumentParser(description="Accuracy of the embedded checkpoints.")
    parser.add_argument("--data", type=Path, help="folder of the published sets")
    parser.add_argument("--table", type=Path, help="a training table instead")
    parser.add_argument("--sets", nargs="+", default=names, choices=names)
    parser.add_argument("--model", default="mini", help="an embedded name or a folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
