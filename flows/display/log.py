"""Log to the terminal (warnings, or every step with --verbose) and to a file beside the database.

Modules log to ``logging.getLogger(__name__)``, so the loggers of our packages stand above them.
"""

import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("flows", "tasks", "model", "screening_db")
_MAX_BYTES = 1_000_000  # then the log is kept as <name>.1 and begun anew


class TerminalHandler(logging.Handler):
    """Print records to the stderr of the moment, which a progress bar may have taken over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), file=sys.stderr)


def log_to_terminal(level: int) -> None:
    """Print records of ``level`` and above to stderr, each as one line."""
    handler = TerminalHandler(level)
    handler.setFormatter(logging.Formatter("sabatier: %(message)s"))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False  # Prefect gives the root logger a handler, which would repeat it


def terminal_level() -> int:
    """Return the level from which on the terminal shows records."""
    handlers = logging.getLogger(PACKAGES[0]).handlers
    return next((h.level for h in handlers if isinstance(h, TerminalHandler)), logging.WARNING)


class RunLogHandler(logging.handlers.RotatingFileHandler):
    """Write records to the run log; a full disk ends the run by itself, not through its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Leave out a record that cannot be written."""


@contextmanager
def run_log(file: Path) -> Iterator[None]:
    """Append the records of the block to ``file``, with time and level; the file stays small."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = RunLogHandler(file, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setLevel(logging.INFO)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
