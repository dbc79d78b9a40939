"""Print how many placements a second one core answers: graph, text, both heads and sigma included.

    python benchmarks/speed/throughput.py --table train.parquet --models mini CHECKPOINT_FOLDER
    python benchmarks/speed/throughput.py --table train.parquet --presets mini mini-eqv2 small

CPU time of one thread; all take turns, so that their ratio holds on a noisy machine. A preset is
measured untrained and as one member: speed does not depend on what the weights are.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from flows.learning.training import find_recipe, read_recipe, training_plan
from model.data.rows import UNRELAXED, read_rows
from model.network.batches import Reader
from model.network.ensemble import Ensemble, EnsembleOutput
from model.prediction.predictor import load_predictor
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.text.stream_tokens import stream_tokens
from model.text.tokenizer import model_text, train_tokenizer
from model.training.run import new_network, split_table
from model.uncertainty.modes import GRAPH_MODE

ROWS = 1_000
TURNS = 3


@dataclass
class Timed:
    """One way to answer, and what it has taken so far."""

    name: str
    ensemble: Ensemble
    finish: Callable[[EnsembleOutput], object]  # what a prediction needs beside the networks
    seconds: float = 0.0
    tokens: int = 0


def main() -> None:
    """Print one line for each checkpoint and preset."""
    options = _options()
    torch.set_num_threads(1)
    rows = [row for row in read_rows(options.table) if row.kind in UNRELAXED]
    rows = rows[:: max(1, len(rows) // options.rows)]
    configurations = [row.configuration() for row in rows]
    timed = [_checkpoint(name) for name in options.models]
    timed += [_preset(name, options.table) for name in options.presets]
    for _ in range(TURNS):
        for each in timed:
            started = time.process_time()
            examples = each.ensemble.reader.read(configurations)
            each.finish(each.ensemble.answer_examples(examples))
            each.seconds += time.process_time() - started
            each.tokens += sum(example.tokens for example in examples)
    for each in timed:
        members = len(each.ensemble.members)
        print(
            f"{each.name}: {members} member{'s' if members > 1 else ''}, "
            f"{TURNS * len(configurations) / each.seconds:.0f} placements/s and "
            f"{each.tokens / each.seconds:.0f} tokens/s on one core"
        )


def _checkpoint(name: str) -> Timed:
    predictor = load_predictor(name)
    if not isinstance(predictor, QECatalyticPredictor):
        raise SystemExit(f"{name} is no QE-Catalytic checkpoint")
    return Timed(name, predictor.ensemble, predictor.modes[GRAPH_MODE].signal)


def _preset(name: str, table: Path) -> Timed:
    recipe = find_recipe(name)
    plan = training_plan(read_recipe(recipe), recipe, table, Path("runs"))
    train, _, _ = split_table(plan)
    texts = [model_text(row.level, row.text) for row in train]
    tokenizer = train_tokenizer(texts, whole=stream_tokens() if plan.designs else ())
    network = new_network(plan, train, tokenizer)
    ensemble = Ensemble([network], Reader(network.config, tokenizer))
    return Timed(f"preset {name}", ensemble, lambda answers: answers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Placements a second on one core.")
    parser.add_argument("--table", type=Path, required=True, help="a training table")
    parser.add_argument("--models", nargs="*", default=[], help="embedded names or folders")
    parser.add_argument("--presets", nargs="*", default=[], help="recipes in the wheel")
    parser.add_argument("--rows", type=int, default=ROWS, help="placements a turn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
