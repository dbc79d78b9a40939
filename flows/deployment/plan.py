"""Turn a deployments file into one deployment for each flow of a campaign."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from prefect.flows import Flow
from prefect.schedules import Cron, Interval, Schedule

from flows.config.campaign import Campaign, load_campaign
from flows.config.deployments import DeployedCampaign, Deployments, Pool, Scheduled
from flows.config.settings import Settings
from flows.deployment import flows as deployed
from flows.errors import CampaignError
from screening_db.database import has_password, hide_passwords

_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)  # so that deploying again moves no schedule
_QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}

# Variables whose value is a secret: a key, or an address with one in its path. Others hold the path
# of a file with it (PGPASSFILE, SABATIER_CLUSTER_KEY), or count tokens.
_SECRET_NAME = re.compile(
    r"passw|passphrase|(^|_|pg)pass$|secret|token$|(api|access|private|auth|ssh)_?key$|"
    r"auth_string$|headers$|webhook(_url)?$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(file|path|name|ref|_mount)$", re.IGNORECASE)  # to where a secret is kept
# NAME=value, as in environments and queries of addresses, and --name value.
_ASSIGNED = re.compile(r"([A-Za-z][\w-]*)=([^\s&]+)|--([A-Za-z][\w-]*)\s+([^\s-]\S*)")
_SECRET_ADDRESS = re.compile(
    r"https?://(hooks\.slack\.com|discord(app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com)/",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"\s*\{\{\s*prefect\.blocks\.[^{}]+\}\}\s*$")  # filled in where a run starts


@dataclass(frozen=True)
class PlannedDeployment:
    """One deployment: a flow with parameters and perhaps a schedule, under a campaign's name."""

    flow: Flow[Any, Any]
    campaign: str
    parameters: dict[str, Any]
    schedule: Schedule | None
    when: str  # as people read it

    @property
    def name(self) -> str:
        """Return the name by which Prefect knows it."""
        return f"{self.flow.name}/{self.campaign}"


@dataclass(frozen=True)
class DeploymentContext:
    """Where a deployments file is used: its folder, its name there, working folder, settings."""

    folder: Path
    file: str
    here: Path
    settings: Settings


def plan_deployments(stated: Deployments, context: DeploymentContext) -> list[PlannedDeployment]:
    """Return the deployments that a file states.

    Raises:
        CampaignError: a campaign file is bad, two campaigns have one name, or a password would be
            shown in Prefect.
    """
    found: dict[str, str] = {}
    made: list[PlannedDeployment] = []
    for section in stated.campaigns:
        campaign = load_campaign(context.folder / section.file)
        if campaign.name in found:
            raise CampaignError(
                f"a campaign is deployed once, {campaign.name} is named by {found[campaign.name]} "
                f"and {section.file}; remove one or rename it"
            )
        found[campaign.name] = section.file
        made += _of_campaign(section, campaign, stated, context)
    return made


