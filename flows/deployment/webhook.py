"""Notify a webhook of the end of a deployed run: JSON, bounded in time, never a run's failure."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.config.deployments import EVENTS, Event, load_deployments
from flows.config.settings import read_settings
from flows.deployment.webhook_address import Webhook, post_json
from screening_db.database import Database, open_to_read
from screening_db.learning.labels import new_labels
from screening_db.queries import funnel_counts, top_candidates


@dataclass(frozen=True)
class RetryLimits:
    """Limits of one attempt and of all together, in seconds.

    The pause before the second attempt is ``pause_s``, and twice as long before each further one.
    """

    try_s: float = 5.0
    tries: int = 3
    pause_s: float = 1.0
    deadline_s: float = 20.0  # for all attempts: a run waits no longer for its webhook


@dataclass(frozen=True)
class WebhookMessage:
    """The content of a message; ``text`` is one line for people, which Slack shows unchanged."""

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


def send_message(
    webhook: Webhook, message: WebhookMessage, limits: RetryLimits | None = None
) -> str:
    """Send a message and return why it did not arrive, or an empty string if it did.

    The sender is a thread that is left behind at the deadline: a server that answers one byte at a
    time cannot hold a run.

    Args:
        webhook: Where to.
        message: The content, sent as JSON.
        limits: How long and how often to try; None for the defaults.

    Returns:
        The last fault in one line; empty if the message arrived.
    """
    limits = limits or RetryLimits()
    outcome = [f"no answer within {limits.deadline_s:g} s"]

    def send() -> None:
        outcome[0] = _send_with_retries(webhook, message.payload(), limits)

    sender = threading.Thread(target=send, name="webhook", daemon=True)
    sender.start()
    sender.join(limits.deadline_s)
    return outcome[0]


def _send_with_retries(webhook: Webhook, payload: Mapping[str, Any], limits: RetryLimits) -> str:
    fault = ""
    for number in range(limits.tries):
        if number:
            time.sleep(limits.pause_s * 2 ** (number - 1))
        fault, again = post_json(webhook, payload, limits.try_s)
        if not again:
            break
    return fault


logger = logging.getLogger(__name__)

REFUSED = "Refused"  # the name of a completed state: a gate said no, and nothing failed


def notify_webhook(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the end of a run to its webhook, where it has one; a fault is only logged."""
    try:
        webhook, events = _webhook_of(flow_run.parameters.get("deployments"))
        event: Event = "finished"
        if not state.is_completed():
            event = "failed"
        elif state.name == REFUSED:
            event = "refused"
        if webhook is None or event not in events:
            return
        fault = send_message(webhook, _message(flow.name, event, flow_run, state))
    except Exception as error:  # whatever it is, the run has ended and is not harmed
        fault = f"{type(error).__name__}: {error}"
    if fault:
        logger.warning("the webhook was not notified: %s", fault)


def _webhook_of(file: str | None) -> tuple[Webhook | None, Sequence[Event]]:
    """Return the webhook of a deployments file, or of the environment, and its events.

    Prefect shows the parameters of a run to everybody who may use its server. So the file is one of
    them, and the webhook that it names is not.
    """
    settings = read_settings()
    own = Webhook(settings.webhook, settings.webhook_insecure) if settings.webhook else None
    if file is None:
        return own, EVENTS
    stated = load_deployments(Path(file))
    if stated.webhook is None:
        return own, stated.notify
    # A consent holds for the address beside which it stands, and for no other.
    return Webhook(stated.webhook, stated.webhook_insecure), stated.notify


def _message(flow_name: str, event: Event, run: FlowRun, state: State[Any]) -> WebhookMessage:
    what, campaign = flow_name.removesuffix("-campaign"), str(run.parameters.get("campaign", ""))
    detail = (state.message or "").strip()
    return WebhookMessage(
        event=event,
        text=f"{campaign}: {what} {event}" + (f": {detail}" if detail else ""),
        what=what,
        campaign=campaign,
        run=run.name,
        run_id=str(run.id),
        detail=detail,
    )


def _opened(address: str) -> Database:
    return open_to_read(address, wait_s=read_settings().database_wait_s)


def screening_summary(database: str, campaign: str) -> str:
    """Return how many placements are in which state, and the first candidate."""
    states: Counter[str] = Counter()
    with closing(_opened(database)) as db:
        for row in funnel_counts(db, campaign):
            if row.stage == "placement":
                states[row.state.replace("_", " ")] += row.count
        first = top_candidates(db, campaign, 1)
    line = f"{sum(states.values())} placements"
    line += "".join(f", {count} {state}" for state, count in sorted(states.items()))
    for best in first:
        line += (
            f"; first {best.bulk}{best.miller.replace(' ', '')} {best.adsorbate} "
            f"{best.energy_ev:+.2f} ± {best.sigma_ev:.2f} eV"
        )
    return line


def label_summary(database: str, campaign: str) -> str:
    """Return how many labels of the campaign may be trained on."""
    with closing(_opened(database)) as db:
        return f"{new_labels(db, campaign).count} labels may be trained on"
