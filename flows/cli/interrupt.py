"""Stop a run cleanly on Ctrl-C or SIGTERM, even where libraries catch the signal."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def exit_cleanly_on_signal(message: str) -> Iterator[None]:
    """End the process with one line if SIGINT or SIGTERM arrives within the block.

    The signal raises KeyboardInterrupt, on which event loops and Prefect clean up and then raise
    exceptions of their own; once a signal came, any exception means that the run was stopped.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # Libraries log the interruption with tracebacks; the run reports it in one line.
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    except BaseException:
        if not received:
            raise
        print(f"sabatier: {message}", file=sys.stderr)
        sys.exit(128 + received[0])  # as a shell reports a process that a signal ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
