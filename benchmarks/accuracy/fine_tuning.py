"""How much fine-tuning betters a region that the model has not seen, and what it forgets.

    python benchmarks/accuracy/fine_tuning.py labels --out DIR            (EMT, minutes)
    python benchmarks/accuracy/fine_tuning.py methods --out DIR           (hours; resumable)
    python benchmarks/accuracy/fine_tuning.py rounds --out DIR
    python benchmarks/accuracy/fine_tuning.py table --out DIR

The region: stepped (211) surfaces of A3B (L1_2) alloys. The embedded checkpoint has learnt from
these alloys' flat surfaces and from the stepped surfaces of pure metals alone. Labels are EMT
relaxations of the product's own placements. What is tested on are whole alloys, none of which has
a label that is learnt. Fold 4 of the training table is not read.

Units: eV.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import MANIFEST, Checkpoint, open_checkpoint, seal
from model.data.kept_rows import read_hold_out
from model.data.rows import UNRELAXED, Row, read_rows
from model.data.splits import CALIBRATE, GATE, LABEL_SHARES, TRAIN, assign_part, rows_of_part
from model.fine_tuning.fine_tune import (
    fine_tune,
    fine_tune_member,
    reader_for,
    starting_network,
)
from model.fine_tuning.gate import judge_candidate
from model.fine_tuning.job import tuning_job
from model.fine_tuning.tune import SHARES, interpolated
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble, load_members
from model.network.qe_catalytic import QECatalytic
from model.text.tokenizer import GRAPH, load_tokenizer, token_ids
from model.training.recipes import TuneRecipe
from tasks.enumeration import SlabSpec, alloy_specs, enumerate_slabs, resolve_bulks
from tasks.training_data.emt_set import ADSORBATES, METALS, SlabJob, relax_all
from tasks.training_data.table import read_tables, write_table

SIZES = (25, 50, 100, 200, 400)
METHODS = ("heads", "lora", "all")
SHARE_TESTED = 0.25  # of the alloys


@dataclass(frozen=True)
class Run:
    """One member fine-tuned, and a share of the way to it; errors are means of absolute ones."""

    labels: int
    method: str
    replay_share: float
    seed: int
    share: float
    cpu_seconds: float
    region_before_ev: float
    region_after_ev: float
    levels_before_ev: dict[str, float]  # of the hold-out, part gate
    levels_after_ev: dict[str, float]
    hold_out_before_ev: float
    hold_out_after_ev: float


def region_jobs(placements: int, seed: int) -> list[SlabJob]:
    """Return the region's slabs, each with as many placements of adsorbates taken by lot."""
    bulks, _ = resolve_bulks(alloy_specs(METALS, ("L1_2",)))
    spec = SlabSpec(max_miller=1, millers=((2, 1, 1),), min_thickness_ang=5.0, min_in_plane_ang=5.5)
    slabs = [slab for bulk in bulks for slab in enumerate_slabs(bulk, spec)[0]]
    slabs.sort(key=lambda slab: slab.slab_id)
    each = round(placements / len(slabs))
    jobs = []
    for slab in slabs:
        rng = np.random.default_rng([seed, int(slab.slab_id[:8], 16)])
        names = rng.choice(ADSORBATES, size=each)
        counts = [(name, int((names == name).sum())) for name in ADSORBATES if name in names]
        jobs.append(SlabJob(slab, tuple(counts)))
    return jobs


def make_labels(out: Path, *, placements: int, seed: int, processes: int) -> None:
    """Relax the region's placements, each slab once, and join them into one table."""
    parts = list(
        relax_all(region_jobs(placements, seed), out=out / "emt", seed=seed, processes=processes)
    )
    rows = write_table(out / "region.parquet", read_tables(parts))
    print(f"{rows} rows in {out / 'region.parquet'}")


