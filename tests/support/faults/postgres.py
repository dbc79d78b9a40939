"""A PostgreSQL server of one's own, which can be stopped and started again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support.processes import free_port


@dataclass(frozen=True)
class PostgresServer:
    """A server whose data lie in ``home``; ``url`` goes up to the name of a database."""

    programs: Path
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.home} "
            "-c fsync=off"
        )
        self._control("-l", str(self.home / "log"), "-o", options, "start")

    def stop(self, how: Literal["fast", "immediate"] = "immediate") -> None:
        """Stop it: ``fast`` ends its sessions in order, ``immediate`` is as a crash."""
        self._control("-m", how, "stop")

    def _control(self, *arguments: str) -> None:
        as_server_user(
            [str(self.programs / "pg_ctl"), "-D", str(self.home / "data"), "-w", *arguments]
        )


def why_no_postgres() -> str:
    """Return why no server can be started here, or an empty text."""
    if _programs() is None:
        return "PostgreSQL's initdb is neither in PATH nor in /usr/lib/postgresql"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "PostgreSQL does not run as root, and there is no runuser to change user"
    return ""


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Yield a server that runs and has no databases of ours; it goes when the block ends."""
    made = ["-A", "trust", "-U", "postgres", "--no-sync"]
    with _running("initdb", made) as server:
        yield server


@contextmanager
def running_standby(primary: str) -> Iterator[PostgresServer]:
    """Yield a server that follows the one at the URL ``primary``, and lets nobody write."""
    copied = ["-d", primary, "-c", "fast", "--write-recovery-conf", "--no-sync"]
    with _running("pg_basebackup", copied) as server:
        yield server


@contextmanager
def _running(program: str, arguments: list[str]) -> Iterator[PostgresServer]:
    programs = _programs()
    if programs is None:
        raise FileNotFoundError(why_no_postgres())
    home = Path(tempfile.mkdtemp(prefix="sabatier-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    server = PostgresServer(programs, home, free_port())
    try:
        as_server_user([str(programs / program), "-D", str(home / "data"), *arguments])
        server.start()
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):  # a test may have left it stopped
            server.stop()
        shutil.rmtree(home, ignore_errors=True)


def as_server_user(command: list[str]) -> None:
    """Run a command; PostgreSQL refuses to be root, so root lends it to ``postgres``."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/")


def _programs() -> Path | None:
    """Return the folder that holds initdb and pg_ctl, the newest release first."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(found).parent for found in [shutil.which("initdb")] if found]
    for folder in [*installed, *on_path]:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None
