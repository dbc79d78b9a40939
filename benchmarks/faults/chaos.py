"""Disturb a campaign at random moments, run it to its end, and count the rows that differ.

    PYTHONPATH=.:tests python benchmarks/faults/chaos.py --seeds 0-49
    PYTHONPATH=.:tests python benchmarks/faults/chaos.py --summary

Each seed screens a campaign, verifies it, promotes another checkpoint, re-scores, runs a round of
the loop and rolls back, and is disturbed one to four times on the way: the whole group of
processes, the command alone or one of its workers is killed (or told to end by SIGTERM or SIGINT),
and on PostgreSQL the server is stopped and started. Every command is given again until it ends
well. Then every row and every prediction file is compared with those of an undisturbed run. A line
is added to the tally at once; seeds that it holds are not run again.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

TALLY = Path(__file__).with_name("chaos.csv")
ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    "COLUMNS": "120",
    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a process with one thread is forked
}


@dataclass(frozen=True)
class TallyLine:
    """What one seed came to."""

    seed: int
    backend: str
    disturbances: str
    lost: int
    doubled: int
    different: int
    faults: str  # commands that ended otherwise than they should; nothing where all is well
    seconds: float
    commit: str


def main() -> None:
    """Read what is asked for, and run the seeds that the tally has not got."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-9", help="such as 3 or 0-49 or 3,10-19")
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--tally", type=Path, default=TALLY)
    parser.add_argument("--again", action="store_true", help="also seeds that the tally has")
    parser.add_argument("--plain", action="store_true", help="start commands as users do: slower")
    parser.add_argument("--keep", type=Path, help="keep the folders of seeds that differ here")
    parser.add_argument("--summary", action="store_true", help="print what the tally holds")
    stated = parser.parse_args()
    if stated.summary:
        print(summary(read_tally(stated.tally)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers end too
    known = {(line.seed, line.backend) for line in read_tally(stated.tally)}
    seeds = [
        s for s in stated_seeds(stated.seeds) if stated.again or (s, stated.backend) not in known
    ]
    bad = 0
    for line in run_seeds(seeds, stated.backend, is_plain=stated.plain, keep=stated.keep):
        append(stated.tally, line)
        print(*(f"{name}={value}" for name, value in asdict(line).items()), flush=True)
        bad += bool(line.lost or line.doubled or line.different or line.faults)
    sys.exit(1 if bad else 0)


def stated_seeds(text: str) -> list[int]:
    """Return the seeds that a text stands for: numbers and ranges, as in ``3,10-19``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def run_seeds(
    seeds: Sequence[int], backend: str, *, is_plain: bool, keep: Path | None
) -> Iterator[TallyLine]:
    """Run an undisturbed campaign, then each seed; yield what it came to as it ends."""
    if not seeds:
        return
    git = ["git", "-C", str(TALLY.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip()
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="sabatier-chaos-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SABATIER_"))}
        os.environ.clear()
        os.environ.update(
            clean | ENVIRONMENT | {"HOME": str(work), "PREFECT_HOME": str(work / "p")}
        )
        # The environment is set: what is imported from here on reads it.
        from support.faults.commands import import_everything
        from support.faults.disturbed import Place, compare_runs, run_script
        from support.faults.moments import draw_disturbances
        from support.faults.postgres import running_postgres

        checkpoints = trained_checkpoints(work)
        import_everything()
        server = stack.enter_context(running_postgres()) if backend == "postgresql" else None
        api = {} if is_plain else {"SABATIER_PREFECT_API_URL": stack.enter_context(prefect_api())}

        def place(name: str, address: str) -> Place:
            variables = {**api, "SABATIER_DATABASE": address}
            made = Place(work / name, address, variables, checkpoints, is_plain)
            made.prepare()
            return made

        undisturbed = place("undisturbed", str(work / "undisturbed" / "runs" / "screening.db"))
        first = run_script(undisturbed)
        if first.faults:
            raise SystemExit(f"the undisturbed run did not end well: {'; '.join(first.faults)}")
        print(f"undisturbed in {first.seconds:.0f} s: {first.counts[-1][1]}", flush=True)
        for seed in seeds:
            name = f"seed{seed}"
            address = str(work / name / "runs" / "screening.db")
            if server is not None:
                address = new_database(server.url, f"chaos_{seed}")
            here = place(name, address)
            drawn = draw_disturbances(seed, first.counts, with_server=server is not None)
            run = run_script(here, drawn, server)
            found = compare_runs(here, undisturbed)
            faults = [*run.faults, *([found.first[:300]] if found.first else [])]
            yield TallyLine(
                seed,
                backend,
                "; ".join(run.done),
                found.lost,
                found.doubled,
                found.different,
                "; ".join(faults),
                round(run.seconds, 1),
                commit,
            )
            if keep is not None and faults:
                shutil.copytree(here.folder, keep / name, dirs_exist_ok=True)
            shutil.rmtree(here.folder)


def trained_checkpoints(work: Path) -> tuple[Path, Path]:
    """Train two small checkpoints that predict otherwise, in a process that ends."""
    from support.faults.commands import in_own_process

    def train() -> None:
        from support.invented import train_invented

        train_invented(work / "invented", seed=0)
        train_invented(work / "other", seed=7)

    in_own_process(train)
    return work / "invented", work / "other"


@contextmanager
def prefect_api() -> Iterator[str]:
    """Yield the address of one Prefect server for all commands; they are forked with its secret."""
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    from flows.cluster.prefect_server import embedded_server

    with (
        embedded_server() as server,
        temporary_settings({PREFECT_API_AUTH_STRING: server.secret}),
    ):
        yield server.wait()


def new_database(server: str, name: str) -> str:
    """Make an empty database and return its URL."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def read_tally(file: Path) -> list[TallyLine]:
    """Return the lines of a tally; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return [
            TallyLine(
                int(row["seed"]),
                row["backend"],
                row["disturbances"],
                int(row["lost"]),
                int(row["doubled"]),
                int(row["different"]),
                row["faults"],
                float(row["seconds"]),
                row["commit"],
            )
            for row in csv.DictReader(lines)
        ]


def append(file: Path, line: TallyLine) -> None:
    """Add a line to a tally."""
    is_new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        if is_new:
            writer.writerow([field.name for field in fields(TallyLine)])
        writer.writerow(asdict(line).values())


def summary(lines: Sequence[TallyLine]) -> str:
    """Return what a tally came to, as RESULTS shows it; of a seed that was run again, the end."""
    rows, last = [], {(line.seed, line.backend): line for line in lines}
    for backend in sorted({name for _, name in last}):
        own = [line for line in last.values() if line.backend == backend]
        drawn = [d for line in own for d in line.disturbances.split("; ")]
        done = [d for d in drawn if d and not d.endswith((": too late", ": no worker"))]
        kinds = Counter(" ".join(d.split()[-2:]) for d in done)
        phases = Counter(d.split(" (")[0].split(" +")[0] for d in done)
        rows += [
            f"{backend}: {len(own)} seeds, {len(done)} disturbances; "
            f"{sum(x.lost for x in own)} rows lost, {sum(x.doubled for x in own)} doubled, "
            f"{sum(x.different for x in own)} different; "
            f"{sum(bool(x.faults) for x in own)} seeds with another fault; "
            f"{sum(x.seconds for x in own) / max(len(own), 1):.0f} s a seed",
            "  " + ", ".join(f"{name} {count}" for name, count in kinds.most_common()),
            "  " + ", ".join(f"{name} {count}" for name, count in phases.most_common()),
        ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
