"""Stop a run cleanly on Ctrl-C or SIGTERM, whatever the libraries in between make of it."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """The run was asked to stop; ``status`` is what the process ends with."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


@contextmanager
def stop_on_signal() -> Iterator[None]:
    """Raise ``StoppedError`` from the block when the process is asked to stop.

    The signal raises KeyboardInterrupt, on which event loops and Prefect clean up and then raise
    what they like; once a signal came, whatever ends the block means that it was stopped.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        # Libraries log what they were torn away from, with tracebacks; the run says it in one line.
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    except BaseException as error:
        if received:
            raise StoppedError(received[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_cleanly_on_signal(message: str) -> Iterator[None]:
    """End the process with one line where it is asked to stop within the block."""
    try:
        with stop_on_signal():
            yield
    except StoppedError as stopped:
        print(f"sabatier: {message}", file=sys.stderr)
        sys.exit(stopped.status)
