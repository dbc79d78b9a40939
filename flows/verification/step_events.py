"""The way of a relaxation's steps from a worker into the database, one way and narrow.

A worker under Dask sends each step as an event, from whichever machine; any other worker appends it
to a file in the work folder that it shares with the driver. Both outlive the worker's being killed.
The driver alone writes to the database.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from screening_db.calculations.attempts import sha256_of
from screening_db.calculations.steps import ReportedStep, Step, record_reported_steps
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queue.lease import Lease

if TYPE_CHECKING:
    from dask.distributed import Client

TOPIC = "sabatier-steps"
REPORT_INTERVAL_S = 1.0  # steps that follow sooner wait for the end of the try, when all are stored
POLL_S = 1.0
_TOLD = _FOLDER = "told"
_OLD_S = 86_400.0


class StepReporter:
    """Tells the driver of the steps of one try; this is on a worker."""

    def __init__(self, lease: Lease, work: str) -> None:
        self._key, self._last = lease.key, time.monotonic()
        self._file = Path(work) / _FOLDER / f"{sha256_of(*lease.key)}.jsonl" if work else None

    def report(self, step: Step, structure: Callable[[], str]) -> None:
        """Tell a step and the structure there, unless it follows too soon after another."""
        if time.monotonic() - self._last < REPORT_INTERVAL_S:
            return
        self._last = time.monotonic()
        from dask.distributed import get_worker  # takes long, and short relaxations tell nothing

        told = asdict(ReportedStep(*self._key, step, structure()))
        try:
            get_worker().log_event(TOPIC, {_TOLD: told})  # Dask adds words of its own
        except ValueError:  # no worker of Dask's
            self._append(told)

    def end(self) -> None:
        """Remove the file: what it tells comes with the end of the try."""
        if self._file is not None:
            with suppress(OSError):  # nothing is there, or it is in the way of nobody
                self._file.unlink()

    def _append(self, told: dict[str, Any]) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # a step that cannot be shown is no reason to stop
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")


class StepListener:
    """Hears what workers tell; ``store`` puts it into the database."""

    def __init__(self, db: Database, work: str) -> None:
        self._db = db
        self._told: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._folder = _ToldFolder(Path(work) / _FOLDER) if work else None

    def listen(self, client: "Client") -> None:
        """Hear the workers of a Dask cluster, for as long as its client is there."""
        client.subscribe_topic(TOPIC, lambda event: self._told.put(event[1][_TOLD]))

    def store(self) -> None:
        """Store what was told since the last time."""
        steps = [_told_step(values) for values in _taken(self._told)]
        if steps:
            record_reported_steps(self._db, steps)
        for path, news in self._folder.news() if self._folder else ():
            running = record_reported_steps(self._db, [_told_step(values) for values in news])
            if not running:
                _remove_old(path)


@contextmanager
def steps_recorded(db: Database, work: str) -> Iterator[StepListener]:
    """Store the steps that workers tell until the block ends; ``work`` is their work folder."""
    listener, ended = StepListener(db, work), threading.Event()

    def store() -> None:
        while not ended.wait(POLL_S):
            with suppress(DatabaseError):  # busy: the steps come with the end of the try
                listener.store()

    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        ended.set()
        thread.join()


def _remove_old(path: Path) -> None:
    """Remove what a worker that was killed has left; young files may be of another database."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _OLD_S:
            path.unlink()


def _taken(told: "SimpleQueue[dict[str, Any]]") -> Iterator[dict[str, Any]]:
    with suppress(Empty):
        while True:
            yield told.get_nowait()


def _told_step(values: Mapping[str, Any]) -> ReportedStep:
    return ReportedStep(**{**values, "step": Step(**values["step"])})


class _ToldFolder:
    """The files that workers append their steps to, read on from where they were read before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def news(self) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
        """Yield each file that has grown, with what is new in it; a line half written waits."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with suppress(OSError):
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    data = file.read()
                lines = data[: data.rfind(b"\n") + 1]
                if lines:
                    self._read[path] = self._read.get(path, 0) + len(lines)
                    yield path, [json.loads(line) for line in lines.splitlines()]
