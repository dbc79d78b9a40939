"""Steps of a running relaxation, from a worker to the database.

A worker under Dask sends each step as an event, from whichever machine; any other worker appends it
to a file in the work folder that it shares with the driver. A worker that is killed loses neither.
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

from screening_db.calculations import ReportedStep, Step, record_reported_steps, sha256_of
from screening_db.database import Database
from screening_db.errors import DatabaseError
from screening_db.queue.lease import Lease

if TYPE_CHECKING:
    from dask.distributed import Client

TOPIC = "sabatier-steps"
REPORT_INTERVAL_S = 1.0  # steps that follow sooner are stored when the attempt ends
POLL_S = 1.0
_FOLDER = "steps"
_STEP = "step"  # under which an event of Dask's holds it
_OLD_S = 86_400.0


class StepReporter:
    """Reports the steps of one attempt to the driver; this is on a worker."""

    def __init__(self, lease: Lease, work: str) -> None:
        self._key, self._last = lease.key, time.monotonic()
        self._file = Path(work) / _FOLDER / f"{sha256_of(*lease.key)}.jsonl" if work else None

    def report(self, step: Step, structure: Callable[[], str]) -> None:
        """Report a step and the structure there, unless it follows too soon after another."""
        if time.monotonic() - self._last < REPORT_INTERVAL_S:
            return
        self._last = time.monotonic()
        from dask.distributed import (
            get_worker,  # takes long to import, and short relaxations report nothing
        )

        reported = asdict(ReportedStep(*self._key, step, structure()))
        try:
            get_worker().log_event(TOPIC, {_STEP: reported})  # Dask adds keys of its own
        except ValueError:  # no worker of Dask's
            self._append(reported)

    def end(self) -> None:
        """Remove the file: its steps come with the result as well."""
        if self._file is not None:
            with suppress(OSError):  # it is not there, or may stay
                self._file.unlink()

    def _append(self, reported: dict[str, Any]) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # a step that cannot be shown is no reason to stop
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(reported) + "\n")


class StepListener:
    """Receives the steps that workers report; ``store`` puts them into the database."""

    def __init__(self, db: Database, work: str) -> None:
        self._db = db
        self._reported: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._folder = _StepFiles(Path(work) / _FOLDER) if work else None

    def listen(self, client: "Client") -> None:
        """Receive events of a Dask cluster, for as long as its client is open."""
        client.subscribe_topic(TOPIC, lambda event: self._reported.put(event[1][_STEP]))

    def store(self) -> None:
        """Store the steps that came since the last call."""
        steps = [_reported_step(values) for values in _taken(self._reported)]
        if steps:
            record_reported_steps(self._db, steps)
        for path, news in self._folder.news() if self._folder else ():
            running = record_reported_steps(self._db, [_reported_step(values) for values in news])
            if not running:
                _remove_old(path)


@contextmanager
def steps_recorded(db: Database, work: str) -> Iterator[StepListener]:
    """Store steps as workers report them, until the block ends; ``work`` is their work folder."""
    listener, ended = StepListener(db.without_waiting(), work), threading.Event()

    def store() -> None:
        while not ended.wait(POLL_S):
            with suppress(DatabaseError):  # busy or away: the steps come with the result
                listener.store()

    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        ended.set()
        thread.join()


def _remove_old(path: Path) -> None:
    """Remove the file of a worker that was killed; young files may be of another database."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _OLD_S:
            path.unlink()


def _taken(reported: "SimpleQueue[dict[str, Any]]") -> Iterator[dict[str, Any]]:
    with suppress(Empty):
        while True:
            yield reported.get_nowait()


def _reported_step(values: Mapping[str, Any]) -> ReportedStep:
    return ReportedStep(**{**values, "step": Step(**values["step"])})


class _StepFiles:
    """The files that workers append their steps to, read on from where they were read before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def news(self) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
        """Yield each file that has grown, with its new lines; a half-written line waits."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with suppress(OSError):
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    data = file.read()
                lines = data[: data.rfind(b"\n") + 1]
                if lines:
                    self._read[path] = self._read.get(path, 0) + len(lines)
                    yield path, [json.loads(line) for line in lines.splitlines()]
