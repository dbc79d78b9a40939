"""A scheduled campaign really runs: server, schedule, worker, and rows in the database."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from web import Listener, listening, prefect_server

from screening_db.engine import open_database
from screening_db.queries import campaign, funnel_counts

pytestmark = pytest.mark.slow

DEPLOYMENTS = """\
pool: {name: test}
webhook: WEBHOOK
campaigns:
  - {file: tiny.yaml, screen: {every_s: 5}, verify: {limit: 1}}
"""
WAIT_S = 240  # on a machine that does nothing else a quarter of it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as address:
        yield address


@pytest.fixture(scope="module")
def told() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def deployed(
    new_workplace: Callable[[], Any], server: str, told: Listener
) -> Iterator[tuple[Any, dict[str, str]]]:
    """Deploy the tiny campaign every five seconds, and let a worker run it."""
    workplace = new_workplace()
    text = DEPLOYMENTS.replace("WEBHOOK", told.url)
    (workplace.folder / "deployments.yaml").write_text(text)
    variables = {
        "SABATIER_PREFECT_API_URL": server,
        "PREFECT_HOME": str(workplace.folder / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    worker = workplace.start("deploy", "deployments.yaml", "--serve", **variables)
    try:
        yield workplace, variables
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        if worker.poll() is None:
            worker.kill()


def _until(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.5)
    return is_so()


def _finished(path: Path) -> bool:
    if not path.exists():
        return False
    db = open_database(path, create=False)
    try:
        with db.read() as session:
            found = session.connection().exec_driver_sql("SELECT status FROM campaign").all()
        return found == [("finished",)]
    finally:
        db.close()


def _names(server: str) -> list[str]:
    found = httpx.post(f"{server}/deployments/filter", json={}).json()
    return sorted(row["entrypoint"] for row in found)


def test_a_scheduled_campaign_fills_the_database(
    deployed: tuple[Any, dict[str, str]], told: Listener
) -> None:
    workplace, _ = deployed
    assert _until(lambda: _finished(workplace.database))
    db = open_database(workplace.database, create=False)
    try:
        assert campaign(db, "tiny").level == "emt"
        states = {(c.stage, c.state) for c in funnel_counts(db, "tiny")}
    finally:
        db.close()
    assert ("placement", "queued") in states
    assert _until(lambda: bool(told.named("finished")))
    message = told.named("finished")[0]
    assert message["campaign"] == "tiny"
    assert message["text"].startswith("tiny: screen finished: ")
    assert told.named("failed") == []


def test_deploying_again_registers_nothing_twice(
    deployed: tuple[Any, dict[str, str]], server: str
) -> None:
    workplace, variables = deployed
    expected = ["flows.deployed.screen_campaign", "flows.deployed.verify_campaign"]
    assert _until(lambda: _names(server) == expected)
    again = workplace.run("deploy", "deployments.yaml", **variables)
    assert again.status == 0, again.err
    assert _names(server) == expected
    found = httpx.post(f"{server}/deployments/filter", json={}).json()
    assert sorted(len(row["schedules"]) for row in found) == [0, 1]


def test_what_a_file_no_longer_schedules_is_not_scheduled(
    deployed: tuple[Any, dict[str, str]], server: str
) -> None:
    workplace, variables = deployed
    file = workplace.folder / "by-hand.yaml"
    text = (workplace.folder / "deployments.yaml").read_text()
    file.write_text(text.replace("{every_s: 5}", "{}").replace(", verify: {limit: 1}", ""))
    said = workplace.run("deploy", "by-hand.yaml", **variables)
    assert said.status == 0, said.err
    assert "verify-campaign/tiny: not in this file" in said.out
    found = httpx.post(f"{server}/deployments/filter", json={}).json()
    assert [row["schedules"] for row in found] == [[], []]
