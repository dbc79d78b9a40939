"""Wait for what another process does, however slow the machine."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], limit_s: float = 120.0) -> bool:
    """Return whether ``condition`` came true before the limit, which only a fault should reach."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
