"""A progress bar that counts items and estimates the time that is left."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.display.log import terminal_level

Advance = Callable[[int], None]


@contextmanager
def progress_bar(title: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    """Yield a function to call with the number of items that were done; the bar goes to stderr."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=Console(stderr=True),
        disable=terminal_level() > logging.WARNING,  # --quiet
    )
    with bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda count: bar.advance(task, count)
