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
from typing import Any

from dask.distributed import Client, get_worker

from screening_db.calculations import sha256_of
from screening_db.engine import Database
from screening_db.errors import DatabaseError
from screening_db.lease import Lease
from screening_db.steps import Step, ToldStep, record_told

TOPIC = "sabatier-steps"
TELL_S = 1.0  # steps that follow sooner wait for the end of the try, when all are stored
POLL_S = 1.0
_FOLDER = "told"
_OLD_S = 86_400.0


class Teller:
    """Tells the driver of the steps of one try; this is on a worker."""

    def __init__(self, lease: Lease, work: str) -> None:
        self._key, self._last = lease.key, time.monotonic()
        self._file = Path(work) / _FOLDER / f"{sha256_of(*lease.key)}.jsonl" if work else None

    def tell(self, step: Step, structure: Callable[[], str]) -> None:
        """Tell a step and the structure there, unless it follows too soon after another."""
        if time.monotonic() - self._last < TELL_S:
            return
        self._last = time.monotonic()
        told = asdict(ToldStep(*self._key, step, structure()))
        try:
            get_worker().log_event(TOPIC, told)
        except ValueError:  # no worker of Dask's
            self._append(told)

    def end(self) -> None:
        """Remove the file: what it tells comes with the end of the try."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _append(self, told: dict[str, Any]) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # a step that cannot be shown is no reason to stop
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")


@contextmanager
def steps_recorded(db: Database, client: Client | None, work: str) -> Iterator[None]:
    """Store the steps that workers tell until the block ends.

    They come as events to ``client``, whose last block this is, and as files in the folder
    ``work``.
    """
    told: SimpleQueue[dict[str, Any]] = SimpleQueue()
    folder = _ToldFolder(Path(work) / _FOLDER) if work else None
    ended = threading.Event()

    def store() -> None:
        while not ended.wait(POLL_S):
            with suppress(DatabaseError):  # busy: the steps come with the end of the try
                _store(db, told, folder)

    if client is not None:
        client.subscribe_topic(TOPIC, lambda event: told.put(event[1]))
    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _store(db: Database, told: "SimpleQueue[dict[str, Any]]", folder: "_ToldFolder | None") -> None:
    steps = [_told_step(values) for values in _taken(told)]
    if steps:
        record_told(db, steps)
    for path, news in folder.news() if folder else ():
        running = record_told(db, [_told_step(values) for values in news])
        if not running:
            _remove_old(path)


def _remove_old(path: Path) -> None:
    """Remove what a worker that was killed has left; young files may be of another database."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _OLD_S:
            path.unlink()


def _taken(told: "SimpleQueue[dict[str, Any]]") -> Iterator[dict[str, Any]]:
    with suppress(Empty):
        while True:
            yield told.get_nowait()


def _told_step(values: Mapping[str, Any]) -> ToldStep:
    return ToldStep(**{**values, "step": Step(**values["step"])})


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
