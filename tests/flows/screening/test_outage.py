"""PostgreSQL goes away in the middle of a campaign; its rows are those of an undisturbed run.

``SABATIER_TEST_AWAY_S=60`` keeps the server away for a minute each time instead of some seconds.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.faults.postgres import PostgresServer
from support.faults.stored_tables import Difference, Tables, compare, results
from support.processes import wait_until

pytestmark = pytest.mark.full
AWAY_S = float(os.environ.get("SABATIER_TEST_AWAY_S", "4"))
STEPS = (
    ("screen", "tiny.yaml"),
    ("verify", "tiny", "--limit", "4"),
    ("loop", "tiny.yaml", "--rounds", "2"),
)
# a query that is true in the middle of each step
MIDDLE = {
    "screen": "SELECT count(*) > 0 FROM chunk",
    "verify": "SELECT count(*) > 0 FROM calculation",
    "loop": "SELECT count(*) > 0 FROM round",
}


def new_database(server: PostgresServer, name: str) -> str:
    import psycopg

    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return f"{server.url}/{name}"


def holds(address: str, query: str) -> bool:
    import psycopg

    with suppress(psycopg.Error), psycopg.connect(address) as connection:
        row = connection.execute(query).fetchone()
        return bool(row and row[0])
    return False


def disturb(server: PostgresServer, how: str, is_noticed: Callable[[], bool]) -> None:
    """Take the server away until it is noticed and for a while, or end all its sessions."""
    import psycopg

    if how == "terminate":
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        return
    server.stop("fast" if how == "fast" else "immediate")
    assert wait_until(is_noticed)
    time.sleep(AWAY_S)
    server.start()


def run_steps(place: Any, address: str, server: PostgresServer | None, how: str = "") -> list[str]:
    """Run the campaign to its end, disturbed in each step where ``how`` says so; return stderr."""
    said = []
    for step in STEPS:
        process = place.start(*step, SABATIER_DATABASE=address)
        lines: list[str] = []
        readers = [
            threading.Thread(target=lines.extend, args=(process.stderr,)),
            threading.Thread(target=process.stdout.read),
        ]
        for reader in readers:
            reader.start()

        def is_over(process: Any = process) -> bool:
            return process.poll() is not None

        def is_noticed(lines: list[str] = lines, is_over: Callable[[], bool] = is_over) -> bool:
            return is_over() or any("it is waited for" in line for line in lines)

        middle = MIDDLE[step[0]]
        while server is not None and not is_over() and not holds(address, middle):
            time.sleep(0.02)
        if server is not None and not is_over():
            disturb(server, how, is_noticed)
        for reader in readers:
            reader.join(timeout=600)
        process.wait(timeout=60)
        assert process.returncode == 0, lines
        said.append("".join(lines))
    return said


def stored(place: Any, address: str) -> Tables:
    lake = next(Path(place.folder / "runs").glob("*/predictions"))
    return results(address, lake)


@pytest.fixture(scope="module")
def undisturbed(own_server: PostgresServer, new_workplace: Any) -> Tables:
    place, address = new_workplace(), new_database(own_server, "undisturbed")
    run_steps(place, address, None)
    return stored(place, address)


@pytest.mark.parametrize("how", ["immediate", "fast", "terminate"])
def test_nothing_is_lost_or_doubled(
    own_server: PostgresServer, new_workplace: Any, undisturbed: Tables, how: str
) -> None:
    place, address = new_workplace(), new_database(own_server, f"disturbed_{how}")
    said = run_steps(place, address, own_server, how)
    found = compare(stored(place, address), undisturbed)
    assert (found.lost, found.doubled, found.different) == (0, 0, 0), found.first
    assert found == Difference()
    assert "Traceback" not in "".join(said)
    away = [len(re.findall("it is waited for, up to 600 s", errors)) for errors in said]
    assert away == [len(re.findall("answers again, after", errors)) for errors in said]
    # A session that ended while nothing used it is opened anew without a word.
    assert any(away) or how == "terminate"


def test_after_the_limit_a_run_ends_in_one_line_and_the_same_command_goes_on(
    own_server: PostgresServer, new_workplace: Any
) -> None:
    place, address = new_workplace(), new_database(own_server, "limited")
    named = {"SABATIER_DATABASE": address}
    process = place.start("screen", "tiny.yaml", **named, SABATIER_DATABASE_WAIT_S="2")
    try:
        assert wait_until(lambda: process.poll() is not None or holds(address, MIDDLE["screen"]))
        own_server.stop("immediate")
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        own_server.start()
    assert process.returncode == 2, errors
    *_, last = errors.splitlines()
    assert re.match(r"sabatier: database postgresql://.* was away for 2 s, the limit; ", last)
    assert "Traceback" not in errors
    again = place.run("screen", "tiny.yaml", **named)
    assert again.status == 0, again.err
