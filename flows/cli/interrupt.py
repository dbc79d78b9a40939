"""Stop a run cleanly on Ctrl-C or SIGTERM, even where libraries catch the signal."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN_S = 0.05


@contextmanager
def exit_cleanly_on_signal(message: str) -> Iterator[None]:
    """End the process with one line if SIGINT or SIGTERM arrives within the block.

    The signal raises KeyboardInterrupt, on which event loops and Prefect clean up and then raise
    exceptions of their own; once a signal came, any exception means that the run was stopped.

    Python ignores an exception in a destructor or in the callback of a weak reference: a signal
    that comes there is sent once more.
    """
    received: list[int] = []
    report = sys.unraisablehook

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # Libraries log the interruption with tracebacks; the run reports it in one line.
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    def send_again(ignored: "sys.UnraisableHookArgs") -> None:
        if not received or not issubclass(ignored.exc_type, KeyboardInterrupt):
            report(ignored)
            return
        # From a thread, and later: here it would be ignored as well.
        repeat = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), received[-1]))
        repeat.daemon = True
        repeat.start()

    sys.unraisablehook = send_again
    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    except BaseException:
        if not received:
            raise
        print(f"sabatier: {message}", file=sys.stderr)
        sys.exit(128 + received[0])  # as a shell reports a process that a signal ended
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)
