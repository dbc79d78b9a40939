"""Lines about what was registered: schedules, deployments that moved, and those of other files."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.config.deployments import Pool
from flows.deployment.flows import screen_campaign
from flows.deployment.plan import PlannedDeployment
from flows.deployment.register import (
    RegisteredDeployments,
    ScheduleServer,
    registered_entrypoints,
)

NIGHTLY = PlannedDeployment(screen_campaign, "tiny", {}, None, "0 2 * * * (UTC)")
ADDRESS = "http://127.0.0.1:4200/api"
SERVER = ScheduleServer(ADDRESS)


def test_a_deployment_is_listed_with_its_schedule_and_its_worker() -> None:
    schedule, count, worker, _ = RegisteredDeployments((NIGHTLY,), {}, ()).lines(Pool(), SERVER)
    assert schedule == "screen-campaign/tiny: 0 2 * * * (UTC)"
    assert count == f"1 deployments in pool sabatier on {ADDRESS}"
    assert worker.endswith("worker start --pool 'sabatier' --type process")


def test_commands_of_prefect_read_the_secret_of_a_server_that_is_started_here() -> None:
    server = ScheduleServer(ADDRESS, Path("/home/me/my runs/prefect/secret"))
    *_, look = RegisteredDeployments((NIGHTLY,), {}, ()).lines(Pool(), server)
    read = "PREFECT_API_AUTH_STRING=\"$(cat '/home/me/my runs/prefect/secret')\""
    assert look.startswith(f"look    PREFECT_API_URL={ADDRESS} {read} ")


def test_a_flow_that_stood_in_another_module_is_said_to_be_registered_anew() -> None:
    moved = {"screen-campaign/tiny": "flows.deployed.screen_campaign"}
    lines = RegisteredDeployments((NIGHTLY,), moved, ()).lines(Pool(), SERVER)
    assert lines[1] == (
        "screen-campaign/tiny: registered anew, its flow was flows.deployed.screen_campaign before"
    )


def test_a_deployment_of_another_file_is_named_with_how_to_remove_it() -> None:
    lines = RegisteredDeployments((NIGHTLY,), {}, ("loop-campaign/old",)).lines(Pool(), SERVER)
    assert lines[1].startswith("loop-campaign/old: not in this file, stays as it is; to remove it")


class PagedClient:
    """A server with 450 deployments that lists at most 200 at once."""

    flow = SimpleNamespace(id=1, name="screen-campaign")

    def read_flows(self, *, limit: int, offset: int) -> list[Any]:
        return [self.flow][offset : offset + limit]

    def read_deployments(self, *, limit: int, offset: int, **_: object) -> list[Any]:
        assert limit <= 200
        return [
            SimpleNamespace(flow_id=1, name=f"c{number}", entrypoint="flows.screen")
            for number in range(450)
        ][offset : offset + limit]


def test_deployments_are_listed_beyond_the_first_page() -> None:
    client: Any = PagedClient()
    found = registered_entrypoints(client)
    assert len(found) == 450
    assert found["screen-campaign/c449"] == "flows.screen"
