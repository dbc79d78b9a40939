"""A run whose Prefect server dies, whenever that is, goes on to its ranking and says so once."""

import signal
import sqlite3
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest
from support.processes import wait_until

from flows.cluster.prefect_server import embedded_server

pytestmark = [pytest.mark.slow, pytest.mark.full]

RANKS = "select * from rank order by campaign, rank"
STATES = "select item_id, state, reason from campaign_item order by stage, item_id"


def ask(workplace: Any, query: str) -> list[tuple[Any, ...]]:
    try:
        with sqlite3.connect(f"file:{workplace.database}?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # not made yet
        return [(0,)]


def server_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the embedded server below a run, once there is one."""
    try:
        children = psutil.Process(process.pid).children()
        return [c for c in children if "flows.cluster.prefect_server" in c.cmdline()]
    except psutil.NoSuchProcess:
        return []


def answers(server: psutil.Process) -> bool:
    ports = [c.laddr.port for c in server.net_connections() if c.status == "LISTEN"]
    try:
        return any(httpx.get(f"http://127.0.0.1:{p}/api/health").is_success for p in ports)
    except httpx.TransportError:
        return False


# when the server is killed, by what the database and the server say
MOMENTS: dict[str, Callable[[Any, psutil.Process], object]] = {
    "as it starts": lambda *_: True,
    "before the flow": lambda _, server: answers(server),
    "between chunks": lambda workplace, _: ask(workplace, "select count(*) from chunk")[0][0],
    "as the run ends": lambda workplace, _: ask(workplace, "select count(*) from rank")[0][0],
}


def require_whole(workplace: Any, screened: Any, err: str) -> None:
    """Check that a run ended as an undisturbed one, and that it told of its server once."""
    for query in (RANKS, STATES):
        assert ask(workplace, query) == ask(screened, query)
    assert err.count("the run goes on without it, and loses nothing by that") <= 1
    assert "Traceback" not in err
    assert "ERROR" not in err


@pytest.mark.parametrize("when", MOMENTS)
def test_the_embedded_server_may_die_at_any_moment(
    when: str, workplace: Any, screened: tuple[Any, Any]
) -> None:
    process = workplace.start("screen", "tiny.yaml")
    try:
        assert wait_until(lambda: server_of(process) or process.poll() is not None, 300)
        (server,) = server_of(process)
        wait_until(lambda: MOMENTS[when](workplace, server) or process.poll() is not None, 300)
        server.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "pairs by probability" in out
    require_whole(workplace, screened[0], err)
    if when != "as the run ends":
        assert "the embedded Prefect server is lost" in err


def test_a_configured_server_may_die_once_the_run_has_begun(
    workplace: Any, screened: tuple[Any, Any]
) -> None:
    with embedded_server() as server:
        variables = {
            "SABATIER_PREFECT_API_URL": server.wait(),
            "PREFECT_API_AUTH_STRING": server.secret,
        }
        process = workplace.start("screen", "tiny.yaml", **variables)
        try:
            wait_until(lambda: ask(workplace, "select count(*) from chunk")[0][0], 300)
            server.process.kill()
            out, err = process.communicate(timeout=400)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert "pairs by probability" in out
    assert f"the Prefect server at {server.api_url} is lost" in err
    require_whole(workplace, screened[0], err)