def job_variables(pool: Pool, here: Path) -> dict[str, Any]:
    """Return the job variables of Prefect's pool for each run.

    A run of a process pool works in the folder of the deployment, as a command there would. Its
    command is stated, because Prefect would start ``uv run`` in a folder with a pyproject.toml.

    Args:
        pool: The pool as the deployments file states it.
        here: The folder of that file.

    Returns:
        The variables by name; those of the environment under ``env``.

    Raises:
        CampaignError: a variable has a secret, by its name or in its value.
    """
    env = _QUIET | dict(pool.variables.get("env") or {})
    others = {name: value for name, value in pool.variables.items() if name != "env"}
    for name, text in _leaves("", others | {"env": env}):
        if _is_secret(name, text) or _has_secret(text):
            raise CampaignError(
                f"variable {name} of the pool has a password or another secret, which everyone who "
                "sees the Prefect server would read; set it where the workers run instead, or name "
                'a block that keeps it: "{{ prefect.blocks.secret.NAME }}"'
            )
    if pool.type == "process":
        own: dict[str, Any] = {
            "working_dir": str(here),
            "command": f"{sys.executable} -m prefect.engine",
        }
    else:
        own = {"image": pool.image}
    return own | others | {"env": env}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each value with the nearest name above it."""
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str) and "value" in value:  # as Kubernetes lists variables
            yield from _leaves(value["name"], value["value"])
        for key, each in value.items():
            yield from _leaves(str(key), each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(name, each)
        yield name, " ".join(each for each in value if isinstance(each, str))  # words of a command
    elif value is not None and not isinstance(value, bool):
        yield name, str(value)


def _is_secret(name: str, text: str) -> bool:
    """Tell whether a name says that its value is a secret, and that is no block or variable."""
    name = name.replace("-", "_")
    is_named = _SECRET_NAME.search(name) and not _REFERENCE.search(name)
    return bool(is_named and text and not _BLOCK.match(text) and not text.startswith(("$", "{{")))


def _has_secret(text: str) -> bool:
    if hide_passwords(text) != text or _SECRET_ADDRESS.search(text):
        return True
    found = (each.groups() for each in _ASSIGNED.finditer(text))
    return any(_is_secret(first or second, a or b) for first, a, second, b in found)


def _of_campaign(
    section: DeployedCampaign, campaign: Campaign, stated: Deployments, context: DeploymentContext
) -> Iterator[PlannedDeployment]:
    common = _common(section, campaign, stated, context)

    def planned(flow: Flow[Any, Any], when: Scheduled, **own: Any) -> PlannedDeployment:
        own = {name: value for name, value in own.items() if value is not None}
        schedule, words = _schedule(when, stated.timezone)
        return PlannedDeployment(flow, campaign.name, common | own, schedule, words)

    if section.screen is not None:
        yield planned(deployed.screen_campaign, section.screen)
    if section.verify is not None:
        options = section.verify.model_dump(exclude={"cron", "every_s", "profile"})
        profile = _path_in_runs(section.verify.profile, stated.pool, context)
        yield planned(deployed.verify_campaign, section.verify, **options, profile=profile)
    if section.loop is not None:
        rounds = section.loop.model_dump(exclude={"cron", "every_s"})
        yield planned(deployed.loop_campaign, section.loop, **rounds)
    if section.fine_tune_after is not None:
        tuning = planned(deployed.fine_tune_campaign, Scheduled())
        yield tuning
        yield planned(
            deployed.count_labels_campaign,
            Scheduled(every_s=section.count_labels_s),
            after=section.fine_tune_after,
            start=tuning.name,
        )


def _common(
    section: DeployedCampaign, campaign: Campaign, stated: Deployments, context: DeploymentContext
) -> dict[str, Any]:
    given = {
        "file": _path_in_runs(section.file, stated.pool, context),
        "campaign": campaign.name,
        "database": _database(section, campaign, stated.pool, context),
        "deployments": _path_in_runs(context.file, stated.pool, context),
    }
    return {name: value for name, value in given.items() if value is not None}


def _path_in_runs(path: str | None, pool: Pool, context: DeploymentContext) -> str | None:
    """Return a path of the deployments file as its runs find it."""
    if path is None:
        return None
    if pool.folder is not None:
        return str(PurePosixPath(pool.folder) / path)
    return os.path.normpath(context.folder.absolute() / path)


def _database(
    section: DeployedCampaign, campaign: Campaign, pool: Pool, context: DeploymentContext
) -> str | None:
    """Return the database that runs are given; None where each finds it as a command would.

    Prefect shows the parameters of runs, so a URL with a password is none of them.
    """
    if section.database is not None:
        if has_password(section.database):
            raise CampaignError(
                f"the database of {campaign.name} has a password, which everyone who sees the "
                "Prefect server would read; set SABATIER_DATABASE where the workers run instead"
            )
        is_file = "://" not in section.database
        return _path_in_runs(section.database, pool, context) if is_file else section.database
    configured = context.settings.database
    if campaign.database is not None or configured is None or pool.type != "process":
        return None
    if "://" in configured:
        return None if has_password(configured) else configured
    return os.path.normpath(context.here / configured)


def _schedule(when: Scheduled, timezone: str) -> tuple[Schedule | None, str]:
    if when.cron is not None:
        return Cron(when.cron, timezone=timezone), f"{when.cron} ({timezone})"
    if when.every_s is not None:
        every = timedelta(seconds=when.every_s)
        return Interval(every, anchor_date=_ANCHOR, timezone=timezone), f"every {every}"
    return None, "by hand"
