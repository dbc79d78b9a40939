"""Tell a webhook what became of a run: JSON by POST, bounded in time, and never a run's failure."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

DEADLINE_S = 20.0  # for all tries together: a run waits no longer for who is told of it
TRY_S = 5.0
TRIES = 3
PAUSE_S = 1.0  # before the second try, then twice as long each time
_AGAIN = frozenset({408, 425, 429})  # refusals that pass, beside faults of the server


@dataclass(frozen=True)
class RetryLimits:
    """How long one try may take, how often is tried, and how long all of it may take (s)."""

    try_s: float = TRY_S
    tries: int = TRIES
    pause_s: float = PAUSE_S
    deadline_s: float = DEADLINE_S


@dataclass(frozen=True)
class WebhookMessage:
    """What is told; ``text`` is one line for people, which Slack and its like show as it is."""

    event: str  # finished, failed or refused
    text: str
    what: str  # screen, verify, loop, fine-tune
    campaign: str
    run: str = ""
    run_id: str = ""
    detail: str = ""

    def payload(self) -> dict[str, str]:
        """Return the JSON object that is sent."""
        return {
            "text": self.text,
            "event": self.event,
            "what": self.what,
            "campaign": self.campaign,
            "run": self.run,
            "run_id": self.run_id,
            "detail": self.detail,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def send_message(url: str, message: WebhookMessage, limits: RetryLimits | None = None) -> str:
    """Send ``message`` and return why it did not arrive, or nothing where it did.

    The sender is a thread that is left behind at the deadline: a server that answers one byte at a
    time cannot hold a run.
    """
    limits = limits or RetryLimits()
    outcome = [f"no answer within {limits.deadline_s:g} s"]

    def send() -> None:
        outcome[0] = _sent(url, message.payload(), limits)

    sender = threading.Thread(target=send, name="webhook", daemon=True)
    sender.start()
    sender.join(limits.deadline_s)
    return outcome[0]


def _sent(url: str, payload: Mapping[str, Any], limits: RetryLimits) -> str:
    fault = ""
    for number in range(limits.tries):
        if number:
            time.sleep(limits.pause_s * 2 ** (number - 1))
        fault, again = _tried(url, payload, limits.try_s)
        if not again:
            break
    return fault


def _tried(url: str, payload: Mapping[str, Any], timeout_s: float) -> tuple[str, bool]:
    """Return what was wrong with one try, and whether another may help."""
    try:
        with httpx.stream("POST", url, json=payload, timeout=timeout_s) as answer:
            status = answer.status_code  # what it says beside is not read
    except httpx.InvalidURL as fault:
        return f"{type(fault).__name__}: {fault}", False
    except (httpx.HTTPError, OSError, ValueError) as fault:
        return f"{type(fault).__name__}: {fault}", True
    if 200 <= status < 300:
        return "", False
    return f"status {status}", status >= 500 or status in _AGAIN
