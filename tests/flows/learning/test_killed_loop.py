"""A loop that is killed in each of its phases leaves no process, and goes on to the same end."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.paths import CACHES, REPOSITORY
from support.processes import wait_until

from model.checkpoint import BASELINE, seal, write_json

pytestmark = [pytest.mark.slow, pytest.mark.full]

# The training waits a while, to be killed, and leaves another checkpoint, which the gate accepts:
# that the processes of a real one end is tested with what starts them.
COMMAND = """
import shutil
import time

from flows.cli.app import main
from flows.learning import fine_tuning
from model.checkpoint import BASELINE, open_checkpoint, seal, write_json
from model.data.splits import dataset_id
from model.files import new_folder
from model.fine_tuning.gate import GateVerdict

def trained(parent, labels, folder, *_, **__):
    time.sleep(5)
    with new_folder(folder / "checkpoint") as fresh:
        shutil.copytree(OTHER, fresh, dirs_exist_ok=True)
        write_json(fresh / "card.json", {"dataset": dataset_id(labels)})
        seal(fresh, BASELINE)
    return open_checkpoint(folder / "checkpoint")

def accepted(*_, **__):
    return GateVerdict(True, (), {"errors": {}})

if __name__ == "__main__":
    fine_tuning.held_out_pairs = lambda _: frozenset()
    fine_tuning.run_fine_tuning.__kwdefaults__ |= {"train": trained, "judge": accepted}
    main()
"""
# Each phase has begun once the query counts as many rows.
PHASES = {
    "screening": ("select count(*) from chunk", 1),
    "verification": ("select count(*) from label", 1),
    "fine-tuning": ("select count(*) from fine_tuning where state = 'running'", 1),
    "re-scoring": ("select count(*) from promotion", 1),
}
LABELS = "select candidate_id, level, round(energy_ev, 6), trainable from label order by 1, 2"
RANKS = "select pair_id, rank from rank order by 1"
ROUNDS = "select number, state, labels, verdict from round order by 1"
TWICE = (
    "select count(*) from (select item, level from calculation where state in ('converged', "
    "'anomalous') group by item, level having count(*) > 1)"
)
FAILURES = "select key from queue, json_each(failures) where key <> 'run_stopped'"


@dataclass(frozen=True)
class LoopFolder:
    """A folder with the campaign, in which the loop is run."""

    folder: Path

    def start(self) -> subprocess.Popen[str]:
        home = {"HOME": str(self.folder), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        home["XDG_CACHE_HOME"] = str(CACHES)
        return subprocess.Popen(
            [sys.executable, "loop.py", "loop", "tiny.yaml", "--rounds", "1"],
            cwd=self.folder,
            env=os.environ | home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        try:
            file = self.folder / "runs" / "screening.db"
            with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # not made yet
            return [(0,)]

    def end(self) -> None:
        process = self.start()
        _, err = process.communicate(timeout=1800)
        assert process.returncode == 0, err


@pytest.fixture
def new_folder(
    new_workplace: Callable[[], Any],
    checkpoint: Path,
    other_checkpoint: Path,
    tmp_path: Path,
) -> Callable[[], LoopFolder]:
    """Return a function that makes a folder with the tiny campaign, whose model has a card."""
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    write_json(model / "card.json", {})
    seal(model, BASELINE)

    def make() -> LoopFolder:
        workplace = new_workplace()
        workplace.edit(str(checkpoint), str(model))
        (workplace.folder / "loop.py").write_text(f"OTHER = {str(other_checkpoint)!r}\n{COMMAND}")
        return LoopFolder(workplace.folder)

    return make


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def kill_once(loop: LoopFolder, phase: str) -> list[psutil.Process]:
    """Kill the loop in a phase; return the processes below it."""
    query, rows = PHASES[phase]
    process = loop.start()
    assert wait_until(
        lambda: loop.ask(query)[0][0] >= rows or process.poll() is not None, limit_s=900
    )
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -9, err  # and it had not ended before
    return below


def test_a_loop_killed_in_each_phase_ends_as_an_undisturbed_one(
    new_folder: Callable[[], LoopFolder],
) -> None:
    whole, killed = new_folder(), new_folder()
    whole.end()
    for phase in PHASES:
        below = kill_once(killed, phase)
        assert below, phase
        wait_until(lambda left=below: not any(map(is_running, left)), 5.0)
        left = [process.cmdline() for process in below if is_running(process)]
        assert left == [], phase
    killed.end()
    for query in (LABELS, RANKS, ROUNDS):
        assert killed.ask(query) == whole.ask(query)
    assert len(whole.ask(LABELS)) == 4
    assert killed.ask(TWICE) == [(0,)]
    assert killed.ask(FAILURES) == []
