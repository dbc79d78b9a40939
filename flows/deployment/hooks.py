"""When a deployed run has ended: its webhook is notified, with one line about its results."""

import logging
from collections import Counter
from contextlib import closing
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.config.deployments import EVENTS, Event
from flows.config.settings import read_settings
from flows.deployment.webhook import WebhookMessage, send_message
from screening_db.database.engine import open_database
from screening_db.learning.labels import new_labels
from screening_db.queries.campaigns import funnel_counts
from screening_db.queries.ranking import top_candidates

logger = logging.getLogger(__name__)

REFUSED = "Refused"  # the name of a completed state: a gate said no, and nothing failed


def notify_webhook(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the end of a run to its webhook, where it has one; a fault is only logged."""
    given = flow_run.parameters
    try:
        url = given.get("webhook") or read_settings().webhook
        event: Event = "finished"
        if not state.is_completed():
            event = "failed"
        elif state.name == REFUSED:
            event = "refused"
        if not url or event not in given.get("notify", EVENTS):
            return
        fault = send_message(url, _message(flow.name, event, flow_run, state))
    except Exception as error:  # whatever it is, the run has ended and is not harmed
        fault = f"{type(error).__name__}: {error}"
    if fault:
        logger.warning("the webhook was not notified: %s", fault)


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


def screening_summary(database: str, campaign: str) -> str:
    """Return how many placements are in which state, and the first candidate."""
    states: Counter[str] = Counter()
    with closing(open_database(database, create=False)) as db:
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
    with closing(open_database(database, create=False)) as db:
        return f"{new_labels(db, campaign).count} labels may be trained on"
