"""One environment and order for all tests, and a PostgreSQL server where its programs are."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings
from support.faults.postgres import PostgresServer, running_postgres, why_no_postgres

# Before NumPy and torch are imported. One thread each: threads that wait for each other on a busy
# machine make tiny networks ten times slower, and sums would depend on the number of cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
# What a command prints must not depend on whose terminal, settings or proxies these are.
for _name in list(os.environ):
    if _name.startswith(("PREFECT_", "SABATIER_", "DASK_", "FORCE_COLOR", "NO_COLOR", "CLICOLOR")):
        del os.environ[_name]
os.environ |= {"COLUMNS": "80", "LINES": "25", "PREFECT_HOME": tempfile.mkdtemp(prefix="prefect-")}
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)
# A busy machine is slow to draw and to answer an example: that is no fault.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no process is left with the longest at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@contextmanager
def postgres_or_skip() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if reason := why_no_postgres():
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the URL of an empty PostgreSQL server, up to its database name."""
    with postgres_or_skip() as server:
        yield server.url


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server that no other file of tests uses: it may be stopped."""
    with postgres_or_skip() as server:
        yield server
