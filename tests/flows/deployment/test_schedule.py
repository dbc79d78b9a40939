"""A scheduled campaign really runs: server, schedule, worker, and rows in the database."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.paths import REPOSITORY
from support.processes import Listener, listening, wait_until

from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns, find_campaign, funnel_counts

pytestmark = [pytest.mark.slow, pytest.mark.full]

DEPLOYMENTS = """\
pool: {name: test}
webhook_insecure: true
webhook: WEBHOOK
campaigns:
  - {file: tiny.yaml, screen: {every_s: 5}, verify: {limit: 1}}
"""
WAIT_S = 240  # on a machine that does nothing else a quarter of it


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def deployed(new_workplace: Callable[[], Any], listener: Listener) -> Iterator[tuple[Any, str]]:
    """Deploy the tiny campaign every five seconds, with a server and a worker; say its address."""
    workplace = new_workplace()
    text = DEPLOYMENTS.replace("WEBHOOK", listener.url)
    (workplace.folder / "deployments.yaml").write_text(text)
    worker = workplace.start(
        "deploy", "deployments.yaml", "--serve", PREFECT_WORKER_QUERY_SECONDS="2"
    )
    try:
        yield workplace, _address(worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        if worker.poll() is None:
            worker.kill()


def _secret(workplace: Any) -> str:
    """Return the secret of the server that ``deploy --serve`` started."""
    found: str = (workplace.folder / "runs" / "prefect" / "secret").read_text().strip()
    return found


def _owner(workplace: Any) -> Any:
    """Return what its owner says to the server at each call."""
    return tuple(_secret(workplace).split(":"))


def _as_owner(workplace: Any, server: str) -> dict[str, str]:
    return {
        "SABATIER_PREFECT_API_URL": server,
        "PREFECT_API_AUTH_STRING": _secret(workplace),
    }


def _address(worker: subprocess.Popen[str]) -> str:
    """Return the address that is printed, and read on, so that no pipe ever fills."""
    assert worker.stdout is not None
    assert worker.stderr is not None
    threading.Thread(target=worker.stderr.read, daemon=True).start()
    for line in worker.stdout:
        if " deployments in pool " in line:
            threading.Thread(target=worker.stdout.read, daemon=True).start()
            return line.split()[-1]
    raise AssertionError("the command ended before it deployed anything")


def _finished(path: Path) -> bool:
    try:
        db = open_database(path, create=False)
    except DatabaseError:  # not there yet, or being made
        return False
    try:
        return [row.status for row in all_campaigns(db)] == ["finished"]
    finally:
        db.close()


def _names(workplace: Any, server: str) -> list[str]:
    found = httpx.post(f"{server}/deployments/filter", json={}, auth=_owner(workplace)).json()
    return sorted(row["entrypoint"] for row in found)


def test_a_scheduled_campaign_fills_the_database(
    deployed: tuple[Any, str], listener: Listener
) -> None:
    workplace, _ = deployed
    assert wait_until(lambda: _finished(workplace.database), WAIT_S)
    db = open_database(workplace.database, create=False)
    try:
        assert find_campaign(db, "tiny").level == "emt"
        states = {(c.stage, c.state) for c in funnel_counts(db, "tiny")}
    finally:
        db.close()
    assert ("placement", "queued") in states
    assert wait_until(lambda: listener.named("finished"), WAIT_S)
    message = listener.named("finished")[0]
    assert message["campaign"] == "tiny"
    assert message["text"].startswith("tiny: screen finished: ")
    assert listener.named("failed") == []


def test_another_user_can_start_nothing_by_the_server(deployed: tuple[Any, str]) -> None:
    workplace, server = deployed
    for path, content in (
        ("flows/", {"name": "attack"}),
        ("work_pools/test/get_scheduled_flow_runs", {}),
        ("deployments/", {"name": "attack", "flow_id": "0" * 32, "entrypoint": "os.system"}),
        ("flow_runs/", {"flow_id": "0" * 32}),
        ("deployments/filter", {}),
    ):
        assert httpx.post(f"{server}/{path}", json=content).status_code == 401, path
    assert (workplace.folder / "runs" / "prefect").stat().st_mode & 0o077 == 0
    refused = workplace.run("deploy", "deployments.yaml", SABATIER_PREFECT_API_URL=server)
    assert refused.status == 2
    assert "wants its secret, none is given; set PREFECT_API_AUTH_STRING" in refused.err
    for each in psutil.process_iter(["cmdline"]):
        assert _secret(workplace) not in " ".join(each.info["cmdline"] or [])


def test_deploying_again_registers_nothing_twice(deployed: tuple[Any, str]) -> None:
    workplace, server = deployed
    expected = ["flows.deployment.flows.screen_campaign", "flows.deployment.flows.verify_campaign"]
    assert wait_until(lambda: _names(workplace, server) == expected, WAIT_S)
    again = workplace.run("deploy", "deployments.yaml", **_as_owner(workplace, server))
    assert again.status == 0, again.err
    assert _names(workplace, server) == expected
    found = httpx.post(f"{server}/deployments/filter", json={}, auth=_owner(workplace)).json()
    assert sorted(len(row["schedules"]) for row in found) == [0, 1]


def test_a_deployment_of_an_old_module_is_registered_anew(deployed: tuple[Any, str]) -> None:
    workplace, server = deployed
    query = {"deployments": {"name": {"any_": ["tiny"]}}}
    screening = next(
        row
        for row in httpx.post(
            f"{server}/deployments/filter", json=query, auth=_owner(workplace)
        ).json()
        if row["entrypoint"].endswith("screen_campaign")
    )
    old = {"entrypoint": "flows.deployed.screen_campaign"}
    httpx.patch(
        f"{server}/deployments/{screening['id']}", json=old, auth=_owner(workplace)
    ).raise_for_status()
    done = workplace.run("deploy", "deployments.yaml", **_as_owner(workplace, server))
    assert "registered anew, its flow was flows.deployed.screen_campaign before" in done.out
    assert "flows.deployed.screen_campaign" not in _names(workplace, server)


def test_an_entry_that_left_the_file_is_not_scheduled(deployed: tuple[Any, str]) -> None:
    workplace, server = deployed
    file = workplace.folder / "by-hand.yaml"
    text = (workplace.folder / "deployments.yaml").read_text()
    file.write_text(text.replace("{every_s: 5}", "{}").replace(", verify: {limit: 1}", ""))
    said = workplace.run("deploy", "by-hand.yaml", **_as_owner(workplace, server))
    assert said.status == 0, said.err
    assert "verify-campaign/tiny: not in this file" in said.out
    found = httpx.post(f"{server}/deployments/filter", json={}, auth=_owner(workplace)).json()
    assert [row["schedules"] for row in found] == [[], []]


def test_prefects_own_command_deploys_the_file_that_ships(deployed: tuple[Any, str]) -> None:
    workplace, server = deployed
    own = {"PREFECT_API_URL": server, "PREFECT_API_AUTH_STRING": _secret(workplace)}
    environment = {**os.environ, **own, "NO_COLOR": "1"}
    for words in (
        ("work-pool", "create", "sabatier", "--type", "process"),
        ("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    query = {"deployments": {"name": {"any_": ["laptop-emt"]}}}
    found = httpx.post(f"{server}/deployments/filter", json=query, auth=_owner(workplace)).json()
    assert {row["work_pool_name"] for row in found} == {"sabatier"}
    assert {row["entrypoint"].rsplit(".", 1)[1]: len(row["schedules"]) for row in found} == {
        **{"screen_campaign": 1, "verify_campaign": 1},
        **{"fine_tune_campaign": 0, "count_labels_campaign": 1},
    }