def region(out: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of alloys to learn from and of those to test on (unrelaxed)."""
    rows = [replace(row, set="labels") for row in read_rows(out / "region.parquet")]
    alloys = sorted({row.group for row in rows})
    order = np.random.default_rng(0).permutation(len(alloys))
    tested = {alloys[place] for place in order[: round(SHARE_TESTED * len(alloys))]}
    learn = [row for row in rows if row.group not in tested]
    return learn, [r for r in rows if r.group in tested and r.kind in UNRELAXED]


def draw(learn: Sequence[Row], labels: int, seed: int) -> list[Row]:
    """Return so many labels to learn from, and sixty more that sigma is fitted on."""
    pairs = np.array(sorted({row.pair for row in learn}))
    order = np.random.default_rng(seed).permutation(len(pairs))
    if labels + 60 > len(pairs):
        raise SystemExit(f"the region has {len(pairs)} labels, {labels + 60} are asked for")
    parts = dict.fromkeys(pairs[order[:labels]], TRAIN)
    parts |= dict.fromkeys(pairs[order[-60:]], CALIBRATE)
    return [replace(row, part=parts[row.pair]) for row in learn if row.pair in parts]


def one_member(model: str, out: Path) -> Checkpoint:
    """Return a checkpoint of the first member alone, to compare methods at a third of the cost."""
    folder = out / "one-member"
    if not (folder / MANIFEST).exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(open_checkpoint(model).folder, folder)
        for file in folder.glob("member-[1-9]*.safetensors"):
            file.unlink()
        seal(folder, "qe-catalytic")
    return open_checkpoint(folder)


def errors(checkpoint: Checkpoint, rows: Sequence[Row]) -> np.ndarray:
    """Return (R,) absolute errors of the regression, which in ``mini`` is all of the answer."""
    config = QECatalyticConfig.from_json(checkpoint.read_json("qe-catalytic.json")["network"])
    tokenizer = load_tokenizer(checkpoint.folder / "tokenizer.json")
    token = token_ids(tokenizer, [GRAPH])[0]
    members = load_members(config, token, checkpoint.folder, torch.device("cpu"))
    return off(members, Reader(config, tokenizer), rows)


def off(members: Sequence[QECatalytic], reader: Reader, rows: Sequence[Row]) -> np.ndarray:
    """Return (R,) absolute errors of members that answer together."""
    output = Ensemble(members, reader).answer([row.configuration() for row in rows])
    return np.asarray(np.abs(output.regression_R - np.array([row.energy_ev for row in rows])))


def by_level(rows: Sequence[Row], error_R: np.ndarray) -> dict[str, float]:
    """Return the mean absolute error at each level."""
    level_R = np.array([row.level for row in rows])
    return {str(name): float(error_R[level_R == name].mean()) for name in np.unique(level_R)}


def compare_methods(
    out: Path,
    model: str,
    *,
    sizes: Sequence[int],
    methods: Sequence[str],
    shares: Sequence[float],
    seeds: Sequence[int],
) -> None:
    """Append what comes of each fine-tuning that ``out`` does not hold yet."""
    done = {(r.labels, r.method, r.replay_share, r.seed) for r in runs(out)}
    for case in product(sizes, methods, shares, seeds):
        if case not in done:
            found = compare(out, one_member(model, out), *case)
            with (out / "runs.jsonl").open("a") as file:
                file.writelines(json.dumps(asdict(each)) + "\n" for each in found)


def compare(
    out: Path, parent: Checkpoint, labels: int, method: str, replay_share: float, seed: int
) -> list[Run]:
    """Fine-tune one member once and look at it at every share of the way.

    Args:
        out: The folder of the benchmark, which holds the rows of the region.
        parent: The checkpoint that is fine-tuned.
        labels: How many labels are learnt.
        method: Which weights are trained, as in ``TuneRecipe``.
        replay_share: The share of old rows in an epoch, 0 to 1.
        seed: Of the draw of labels and of the training.

    Returns:
        One run for each of ``SHARES``; errors are means of absolute errors in eV.
    """
    learn, tested = region(out)
    held_out = rows_of_part(read_hold_out(parent), GATE)
    recipe = TuneRecipe(method=method, replay_share=replay_share, seed=seed, watch_every=1000)
    folder = out / "runs" / f"{method}-{labels}-{replay_share}-{seed}"
    job = tuning_job(parent, draw(learn, labels, seed), folder, recipe, "cpu")
    before = starting_network(job, 0)
    started = time.process_time()
    after = fine_tune_member(job, 0)
    spent = time.process_time() - started
    reader = reader_for(job, before)
    known_R, region_R = off([before], reader, held_out), off([before], reader, tested)
    found = []
    for share in SHARES:
        network = interpolated(before, after, share)
        left_R = off([network], reader, held_out)
        found.append(
            Run(
                labels,
                method,
                replay_share,
                seed,
                share,
                round(spent, 1),
                float(region_R.mean()),
                float(off([network], reader, tested).mean()),
                by_level(held_out, known_R),
                by_level(held_out, left_R),
                float(known_R.mean()),
                float(left_R.mean()),
            )
        )
        print(found[-1], flush=True)
    return found


def runs(out: Path) -> Iterator[Run]:
    """Yield the runs that are done."""
    file = out / "runs.jsonl"
    for line in file.read_text().splitlines() if file.exists() else []:
        yield Run(**json.loads(line))


def tune_in_rounds(out: Path, model: str, *, rounds: int, labels: int, seed: int) -> None:
    """Learn so many new labels in each round, from what served before, and let the gate decide.

    Labels of a round are those verified: 70 % of them are learnt, the rest calibrates and judges.

    Args:
        out: The folder of the benchmark; a line for each round is added to its ``rounds.jsonl``.
        model: The name or folder of the checkpoint that serves first.
        rounds: How many rounds.
        labels: New labels (pairs) in each round.
        seed: Of the order of labels, the trainings and the gate.
    """
    serving, before = open_checkpoint(model), None
    learn, tested = region(out)
    pairs = np.array(sorted({row.pair for row in learn}))
    order = pairs[np.random.default_rng(seed).permutation(len(pairs))]
    for number in range(1, rounds + 1):
        labelled = set(order[: number * labels])
        rows = [replace(r, part=_part(r)) for r in learn if r.pair in labelled]
        folder = out / f"round-{number}"
        started, spent = time.monotonic(), _cpu_seconds()
        candidate = fine_tune(serving.folder, rows, folder, TuneRecipe(seed=seed + number))
        seconds, spent = time.monotonic() - started, _cpu_seconds() - spent
        verdict = judge_candidate(
            serving.folder, candidate.folder, rows, "emt", seed=seed, before=before
        )
        line = {
            "round": number,
            "labels": len(labelled),
            "method": candidate.read_json("card.json")["method"],
            "share": candidate.read_json("card.json")["share"],
            "region_before_ev": float(errors(serving, tested).mean()),
            "region_after_ev": float(errors(candidate, tested).mean()),
            "seconds": round(seconds),
            "cpu_seconds": round(spent),
            "verdict": verdict.to_json(),
        }
        with (out / "rounds.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line, indent=1), flush=True)
        if verdict.accepted:
            serving, before = candidate, verdict


def _part(row: Row) -> str:
    return assign_part(f"{row.group} {row.adsorbate}", LABEL_SHARES)


def _cpu_seconds() -> float:
    """Return what this process and those it waited for have computed."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def table(out: Path) -> list[str]:
    """Return the runs as a table: change of the error on region and hold-out, by share."""
    found = list(runs(out))
    heads = " | ".join(f"{share:g}" for share in SHARES)
    lines = [
        f"| labels | method | replay | runs | CPU s | {heads} |",
        "|---" * (5 + len(SHARES)) + "|",
    ]
    for key in sorted({(r.labels, r.method, r.replay_share) for r in found}):
        here = [r for r in found if (r.labels, r.method, r.replay_share) == key]
        cells = [_cell([r for r in here if r.share == share]) for share in SHARES]
        seeds = len({r.seed for r in here})
        cpu = np.mean([r.cpu_seconds for r in here])
        row = [*map(str, key), str(seeds), f"{cpu:.0f}", *cells]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _cell(here: Sequence[Run]) -> str:
    region = np.mean([r.region_after_ev / r.region_before_ev - 1 for r in here])
    hold_out = np.mean([r.hold_out_after_ev / r.hold_out_before_ev - 1 for r in here])
    return f"{region:+.0%} / {hold_out:+.1%}"


def main() -> None:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=("labels", "methods", "rounds", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--placements", type=int, default=1800, help="to relax, of step labels")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--replay", type=float, nargs="+", default=(0.5,))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.step == "labels":
        make_labels(options.out, placements=options.placements, seed=7, processes=options.processes)
    elif options.step == "methods":
        compare_methods(
            options.out,
            options.model,
            sizes=options.sizes,
            methods=options.methods,
            shares=options.replay,
            seeds=options.seeds,
        )
    elif options.step == "rounds":
        tune_in_rounds(options.out, options.model, rounds=3, labels=200, seed=1)
    else:
        print("\n".join(table(options.out)))


if __name__ == "__main__":
    main()
