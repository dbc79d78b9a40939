"""Log a run to a file beside the database.

It stands apart from ``log``: handlers of files take a tenth of the start of a command to import.
"""

import logging
import logging.handlers
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.display.log import PACKAGES

_MAX_BYTES = 1_000_000  # then the log is kept as <name>.1 and begun anew


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
