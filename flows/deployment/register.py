"""Register the deployments of a file on a Prefect server; doing it again changes nothing."""

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)
from prefect.types.entrypoint import EntrypointType
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flows.addresses import shown_address
from flows.cluster.prefect_server import SECRET_FILE, scheduling_server
from flows.cluster.server_answer import require_answer
from flows.config.deployments import Deployments, Pool, load_deployments
from flows.config.settings import DEFAULT_DATABASE, Settings, read_settings
from flows.deployment.flows import VERIFICATIONS
from flows.deployment.plan import (
    DeploymentContext,
    PlannedDeployment,
    job_variables,
    plan_deployments,
)
from flows.display.tables import show_lines
from flows.errors import CampaignError
from model.processes import ending_with_parent

_Found = TypeVar("_Found")
_PAGE = 200  # the most that a server lists at once

SHIPPED = Path(__file__).parents[2] / "deployments" / "local.yaml"
TAG = "sabatier"
SERVER_HOME = DEFAULT_DATABASE.parent / "prefect"


@dataclass(frozen=True)
class RegisteredDeployments:
    """The deployments that are registered now, and those that the server had before.

    ``moved`` are the names of deployments whose flow stood in another module, with that module;
    ``others`` are deployments of earlier files, which stay as they are.
    """

    planned: tuple[PlannedDeployment, ...]
    moved: dict[str, str]
    others: tuple[str, ...]

    def lines(self, pool: Pool, server: "ScheduleServer") -> list[str]:
        """Return one line for each deployment, and how its worker and Prefect are started."""
        return [
            *(f"{each.name}: {each.when}" for each in self.planned),
            *(
                f"{name}: registered anew, its flow was {module} before"
                for name, module in self.moved.items()
            ),
            *(
                f"{name}: not in this file, stays as it is; to remove it: prefect deployment "
                f"delete {name}"
                for name in self.others
            ),
            f"{len(self.planned)} deployments in pool {pool.name} on "
            f"{shown_address(server.address)}",
            f"worker  {server.variables} {_worker_line(pool)}",
            f"look    {server.variables} {sys.executable} -m prefect deployment ls",
        ]


@dataclass(frozen=True)
class ScheduleServer:
    """The Prefect server that keeps the schedules, and the file with its secret, if it is ours."""

    address: str
    secret_file: Path | None = None

    @property
    def variables(self) -> str:
        """Return what comes before a command of Prefect, for a shell; the secret is not in it."""
        stated = f"PREFECT_API_URL={shown_address(self.address)}"
        if self.secret_file is None:
            return stated
        return f'{stated} PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(self.secret_file))})"'


def start_deploy(file: Path | None, *, serve: bool) -> None:
    """Register the deployments of a file on a Prefect server and print them.

    Args:
        file: The deployments file; None for the example that ships.
        serve: Also run a worker here until the process is stopped, with a server where none is
            configured.

    Raises:
        CampaignError: a file is bad, no server answers, or the worker cannot run here.
    """
    path = file or _shipped()
    settings = read_settings()
    stated = load_deployments(path)
    context = DeploymentContext(path.parent, path.name, Path.cwd(), settings)
    planned = plan_deployments(stated, context)
    if serve and stated.pool.type != "process":
        raise CampaignError(
            f"--serve starts a worker of a process pool, {path} states a {stated.pool.type} pool; "
            f"start its worker where it can: {_worker_line(stated.pool)}"
        )
    with _server(settings, serve=serve) as server:
        show_lines(*register(stated, planned, context.here).lines(stated.pool, server))
        if serve:
            _serve(stated.pool, server.address)


def _shipped() -> Path:
    if (SHIPPED.parents[1] / "examples").is_dir():
        return SHIPPED
    raise CampaignError(
        "the deployments file that ships schedules the repository's examples, which are not "
        f"installed here; copy {SHIPPED}, name campaign files of yours in it, and give the copy: "
        "sabatier deploy FILE"
    )


def register(
    stated: Deployments, planned: Sequence[PlannedDeployment], here: Path
) -> RegisteredDeployments:
    """Make pool, limits and deployments as a file states them, or bring them up to date.

    Args:
        stated: The content of the deployments file.
        planned: The deployments that it becomes.
        here: The folder in which runs of a process pool work.

    Returns:
        The deployments of this file, and those that the server had of earlier files.

    Raises:
        CampaignError: the pool is there with another type.
    """
    made = {each.name: _deployment(each, stated.pool, here) for each in planned}
    with get_client(sync_client=True) as client:
        _make_pool(client, stated.pool)
        client.upsert_global_concurrency_limit_by_name(
            VERIFICATIONS, stated.concurrency.verifications
        )
        before = registered_entrypoints(client)
        for deployment in made.values():
            deployment.apply()
    moved = {
        name: before[name]
        for name, deployment in made.items()
        if before.get(name) not in (None, deployment.entrypoint)
    }
    return RegisteredDeployments(tuple(planned), moved, tuple(sorted(before.keys() - made.keys())))


