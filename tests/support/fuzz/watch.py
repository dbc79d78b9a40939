"""Time and memory of one input, and what it came to."""

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from model.errors import SabatierError

LONGEST_S = 10.0  # of the processor: a busy machine says nothing about an input
_HANGS_S = 120.0  # by the clock, for what waits and does not compute
MOST_MB = 500.0
_CAP_MB = 2_000  # beyond it the process is not given more, so that the machine is not lost
_STATUS = Path("/proc/self/status")


class TookTooLongError(BaseException):
    """An input took longer than ``LONGEST_S``; no reader may take it for a fault of the input."""


@dataclass
class Tally:
    """What the inputs of one part came to."""

    refused: int = 0
    answered: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)  # input and error
    slowest_s: float = 0.0
    most_mb: float = 0.0

    @property
    def inputs(self) -> int:
        """Return how many inputs were tried."""
        return self.refused + self.answered + len(self.failures)


def try_input(tally: Tally, act: Callable[[], object], shown: str) -> None:
    """Run ``act`` and count whether it refused its input in one line, answered, or failed."""
    before_mb = _resident_mb("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    begin = time.process_time()
    failure, is_refused = "", False
    try:
        with _limited():
            act()
    except SabatierError as refusal:
        lines = str(refusal).strip().splitlines()
        failure = "" if len(lines) == 1 else f"{len(lines)} lines: {refusal}"
        is_refused = True
    except (Exception, TookTooLongError) as error:  # the finding that is searched for
        failure = f"{type(error).__name__}: {error}"
    took_s, used_mb = time.process_time() - begin, _resident_mb("VmHWM") - before_mb
    tally.slowest_s, tally.most_mb = max(tally.slowest_s, took_s), max(tally.most_mb, used_mb)
    if not failure and used_mb > MOST_MB:
        failure = f"took {used_mb:.0f} MB"
    tally.refused += is_refused and not failure
    tally.answered += not is_refused and not failure
    if failure:
        tally.failures.append((shown, " ".join(failure.split())[:500]))


@contextmanager
def _limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size_mb = _resident_mb("VmSize")
    if size_mb:
        resource.setrlimit(resource.RLIMIT_AS, (int(size_mb + _CAP_MB) * 2**20, hard))
    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, LONGEST_S),
        (signal.SIGALRM, signal.ITIMER_REAL, _HANGS_S),
    )
    previous = [signal.signal(number, _stop) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _stop(*_: object) -> None:
    raise TookTooLongError(f"more than {LONGEST_S:g} s of the processor, or {_HANGS_S:g} s in all")


def _resident_mb(name: str) -> float:
    """Return a size of this process as Linux counts it; 0 elsewhere."""
    if not _STATUS.exists():
        return 0.0
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0
