"""Start a fine-tuning when enough labels are new: looked up in the database, on a schedule.

Prefect's automations could do it on events, and its server evaluates them without a network. But
verification writes labels without Prefect too (on the command line, in jobs of a cluster), an
event that is emitted while the server is away is lost, and its threshold counts within a window of
time. The database has every label, so it is queried.
"""

from contextlib import closing
from typing import cast

from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from screening_db.database.engine import open_database
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.labels import new_labels
from screening_db.queries.campaigns import find_campaign


def start_when_due(database: str, campaign: str, *, after: int, start: str) -> str:
    """Run the deployment ``start`` if ``after`` labels are new; return one line about it.

    Looking again starts nothing again until another label comes: the run's key names the last
    fine-tuning and the newest label. So a start that failed is not repeated for ever either.
    """
    with closing(open_database(database, create=False)) as db:
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
