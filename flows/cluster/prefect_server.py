"""One Prefect server for a whole run, embedded unless one is configured, and its quiet client.

Prefect is the control plane and never the record: the embedded server keeps its data in a folder
that is thrown away, so that the user's own Prefect is left as it was.

Whoever may use a server's API can have a worker of it start any command. So each server that is
started here wants a secret, which travels in environments and files of this user alone: arguments
of processes are shown to everybody.

Prefect's own ``SubprocessASGIServer`` does less. It outlives a parent that is killed, it takes
Ctrl-C together with the run, it writes into the user's PREFECT_HOME with the user's settings, it
blocks until the server answers (10 s that Dask's workers start in here), and it keeps no schedules.
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)

from flows.addresses import shown_address
from flows.cluster.prefect_database import begin_database
from flows.cluster.prefect_record import PrefectRecord
from flows.cluster.server_answer import ask_no_proxy_for_this_machine, require_answer
from flows.errors import CampaignError
from model.files import lock_folder
from model.folder_owner import private_folder

START_TIMEOUT_S = 120.0
SECRET_FILE = "secret"  # noqa: S105  its name in the home of a server that keeps schedules
# Batches cut the server's work five-fold and keep its SQLite file from locking.
_RECORDER = "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_"
SERVER_ENVIRONMENT: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    f"{_RECORDER}BATCH_SIZE": "200",
    f"{_RECORDER}READ_BATCH_SIZE": "200",
    f"{_RECORDER}FLUSH_INTERVAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
}
# A server for one run needs no scheduler and none of the other services.
_ONE_RUN: Mapping[str, str] = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


_CLIENT: Mapping[Any, Any] = {
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # it costs 1.1 s at the end of each flow
    PREFECT_SERVER_ANALYTICS_ENABLED: False,
}
# A server on this machine that is lost is not waited for.
_EMBEDDED: Mapping[Any, Any] = {
    PREFECT_LOGGING_TO_API_ENABLED: False,
    PREFECT_CLIENT_MAX_RETRIES: 1,
}


class ServerError(CampaignError):
    """The embedded Prefect server did not come up; ``why`` in a few words."""

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


@dataclass
class EmbeddedServer:
    """A Prefect server in a process of its own, which may still be starting."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    secret: str = field(repr=False)

    @property
    def api_url(self) -> str:
        """Return the address for Prefect's client."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def client_settings(self) -> dict[Any, Any]:
        """Return the settings of Prefect's client: the address, and this server's secret alone."""
        return {
            PREFECT_API_URL: self.api_url,
            PREFECT_API_AUTH_STRING: self.secret,
            PREFECT_API_KEY: None,
            PREFECT_CLIENT_CUSTOM_HEADERS: {},
        }

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Return the address once the server answers.

        Raises:
            ServerError: it ended, or did not answer in time; its last lines are in the message.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self.has_ended():
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.api_url}/health", timeout=5).is_success:
                    return self.api_url
            time.sleep(0.1)
        why = "ended" if self.has_ended() else f"did not answer within {timeout_s:.0f} s"
        last = self.log.read_text(errors="replace")[-2000:]
        raise ServerError(f"the embedded Prefect server {why}:\n{last}", why)

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End the process, at once if it will not end by itself."""
        self.process.terminate()
        try:
            self.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def embedded_server() -> Iterator[EmbeddedServer]:
    """Yield a Prefect server that is starting; its data go when the block ends."""
    with tempfile.TemporaryDirectory(
        prefix="sabatier-prefect-", ignore_cleanup_errors=True
    ) as home:
        server = _start(Path(home), _new_secret(), _ONE_RUN)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def scheduling_server(home: Path) -> Iterator[EmbeddedServer]:
    """Yield a server that is starting and keeps schedules and history in ``home``.

    Its secret stays in ``home`` too, so that runs that it has scheduled and commands of Prefect
    find it again.
    """
    private_folder(home, "schedules", "start --serve in another folder, or remove that one")
    with lock_folder(home, "a Prefect server"):
        server = _start(home.absolute(), kept_secret(home), {})
        try:
            yield server
        finally:
            server.stop()


def kept_secret(home: Path) -> str:
    """Return the secret in the home of a server, made where there is none."""
    file = home / SECRET_FILE
    with suppress(FileNotFoundError):
        file.chmod(0o600)
        if found := file.read_text(encoding="ascii").strip():
            return found
        file.unlink()
    made = _new_secret()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"{made}\n")
    return made


