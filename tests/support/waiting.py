"""Wait for what another process does, however slow the machine."""

import time
from collections.abc import Callable
from typing import Any

import psutil


def wait_until(condition: Callable[[], object], limit_s: float = 120.0) -> bool:
    """Return whether ``condition`` came true before the limit, which only a fault should reach."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def workers_of(process: Any) -> int:
    """Count the worker processes below a run, whatever `ps` would make of long paths."""
    try:
        children = psutil.Process(process.pid).children()
        return sum("spawn_main" in " ".join(child.cmdline()) for child in children)
    except psutil.NoSuchProcess:  # a child may end between being listed and being read
        return 0
