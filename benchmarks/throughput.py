"""Print how many placements a second one core answers: graph, text, both heads and sigma included.

    python benchmarks/throughput.py --table train.parquet --models mini CHECKPOINT_FOLDER

CPU time of one thread; checkpoints take turns, so that their ratio holds on a noisy machine.
"""

import argparse
import time
from pathlib import Path

import torch

from model.modes import GRAPH_MODE
from model.predictor import QECatalyticPredictor, load_predictor
from model.rows import UNRELAXED, read_rows

ROWS = 1_000
TURNS = 3


def main() -> None:
    """Print one line for each checkpoint."""
    options = _options()
    torch.set_num_threads(1)
    rows = [row for row in read_rows(options.table) if row.kind in UNRELAXED]
    configurations = [row.configuration() for row in rows[:: max(1, len(rows) // ROWS)]]
    predictors = [_predictor(name) for name in options.models]
    seconds = dict.fromkeys(options.models, 0.0)
    tokens = dict.fromkeys(options.models, 0)
    for _ in range(TURNS):
        for name, predictor in zip(options.models, predictors, strict=True):
            started = time.process_time()
            examples = predictor.ensemble.reader.read(configurations)
            predictor.modes[GRAPH_MODE].doubt(predictor.ensemble.answer_examples(examples))
            seconds[name] += time.process_time() - started
            tokens[name] += sum(example.tokens for example in examples)
    for name, predictor in zip(options.models, predictors, strict=True):
        print(
            f"{name}: {len(predictor.ensemble.members)} members, "
            f"{TURNS * len(configurations) / seconds[name]:.0f} placements/s and "
            f"{tokens[name] / seconds[name]:.0f} tokens/s on one core"
        )


def _predictor(name: str) -> QECatalyticPredictor:
    predictor = load_predictor(name)
    if not isinstance(predictor, QECatalyticPredictor):
        raise SystemExit(f"{name} is no QE-Catalytic checkpoint")
    return predictor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Placements a second on one core.")
    parser.add_argument("--table", type=Path, required=True, help="a training table")
    parser.add_argument("--models", nargs="+", default=["mini"], help="names or folders")
    return parser.parse_args()


if __name__ == "__main__":
    main()