def _new_secret() -> str:
    return f"sabatier:{secrets.token_urlsafe(32)}"  # Prefect calls it user:password


def _start(home: Path, secret: str, variables: Mapping[str, str]) -> EmbeddedServer:
    ask_no_proxy_for_this_machine()
    log = home / "server.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    own = {"PREFECT_HOME": str(home), "PREFECT_SERVER_API_AUTH_STRING": secret}
    # The server inherits a socket that listens: nobody can take its port between here and there.
    with _listener() as listener, log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cluster.prefect_server", str(listener.fileno())],
            env={**inherited, **SERVER_ENVIRONMENT, **variables, **own},
            stdin=subprocess.PIPE,  # it closes when this process dies, however it dies
            stdout=out,
            stderr=out,
            pass_fds=(listener.fileno(),),
            start_new_session=True,  # Ctrl-C is for the run, which then stops its server
        )
        port = int(listener.getsockname()[1])
    return EmbeddedServer(process, port, log, secret)


def _listener() -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", 0))
    except OSError as fault:
        raise ServerError(
            f"the Prefect server needs a free port on 127.0.0.1, there is none ({fault.strerror}); "
            "end programs that hold many connections, and run the same command again"
        ) from None


def serve(listener: int) -> None:
    """Serve Prefect's API until the process that started this one is gone.

    Args:
        listener: File descriptor of a socket that listens.
    """
    import uvicorn  # only this process needs it, and the command line should start at once

    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin_database(Path(os.environ["PREFECT_HOME"]))
    server = uvicorn.Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            log_level="error",
            lifespan="on",
        )
    )
    server.run(sockets=[socket.socket(fileno=listener)])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent closes the pipe, by its death at the latest
    os._exit(0)


@dataclass
class ControlPlane:
    """A Prefect server: a running one by its address, or an embedded one that is starting."""

    address: str | None = None
    embedded: EmbeddedServer | None = None
    _record: PrefectRecord | None = field(default=None, init=False, repr=False)  # while connected

    @contextmanager
    def connected(self) -> Iterator[PrefectRecord]:
        """Wait for the server, then let Prefect's client use it.

        An embedded one that does not come up is no fault of the run, which goes on without it.

        Yields:
            The record that Prefect keeps; the same one to a run within a run.
        """
        if self._record is not None:
            yield self._record
            return
        with self._connection() as record:
            self._record = record
            try:
                yield record
            finally:
                self._record = None

    @contextmanager
    def _connection(self) -> Iterator[PrefectRecord]:
        # A failure is raised to the caller, who prints it once; Prefect would log it three times.
        for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # This one asks for no level; it tells of each event that a lost server did not get.
        logging.getLogger("prefect._internal.concurrency").disabled = True
        if self.embedded is None:
            record = PrefectRecord(f"the Prefect server at {shown_address(str(self.address))}")
            configured = {PREFECT_API_URL: self.address, PREFECT_LOGGING_TO_API_ENABLED: True}
            with temporary_settings({**_CLIENT, **configured}):
                yield record
            return
        record = PrefectRecord("the embedded Prefect server", self.embedded.has_ended)
        try:
            self.embedded.wait()
        except ServerError as fault:
            record.lose(fault.why)
            yield record
            return
        with temporary_settings({**_CLIENT, **_EMBEDDED, **self.embedded.client_settings}):
            yield record


@contextmanager
def control_plane(configured: str | ControlPlane | None) -> Iterator[ControlPlane]:
    """Yield the Prefect server of a run.

    Without a configured one a server is started here, and stopped at the end.

    Args:
        configured: The address in Sabatier's settings; None for that of Prefect's own settings
            (environment or profile). The server of a run that this one is part of is used again.

    Yields:
        The server, which may still be starting: ``connected`` waits for it.
    """
    if isinstance(configured, ControlPlane):
        yield configured
        return
    address = configured or PREFECT_API_URL.value()
    if address:
        require_answer(
            address,
            "start it, or unset SABATIER_PREFECT_API_URL and PREFECT_API_URL to have one started "
            "for the run",
        )
        yield ControlPlane(address=address)
        return
    with embedded_server() as server:
        yield ControlPlane(embedded=server)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
