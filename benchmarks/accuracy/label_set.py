"""Print what a set of labels at a potential's level is worth to a network that learns DFT.

    python benchmarks/accuracy/label_set.py --data DIR --labels benchmarks/labels/diep-r2scan

One network at half mini's width (``recipes/ablation.yaml``), trained three ways and over seeds:

from nothing  the DFT sets alone;
pretrained    the encoder learns the label set first, then all of it the DFT sets;
joint         both at once, each at its own level, through one encoder.

With ``--energies FILE``, which ``difference_on_wwl.py --write FILE`` makes, each is trained again
on what published energies differ by from the potential's, where it has one: its energy as an input.

Every run is kept under ``--runs`` and not repeated. Errors are of placements in fold 4, which no
run learns from, MAE in eV, mean over seeds and half their range. The first run prints how many rows
each table has: with few labels the difference between the ways is noise.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from ablations import RECIPE, STAGES, mean_and_spread, network_of
from safetensors.torch import save_file

from flows.learning.training import read_recipe, train, training_plan
from model.data.rows import UNRELAXED, Row
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.training.run import split_table
from tasks.training_data.assemble import DEFAULT, assemble_table

# How often a row is drawn; each set of labels half as often as it has rows.
WEIGHTS = "weights={wwl_simple: 0.8, wwl_oxygenates: 0.8, diep-r2scan: 0.5}"
NOTHING, PRETRAINED, JOINT = "from nothing", "pretrained", "joint"
WAYS = (NOTHING, PRETRAINED, JOINT)
Errors = Mapping[str, float]  # set -> MAE in eV


@dataclass(frozen=True)
class Tables:
    """The three training tables: of the DFT sets, of the label set, and of both."""

    dft: Path
    labels: Path
    both: Path


def main() -> None:
    """Train what is not trained yet, and print a line for each way."""
    parser = argparse.ArgumentParser(description="What a set of labels is worth.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--labels", type=Path, required=True, help="folder of sabatier label")
    parser.add_argument("--sets", nargs="+", default=list(DEFAULT), help="published sets")
    parser.add_argument("--energies", type=Path, help="the potential's energies of pairs, Parquet")
    parser.add_argument("--runs", type=Path, default=Path("runs/label-set"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = {"": _tables(given.data, given.labels, given.sets, given.runs)}
    if given.energies:
        tables[" + energy"] = _less_energies(tables[""], given.energies, given.runs / "energy")
    print("fold 4, MAE in eV".ljust(24) + "".join(f"{name:>18}" for name in given.sets))
    for way in given.ways:
        for name, learnt in tables.items():
            folder = learnt.dft.parent / way.replace(" ", "-")
            found = [
                errors_of(way, learnt, folder.with_name(f"{folder.name}-{seed}"), seed, given)
                for seed in range(1, given.seeds + 1)
            ]
            cells = (mean_and_spread([each[one] for each in found]) for one in given.sets)
            print(f"{way}{name}".ljust(24) + "".join(f"{cell:>18}" for cell in cells), flush=True)


def _tables(data: Path, labels: Path, sets: Sequence[str], folder: Path) -> Tables:
    """Write the tables that are not there yet; say how many labels are learnt from."""
    tables = Tables(*(folder / f"{name}.parquet" for name in ("dft", "labels", "both")))
    folder.mkdir(parents=True, exist_ok=True)
    for out, names, sources in (
        (tables.dft, sets, ()),
        (tables.labels, (), (labels,)),
        (tables.both, sets, (labels,)),
    ):
        if not out.exists():
            for report in assemble_table(data, None, out, names, sources):
                print("\n".join(report.lines()))
    return tables


def _less_energies(tables: Tables, energies: Path, folder: Path) -> Tables:
    """Write tables whose published energies are less those of the potential, where it has one."""
    folder.mkdir(parents=True, exist_ok=True)
    known = pd.read_parquet(energies)["energy_ev"]
    less = Tables(folder / tables.dft.name, tables.labels, folder / tables.both.name)
    for before, after in ((tables.dft, less.dft), (tables.both, less.both)):
        table = pq.read_table(before)
        pairs = table["pair"].to_pandas()
        print(f"{pairs.isin(known.index).sum():,} of {len(pairs):,} rows have the energy")
        left = table["energy_ev"].to_pandas() - pairs.map(known).fillna(0.0)
        column = table.schema.get_field_index("energy_ev")
        pq.write_table(table.set_column(column, "energy_ev", pa.array(left)), after)
    return less


def errors_of(
    way: str, tables: Tables, folder: Path, seed: int, given: argparse.Namespace
) -> Errors:
    """Train one network one way, unless that is done, and return its errors.

    Args:
        way: One of ``WAYS``.
        tables: The training tables.
        folder: Of this run.
        seed: Seed of every stage.
        given: Sets to report on, and changes of the recipe.

    Returns:
        MAE (eV) of each set's placements in the reported fold.
    """
    changes = [WEIGHTS, *given.changes, *(f"{stage}.seed={seed}" for stage in STAGES)]
    if way == PRETRAINED:
        changes.append(f"encoder_weights={_pretrained(tables.labels, folder, changes)}")
    table = tables.both if way == JOINT else tables.dft
    checkpoint = train(RECIPE, table, folder, changes=changes)[-1]
    plan = training_plan(read_recipe(RECIPE, changes), RECIPE, table, folder)
    _, _, reported = split_table(plan)
    return _errors(network_of(checkpoint.folder), reported, given.sets)


def _pretrained(table: Path, folder: Path, changes: Sequence[str]) -> Path:
    """Return the weights of an encoder that has learnt the label set and nothing else."""
    weights = folder.with_name(f"{folder.name}-encoder.safetensors")
    if not weights.exists():
        first = folder.with_name(f"{folder.name}-labels")
        stages = [each for each in changes if not each.startswith(("align.", "joint."))]
        made = train(RECIPE, table, first, changes=[*stages, "align=null", "joint=null"])[-1]
        encoder = network_of(made.folder).ensemble.members[0].encoder
        save_file(dict(encoder.state_dict()), weights)
    return weights


def _errors(predictor: QECatalyticPredictor, rows: Sequence[Row], sets: Sequence[str]) -> Errors:
    """Return the MAE (eV) of each set, of placements as a screening has them: unrelaxed."""
    errors = {}
    for name in sets:
        chosen = [row for row in rows if row.set == name and row.kind in UNRELAXED]
        answers = predictor.predict([row.configuration() for row in chosen])
        wrong_R = [a.energy_ev - row.energy_ev for a, row in zip(answers, chosen, strict=True)]
        errors[name] = float(np.abs(wrong_R).mean()) if wrong_R else float("nan")
    return errors


if __name__ == "__main__":
    main()
