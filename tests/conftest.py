"""The order of the tests, and a PostgreSQL server of their own where its binaries are."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# As in flows.cli: threads of torch that spin make a busy machine fifty times slower, not twice.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    data, port = home / "data", _free_port()
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