def registered_entrypoints(client: SyncPrefectClient) -> dict[str, str]:
    """Return the module path of the flow of each of our deployments, by the deployment's name."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    flows = {
        flow.id: flow.name
        for flow in _all_pages(lambda offset: client.read_flows(limit=_PAGE, offset=offset))
    }
    found = _all_pages(
        lambda offset: client.read_deployments(deployment_filter=ours, limit=_PAGE, offset=offset)
    )
    return {f"{flows.get(row.flow_id, '?')}/{row.name}": row.entrypoint or "" for row in found}


def _all_pages(read: Callable[[int], Sequence[_Found]]) -> Iterator[_Found]:
    """Yield everything that a server lists, from the page at each offset until one is empty."""
    offset = 0
    while page := read(offset):
        yield from page
        offset += len(page)


def _make_pool(client: SyncPrefectClient, pool: Pool) -> None:
    try:
        there = client.read_work_pool(pool.name)
    except ObjectNotFound:
        template = asyncio.run(get_default_base_job_template_for_infrastructure_type(pool.type))
        client.create_work_pool(
            WorkPoolCreate(
                name=pool.name,
                type=pool.type,
                base_job_template=template or {},
                concurrency_limit=pool.runs,
            )
        )
        return
    if there.type != pool.type:
        raise CampaignError(
            f"a work pool has one type, {pool.name} is a {there.type} pool on the server and a "
            f"{pool.type} pool in the file; give pool.name another name"
        )
    client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=pool.runs))


def _deployment(planned: PlannedDeployment, pool: Pool, here: Path) -> RunnerDeployment:
    """Return a deployment as Prefect registers it: one run at a time, the flow found by its module.

    A run that is due while the last one goes on is cancelled; it would find the campaign locked.
    """
    return RunnerDeployment.from_flow(
        planned.flow,
        planned.campaign,
        schedules=[planned.schedule] if planned.schedule else [],
        parameters=planned.parameters,
        tags=[TAG, planned.campaign],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        work_pool_name=pool.name,
        job_variables=job_variables(pool, here),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


@contextmanager
def _server(settings: Settings, *, serve: bool) -> Iterator[ScheduleServer]:
    """Let Prefect's client use the configured server for the block.

    With ``serve`` one is started where none is configured; it keeps its schedules for next time.

    Raises:
        CampaignError: none is configured, or it does not answer or wants another secret.
    """
    address = settings.prefect_api_url or PREFECT_API_URL.value()
    if not address and not serve:
        raise CampaignError(
            "schedules are kept by a Prefect server, none is configured; set "
            "SABATIER_PREFECT_API_URL, or add --serve to have one here for as long as it runs"
        )
    with ExitStack() as stack:
        if address:
            require_answer(
                address,
                "start it or correct SABATIER_PREFECT_API_URL; without it --serve starts one here",
            )
            used, found = {PREFECT_API_URL: address}, ScheduleServer(address)
        else:
            started = stack.enter_context(scheduling_server(SERVER_HOME))
            used = started.client_settings
            found = ScheduleServer(started.wait(), SERVER_HOME.absolute() / SECRET_FILE)
        stack.enter_context(temporary_settings(used | {PREFECT_SERVER_ANALYTICS_ENABLED: False}))
        yield found


def _worker_line(pool: Pool) -> str:
    return f"{sys.executable} -m prefect worker start --pool {pool.name!r} --type {pool.type}"


def _serve(pool: Pool, server: str) -> None:
    """Run a worker until this process gets a signal; the runs of the worker stop with it."""
    command = [sys.executable, "-m", "prefect", "worker", "start"]
    command += ["--pool", pool.name, "--type", pool.type]
    variables = {"PREFECT_API_URL": server, "DO_NOT_TRACK": "1"}
    variables["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    if secret := PREFECT_API_AUTH_STRING.value():
        variables["PREFECT_API_AUTH_STRING"] = secret  # in the environment, never in the command
    tied = shlex.split(ending_with_parent(shlex.join(command)))  # a kill of this process ends it
    worker: subprocess.Popen[Any] = subprocess.Popen(tied, env=os.environ | variables)
    try:
        status = worker.wait()
    except BaseException:
        worker.terminate()
        worker.wait()
        raise
    if status:
        raise CampaignError(f"the worker ended with status {status}; its last lines say why")
