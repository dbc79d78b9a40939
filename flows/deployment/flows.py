"""The flows that are deployed: each does the same as the command of its name.

They take a campaign file and simple values, so that a server can store them. Where a run computes
is decided inside it, as on the command line; a task runner bound to a deployed flow would be lost.
Each ends with one line about its results, which the server shows and the webhook gets that the
deployments file names.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from prefect import Flow, flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.concurrency.sync import concurrency
from prefect.deployments import run_deployment
from prefect.states import Completed

from flows.config.campaign import Campaign, load_campaign
from flows.config.settings import read_settings
from flows.deployment.webhook import REFUSED, label_summary, notify_webhook, screening_summary
from flows.errors import CampaignError
from flows.records.locations import choose_database
from flows.screening.start import start_screening
from flows.verification.flow import VerificationRequest, start_verification
from screening_db.database import has_password, open_to_read
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.labels import new_labels
from screening_db.queries import find_campaign

VERIFICATIONS = "sabatier-verifications"  # the limit on verifications that go on at once

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _campaign_flow(name: str, flow_run_name: str) -> Callable[[Callable[_P, _T]], Flow[_P, _T]]:
    """Return the decorator of a flow that notifies the webhook however it ends."""
    return flow(
        name=name,
        flow_run_name=flow_run_name,
        on_completion=[notify_webhook],
        on_failure=[notify_webhook],
        on_crashed=[notify_webhook],
    )


@_campaign_flow(name="screen-campaign", flow_run_name="screen {campaign}")
def screen_campaign(
    file: Path,
    campaign: str,
    database: str | None = None,
    deployments: Path | None = None,
) -> State[None]:
    """Run a campaign, or go on with one that was stopped: ``sabatier screen FILE``."""
    stated = _require_name(file, campaign, database)
    start_screening(file, database)
    return Completed(message=screening_summary(_database(stated, database), campaign))


@_campaign_flow(name="verify-campaign", flow_run_name="verify {campaign}")
def verify_campaign(
    file: Path,
    campaign: str,
    database: str | None = None,
    limit: int | None = None,
    on: str | None = None,
    workers: int | None = None,
    jobs: int | None = None,
    profile: Path | None = None,
    deployments: Path | None = None,
) -> State[None]:
    """Drain the queue of a campaign: ``sabatier verify CAMPAIGN``.

    Runs of all campaigns share the limit ``sabatier-verifications`` and wait for their turn.
    """
    stated = _require_name(file, campaign, database)
    request = VerificationRequest(on, workers, jobs, profile)  # type: ignore[arg-type]  # the file was checked
    with concurrency(VERIFICATIONS):
        start_verification(campaign, limit, None, request, database, stated.database)
    return Completed(message=label_summary(_database(stated, database), campaign))


@_campaign_flow(name="loop-campaign", flow_run_name="loop {campaign}")
def loop_campaign(
    file: Path,
    campaign: str,
    rounds: int = 3,
    budget: int | None = None,
    database: str | None = None,
    deployments: Path | None = None,
) -> State[None]:
    """Screen, verify, learn and re-score in rounds: ``sabatier loop FILE``."""
    from flows.learning.start import start_loop  # torch takes seconds, and registering should not

    where = _database(_require_name(file, campaign, database), database)
    with concurrency(VERIFICATIONS):
        last = start_loop(file, rounds, budget, database)
    refused = last.note if last.verdict == "rejected" else ""
    return _ended(refused, label_summary(where, campaign))


@_campaign_flow(name="fine-tune-campaign", flow_run_name="fine-tune {campaign}")
def fine_tune_campaign(
    file: Path,
    campaign: str,
    database: str | None = None,
    deployments: Path | None = None,
) -> State[None]:
    """Fine-tune on a campaign's labels: ``sabatier fine-tune CAMPAIGN``."""
    from flows.learning.start import start_fine_tuning  # torch takes seconds

    stated = _require_name(file, campaign, database)
    verdict = start_fine_tuning(campaign, database, stated=stated.database).verdict
    refused = "; ".join(verdict.reasons) if verdict else ""
    return _ended(refused, label_summary(_database(stated, database), campaign))


@flow(
    name="count-labels-campaign",
    flow_run_name="count labels of {campaign}",
    on_failure=[notify_webhook],
    on_crashed=[notify_webhook],
)
def count_labels_campaign(
    file: Path,
    campaign: str,
    after: int,
    start: str,
    database: str | None = None,
    deployments: Path | None = None,
) -> State[None]:
    """Run the deployment ``start`` once ``after`` labels are new since the last fine-tuning."""
    where = _database(_require_name(file, campaign, database), database)
    return Completed(message=start_when_due(where, campaign, after=after, start=start))


def _require_name(file: Path, campaign: str, database: str | None) -> Campaign:
    """Return the campaign; runs and limits go by the name that it had when it was deployed.

    A database with its password is refused: Prefect keeps and shows what a run was given.
    """
    if database is not None and has_password(database):
        raise CampaignError(
            "a run is given a database without its password, which Prefect has kept now: change "
            "it, and set SABATIER_DATABASE or PGPASSWORD where the worker runs"
        )
    stated = load_campaign(file)
    if stated.name != campaign:
        raise CampaignError(
            f"{file} was deployed as campaign {campaign} and now names {stated.name}; deploy it "
            "again, or give it its name back"
        )
    return stated


def _database(campaign: Campaign, option: str | None) -> str:
    return choose_database(read_settings(), campaign.database, option)


def _ended(refused: str, summary: str) -> State[None]:
    if refused:
        return Completed(name=REFUSED, message=f"the gate refused: {refused}")
    return Completed(message=summary)


# Prefect's automations could start it on events, and its server evaluates them without a network.
# But verification writes labels without Prefect too (on the command line, in jobs of a cluster), an
# event that is emitted while the server is away is lost, and its threshold counts within a window
# of time. The database has every label, so it is queried on a schedule.
def start_when_due(database: str, campaign: str, *, after: int, start: str) -> str:
    """Run the deployment ``start`` if ``after`` labels are new; return one line about it.

    The run's key names the last fine-tuning and the newest label, so a later call starts nothing
    until another label comes, and a start that failed is not repeated for ever.
    """
    with closing(open_to_read(database, wait_s=read_settings().database_wait_s)) as db:
        find_campaign(db, campaign)
        begun = fine_tunings(db, campaign=campaign)  # failed ones too
        last = begun[-1] if begun else None
        found = new_labels(db, campaign, last.started_at if last else None)
    line = f"{found.count} new labels, {after} start a fine-tuning"
    if found.count < after:
        return line
    key = f"{campaign}:{last.id if last else 'first'}:{found.count}:{found.newest}"
    run = run_deployment(start, timeout=0, as_subflow=False, idempotency_key=key)
    return f"{line}: {cast(FlowRun, run).name}"  # not awaited, because no event loop runs here
