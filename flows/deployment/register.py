"""Register what a deployments file states on a Prefect server, as often as one likes."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)
from prefect.types.entrypoint import EntrypointType
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flows.cluster.prefect_server import scheduling_server
from flows.cluster.workers import temporary_environment
from flows.config.deployments import Deployments, Pool, load_deployments
from flows.config.settings import DEFAULT_DATABASE, Settings, read_settings
from flows.deployment.flows import VERIFICATIONS
from flows.deployment.plan import (
    DeploymentContext,
    PlannedDeployment,
    job_variables,
    plan_deployments,
)
from flows.errors import CampaignError

SHIPPED = Path(__file__).parents[2] / "deployments" / "local.yaml"
TAG = "sabatier"
SERVER_HOME = DEFAULT_DATABASE.parent / "prefect"
_ANSWER_TIMEOUT_S = 20


@dataclass(frozen=True)
class RegisteredDeployments:
    """What is registered now, and what earlier files left there, which runs on."""

    server: str
    planned: tuple[PlannedDeployment, ...]
    others: tuple[str, ...]


def start_deploy(file: Path | None, *, serve: bool) -> None:
    """Register the deployments of ``file``, or of the example that ships, and print them.

    With ``serve`` a worker runs here until it is stopped.
    """
    path = file or _shipped()
    settings = read_settings()
    stated = load_deployments(path)
    site = DeploymentContext(path.parent, Path.cwd(), settings)
    wanted = plan_deployments(stated, site)
    if serve and stated.pool.type != "process":
        raise CampaignError(
            f"--serve starts a worker of a process pool, {path} states a {stated.pool.type} pool; "
            f"start its worker where it can: {_worker_line(stated.pool)}"
        )
    with _server(settings, serve=serve) as server:
        _show(register(stated, wanted, site.here, server), stated)
        if serve:
            _serve(stated.pool, server)


def _shipped() -> Path:
    if (SHIPPED.parents[1] / "examples").is_dir():
        return SHIPPED
    raise CampaignError(
        "the deployments file that ships schedules the repository's examples, which are not "
        f"installed here; copy {SHIPPED}, name campaign files of yours in it, and give the copy: "
        "sabatier deploy FILE"
    )


def register(
    stated: Deployments, wanted: Sequence[PlannedDeployment], here: Path, server: str
) -> RegisteredDeployments:
    """Make pool, limits and deployments as ``stated``; what is there already is brought up to date.

    Raises:
        CampaignError: the pool is there with another type.
    """
    with get_client(sync_client=True) as client:
        _make_pool(client, stated.pool)
        client.upsert_global_concurrency_limit_by_name(
            VERIFICATIONS, stated.concurrency.verifications
        )
        for entry in wanted:
            _deployment(entry, stated.pool, here).apply()
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        flows = {flow.id: flow.name for flow in client.read_flows(limit=200)}
        found = client.read_deployments(deployment_filter=ours, limit=200)
    names = {f"{flows.get(row.flow_id, '?')}/{row.name}" for row in found}
    others = sorted(names - {entry.name for entry in wanted})
    return RegisteredDeployments(server, tuple(wanted), tuple(others))


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


def _deployment(entry: PlannedDeployment, pool: Pool, here: Path) -> RunnerDeployment:
    """Return an entry as Prefect registers it: one run at a time, of a flow found by its module.

    A run that is due while the last one goes on is cancelled; it would find the campaign locked.
    """
    return RunnerDeployment.from_flow(
        entry.flow,
        entry.campaign,
        schedules=[entry.schedule] if entry.schedule else [],
        parameters=entry.parameters,
        tags=[TAG, entry.campaign],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        work_pool_name=pool.name,
        job_variables=job_variables(pool, here),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


@contextmanager
def _server(settings: Settings, *, serve: bool) -> Iterator[str]:
    """Let Prefect's client use the configured server for the block.

    With ``serve`` one is started where none is configured; it keeps its schedules for next time.

    Raises:
        CampaignError: none is configured, or it does not answer.
    """
    address = settings.prefect_api_url or PREFECT_API_URL.value()
    if not address and not serve:
        raise CampaignError(
            "schedules are kept by a Prefect server, none is configured; set "
            "SABATIER_PREFECT_API_URL, or add --serve to have one here for as long as it runs"
        )
    with ExitStack() as stack:
        if address:
            _require_answer(address)
        else:
            address = stack.enter_context(scheduling_server(SERVER_HOME)).wait()
        settings_here = {PREFECT_API_URL: address, PREFECT_SERVER_ANALYTICS_ENABLED: False}
        stack.enter_context(temporary_settings(settings_here))
        yield address


def _require_answer(address: str) -> None:
    try:
        httpx.get(f"{address}/health", timeout=_ANSWER_TIMEOUT_S)  # any status is an answer
    except (httpx.TransportError, httpx.InvalidURL) as fault:
        raise CampaignError(
            f"no Prefect server answers at {address} ({fault}); start it or correct "
            "SABATIER_PREFECT_API_URL; without it --serve starts one here"
        ) from None


def _show(done: RegisteredDeployments, stated: Deployments) -> None:
    for entry in done.planned:
        print(f"{entry.name}: {entry.when}")
    for name in done.others:
        print(
            f"{name}: not in this file, stays as it is; to remove it: prefect deployment delete "
            f"{name}"
        )
    print(f"{len(done.planned)} deployments in pool {stated.pool.name} on {done.server}")
    print(f"worker  PREFECT_API_URL={done.server} {_worker_line(stated.pool)}", flush=True)


def _worker_line(pool: Pool) -> str:
    return f"{sys.executable} -m prefect worker start --pool {pool.name!r} --type {pool.type}"


def _serve(pool: Pool, server: str) -> None:
    """Run a worker until this process is asked to stop; what it runs is stopped with it."""
    command = [sys.executable, "-m", "prefect", "worker", "start"]
    command += ["--pool", pool.name, "--type", pool.type]
    variables = {"PREFECT_API_URL": server, "DO_NOT_TRACK": "1"}
    with temporary_environment(variables | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}):
        worker: subprocess.Popen[Any] = subprocess.Popen(command)
    try:
        status = worker.wait()
    except BaseException:
        worker.terminate()
        worker.wait()
        raise
    if status:
        raise CampaignError(f"the worker ended with status {status}; its last lines say why")
