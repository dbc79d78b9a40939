"""One environment and order for all tests, and a PostgreSQL server where its programs are."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.processes import free_port

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


def _postgres_folder() -> Path | None:
    """Return the folder that holds initdb and pg_ctl, the newest release first."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(found).parent for found in [shutil.which("initdb")] if found]
    for folder in [*installed, *on_path]:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


def _as_server_user(command: list[str]) -> None:
    """Run a command; PostgreSQL refuses to be root, so root lends it to ``postgres``."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the URL of an empty PostgreSQL server, up to its database name."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = _postgres_folder()
    if folder is None:
        pytest.skip("PostgreSQL's initdb is neither in PATH nor in /usr/lib/postgresql")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser to change user")
    home = Path(tempfile.mkdtemp(prefix="sabatier-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    data, port = home / "data", free_port()
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    )
    control = [str(folder / "pg_ctl"), "-D", str(data), "-w"]
    try:
        _as_server_user(
            [str(folder / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
        )
        _as_server_user([*control, "-l", str(home / "log"), "-o", options, "start"])
        yield f"postgresql://postgres@127.0.0.1:{port}"
        _as_server_user([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(home, ignore_errors=True)
