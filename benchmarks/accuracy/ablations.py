"""Print what each part of QE-Catalytic is worth: one thing changed at a time, over seeds.

    python -m tasks.training_data.benchmark_tables --data DIR --out TABLES --sets fg
    python benchmarks/accuracy/ablations.py --table TABLES/fg.parquet

Every run is one network trained by ``recipes/ablation.yaml`` (beside this file) with the changes of
its variant, kept under ``--runs``. Defaults are chosen by the held-out rows; fold 4 stands beside
them. MAE in eV, mean over seeds and half their range.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from flows.learning.training import read_recipe, train, training_plan
from model.data.rows import Row
from model.network.ensemble import Ensemble, EnsembleOutput
from model.prediction.predictor import load_predictor
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.training.run import split_table
from model.uncertainty.modes import GRAPH_MODE, TEXT_MODE

RECIPE = Path(__file__).parent / "recipes" / "ablation.yaml"
REFERENCE = "all of it (gated loss, pooled)"
VARIANTS: Mapping[str, Sequence[str]] = {
    REFERENCE: (),
    "no stage 0": ("encode=null",),
    "no stage 1": ("align=null",),
    "loss: fixed weights": ("joint.loss=sum",),
    "loss: gated, detached": ("joint.loss=detached",),
    "loss: gated, as printed": ("joint.loss=literal",),
    "loss: regression alone": ("joint.loss=regression",),
    "loss: tokens alone": ("joint.loss=tokens",),
    "one token for each atom": ("fusion=atoms",),
    "nothing but words from the text": ("text_facts=false",),
    "reads texts first": ("read.epochs=4", "read.average=0.98"),
    "language model of half the width": ("language.width=32", "language.feed_forward=96"),
    "language model of twice the width": ("language.width=128", "language.feed_forward=384"),
    "never the text alone": ("joint.text_share=0.0",),
    "encoder: EquiformerV2": (
        "encoder={kind: equiformer_v2, num_layers: 2, sphere_channels: 48, lmax: 1, mmax: 1, "
        "attn_hidden_channels: 24, num_heads: 4, attn_alpha_channels: 12, attn_value_channels: 8, "
        "ffn_hidden_channels: 96, grid_resolution: null, use_gate_act: true, use_grid_mlp: false, "
        "edge_channels: 32, num_distance_basis: 64, max_radius: 6.0, max_neighbors: 16, "
        "avg_degree: 14.0, alpha_drop: 0.0, drop_path_rate: 0.0}",
        "encode.learning_rate=0.001",
    ),
    "encoder: PaiNN, eight times the epochs": ("encode.epochs=200", "encode.watch_every=200"),
}
STAGES = ("encode", "align", "joint")
ANSWERS = ("mean", "regression", "tokens", "text alone")
ROWS = ("held out", "fold 4")
Errors = dict[tuple[str, str], float]  # (answer, rows) -> MAE in eV


@dataclass(frozen=True)
class Run:
    """One variant under one seed."""

    variant: str
    seed: int
    table: Path
    folder: Path

    @property
    def changes(self) -> list[str]:
        """Return what the run changes in the recipe; a stage that it drops has no seed."""
        changes = VARIANTS[self.variant]
        kept = [stage for stage in STAGES if f"{stage}=null" not in changes]
        return [*changes, *(f"{stage}.seed={self.seed}" for stage in kept)]


def main() -> None:
    """Train what is not trained yet, and print a line for each variant."""
    options = _options()
    runs = [
        Run(v, seed, options.table, options.runs / f"{list(VARIANTS).index(v)}-{seed}")
        for v in options.variants
        for seed in range(1, options.seeds + 1)
    ]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        found = dict(zip(runs, pool.map(errors_of, runs), strict=True))
    print(f"{'':<36}" + "".join(f"{rows + ', ' + a:>22}" for rows in ROWS for a in ANSWERS))
    for variant in options.variants:
        print(_line(variant, [errors for run, errors in found.items() if run.variant == variant]))
    if REFERENCE in options.variants:
        alike = [run for run in runs if run.variant == REFERENCE]
        print(_line(f"{len(alike)} networks that answer together", [together(alike)]))


def errors_of(run: Run) -> Errors:
    """Train one run, unless that is done, and return its errors."""
    torch.set_num_threads(1)
    checkpoint = train(RECIPE, run.table, run.folder, changes=run.changes)[-1]
    return _errors(run, network_of(checkpoint.folder))


def together(runs: Sequence[Run]) -> Errors:
    """Return the errors of several runs of one variant that answer as one ensemble."""
    predictors = [network_of(run.folder / "checkpoint") for run in runs]
    members = [member for each in predictors for member in each.ensemble.members]
    first = predictors[0]
    first.ensemble = Ensemble(members, first.ensemble.reader)
    return _errors(runs[0], first)


def _errors(run: Run, predictor: QECatalyticPredictor) -> Errors:
    settings = read_recipe(RECIPE, run.changes)
    _, held_out, reported = split_table(training_plan(settings, RECIPE, run.table, run.folder))
    errors: Errors = {}
    for name, rows in zip(ROWS, (held_out, reported), strict=True):
        truth_R = np.array([row.energy_ev for row in rows])
        for answer, energy_R in _answers(predictor, rows).items():
            errors[answer, name] = float(np.abs(energy_R - truth_R).mean())
    return errors


def _answers(predictor: QECatalyticPredictor, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    examples = predictor.ensemble.reader.read([row.configuration() for row in rows])
    output: EnsembleOutput = predictor.ensemble.answer_examples(examples)
    answers = {
        "mean": output.energy(predictor.modes[GRAPH_MODE].regression_share),
        "regression": output.regression_R,
        "tokens": output.token_R,
    }
    if TEXT_MODE in predictor.modes:
        alone = predictor.ensemble.answer_examples([e.without_graph() for e in examples])
        answers["text alone"] = alone.energy(predictor.modes[TEXT_MODE].regression_share)
    return answers


def _line(variant: str, found: Sequence[Errors]) -> str:
    cells = [
        mean_and_spread([errors[answer, rows] for errors in found if (answer, rows) in errors])
        for rows in ROWS
        for answer in ANSWERS
    ]
    return f"{variant:<36}" + "".join(f"{cell:>22}" for cell in cells)


def mean_and_spread(values: Sequence[float]) -> str:
    """Return the mean over seeds and half their range as one cell of a table."""
    if not values:
        return "-"
    spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def network_of(folder: Path) -> QECatalyticPredictor:
    """Return the predictor in a folder, which must be a network."""
    predictor = load_predictor(folder)
    assert isinstance(predictor, QECatalyticPredictor)
    return predictor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What each part is worth.")
    parser.add_argument("--table", type=Path, required=True, help="benchmark table of fg")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
