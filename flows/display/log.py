"""Log to the terminal: warnings, or every step with --verbose. Every command imports this.

Modules log to ``logging.getLogger(__name__)``, so the loggers of our packages stand above them.
"""

import logging
import sys

PACKAGES = ("flows", "tasks", "model", "screening_db")


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
