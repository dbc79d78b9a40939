"""Draw how graphs and texts align after stage 1, and predictions with error bars against labels.

    python benchmarks/accuracy/plots.py alignment --table TABLE --run RUN --out alignment.png
    python benchmarks/accuracy/plots.py parity --table TABLE --set fg --out parity.png

``RUN`` is the folder of ``sabatier train``. Alignment is that of held-out rows; parity that of
fold 4, which took part in neither training nor calibration.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from flows.learning.training import find_recipe, read_recipe, training_plan
from model.data.rows import UNRELAXED, read_rows
from model.network.batches import Reader
from model.prediction.predictor import load_predictor
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.text.tokenizer import load_tokenizer
from model.training.pretraining import RETRIEVAL_ROWS, retrieval, similarity
from model.training.run import split_table, train_member
from model.training.samples import make_samples
from model.uncertainty.metrics import accuracy_scores
from model.uncertainty.modes import GRAPH_MODE

REPORT_FOLD = 4


def main() -> None:
    """Draw the plot that is asked for."""
    options = _options()
    if options.plot == "alignment":
        alignment(options)
    else:
        parity(options)
    print(f"{options.out} written")


def alignment(options: argparse.Namespace) -> None:
    """Draw the cosines of held-out texts and graphs, sorted by level and adsorbate.

    Args:
        options: The recipe, the table, the folder of the training run and the image's path.
    """
    recipe = find_recipe(options.recipe)
    plan = training_plan(read_recipe(recipe), recipe, options.table, options.run)
    network = train_member(plan, 0, until="align")
    reader = Reader(network.config, load_tokenizer(options.run / "tokenizer.json"))
    _, held_out, _ = split_table(plan)
    every = max(1, len(held_out) // RETRIEVAL_ROWS)
    rows = sorted(held_out[::every][:RETRIEVAL_ROWS], key=lambda r: (r.set, r.adsorbate, r.text))
    samples = make_samples(rows, reader, {})
    seen = similarity(network.eval(), samples, int(reader.tokenizer.pad_token_id))
    found = retrieval(seen)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=(1.2, 1))
    image = left.imshow(seen.cosine_RR, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=left, label="cosine")
    starts = [i for i in range(len(rows)) if i == 0 or rows[i].set != rows[i - 1].set]
    left.set_yticks(starts, [rows[i].set for i in starts])
    left.set_xticks(starts, [""] * len(starts))
    left.set_xlabel("graph")
    left.set_ylabel("text")
    left.set_title(f"{len(rows)} held-out rows: R@1 {found['R@1']:.2f}, R@5 {found['R@5']:.2f}")
    bins = np.linspace(-1, 1, 60)
    same_RR = seen.is_same_RR
    for chosen, label in ((same_RR, "same text"), (~same_RR, "another text")):
        mean = float(seen.cosine_RR[chosen].mean())
        right.hist(
            seen.cosine_RR[chosen], bins, density=True, alpha=0.6, label=f"{label}, mean {mean:.2f}"
        )
    right.set_xlabel("cosine of text and graph")
    right.set_ylabel("density")
    right.legend(frameon=False)
    _save(figure, options.out)


def parity(options: argparse.Namespace) -> None:
    """Draw predictions against labels with 90 % intervals, and errors against sigma.

    Args:
        options: The checkpoint, the table, the set of it and the image's path. Energies in eV.

    Raises:
        SystemExit: the checkpoint is no QE-Catalytic one.
    """
    rows = [r for r in read_rows(options.table) if r.set == options.set]
    rows = [r for r in rows if r.fold == REPORT_FOLD and r.kind in UNRELAXED]
    predictor = load_predictor(options.model)
    if not isinstance(predictor, QECatalyticPredictor):
        raise SystemExit(f"{options.model} is no QE-Catalytic checkpoint")
    predictions = predictor.predict([row.configuration() for row in rows])
    energy_R = np.array([p.energy_ev for p in predictions])
    sigma_R = np.array([p.sigma_ev for p in predictions])
    truth_R = np.array([row.energy_ev for row in rows])
    law = predictor.modes[GRAPH_MODE].calibration.level(rows[0].level).law
    reach = float(law.half_width(np.array([0.9]))[0])
    scores = accuracy_scores(energy_R, sigma_R, truth_R, law)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6))
    left.errorbar(
        truth_R, energy_R, reach * sigma_R, fmt="o", ms=2.5, lw=0.5, alpha=0.6, color="tab:blue"
    )
    ends = [min(truth_R.min(), energy_R.min()), max(truth_R.max(), energy_R.max())]
    left.plot(ends, ends, color="black", lw=0.8)
    left.set_xlabel("published adsorption energy, eV")
    left.set_ylabel("predicted from the unrelaxed placement, eV")
    left.set_title(
        f"{options.set}, fold {REPORT_FOLD}: MAE {scores.mae_ev:.3f} eV, "
        f"90 % intervals hold {scores.coverage_90:.1%}",
        fontsize=10,
    )
    error_R = np.abs(energy_R - truth_R)
    right.loglog(sigma_R, np.maximum(error_R, 1e-4), "o", ms=2.5, alpha=0.6)
    grid = np.geomspace(sigma_R.min(), sigma_R.max(), 50)
    right.loglog(grid, reach * grid, color="black", lw=0.8, label="90 % of errors lie below")
    right.set_xlabel("sigma, eV")
    right.set_ylabel("absolute error, eV")
    right.set_title(f"rank correlation {scores.spearman:.2f}", fontsize=10)
    right.legend(frameon=False)
    _save(figure, options.out)


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Alignment and parity as PNG.")
    plots = parser.add_subparsers(dest="plot", required=True)
    align = plots.add_parser("alignment")
    align.add_argument("--recipe", default="mini", help="a preset or a file")
    align.add_argument("--run", type=Path, required=True, help="folder of sabatier train")
    par = plots.add_parser("parity")
    par.add_argument("--model", default="mini", help="an embedded name or a folder")
    par.add_argument("--set", default="fg")
    for each in (align, par):
        each.add_argument("--table", type=Path, required=True, help="a training table")
        each.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
