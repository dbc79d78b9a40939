"""The function that a batch job runs: one calculation, stopped in time before the wall limit."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from submitit.core.job_environment import JobEnvironment

from flows.verification.executor import WorkItem, WorkResult
from flows.verification.worker import compute_work_item
from tasks.verification.engines import EngineError, FailureKind

WARNING = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]  # of the wall limit, some time before it
_SIGNALS = "signals"
FORMAT_FILE = "format"
# Of the pickles of WorkItem and WorkResult: raised where their fields change.
FORMAT = 2


def run_job(item: WorkItem, folder: Path) -> WorkResult:
    """Compute one work item; near the wall limit it ends as one that goes on in the next job."""
    try:
        with _warned(folder):
            return compute_work_item(item)
    except EngineError as stopped:  # the warning came where nothing was being computed
        return WorkResult(item.lease, failure=stopped.kind, message=str(stopped))


def was_warned(folder: Path) -> bool:
    """Return whether a job that left no result had been warned of its wall limit."""
    try:
        return WARNING in (folder / _SIGNALS).read_bytes()
    except OSError:
        return False


@contextmanager
def _warned(folder: Path) -> Iterator[None]:
    """Raise an ``EngineError`` in the block when the warning comes.

    Python runs a handler between two of its own instructions, and a program in C may not come back
    to them in time. So the interpreter also writes each signal's number to a file at once, for the
    driver to read where there is no result.
    """
    signals = os.open(
        folder / _SIGNALS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600
    )
    signal.signal(WARNING, _stop)  # instead of submitit's, which would begin the job anew
    signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.signal(WARNING, signal.SIG_IGN)  # the result is being written
        signal.set_wakeup_fd(-1)
        os.close(signals)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise EngineError(
        FailureKind.WALL_LIMIT,
        "the job came near its wall limit and was stopped; it goes on in the next job from its "
        "last geometry",
    )
