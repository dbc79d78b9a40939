"""One Prefect server for a whole run, embedded unless one is configured, and its quiet client.

Prefect is the control plane and never the record: the embedded server keeps its data in a folder
that is thrown away, so that the user's own Prefect is left as it was.

Prefect's own ``SubprocessASGIServer`` does less. It outlives a parent that is killed, it takes
Ctrl-C together with the run, it writes into the user's PREFECT_HOME with the user's settings, it
blocks until the server answers (10 s that Dask's workers start in here), and it keeps no schedules.
"""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)

from flows.cluster.workers import free_port
from flows.errors import CampaignError

START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 20
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


class ServerError(CampaignError):
    """The embedded Prefect server did not come up."""


@dataclass
class EmbeddedServer:
    """A Prefect server in a process of its own, which may still be starting."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def api_url(self) -> str:
        """Return the address for Prefect's client."""
        return f"http://127.0.0.1:{self.port}/api"

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Return the address once the server answers.

        Raises:
            ServerError: it ended, or did not answer in time; its last lines are in the message.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.api_url}/health", timeout=5).is_success:
                    return self.api_url
            except httpx.TransportError:
                time.sleep(0.1)
        raise ServerError(
            f"the embedded Prefect server did not answer within {timeout_s:.0f} s:\n"
            + self.log.read_text(errors="replace")[-2000:]
        )

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
        server = _start(Path(home), _ONE_RUN)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def scheduling_server(home: Path) -> Iterator[EmbeddedServer]:
    """Yield a server that is starting and keeps schedules and history in ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    server = _start(home.absolute(), {})
    try:
        yield server
    finally:
        server.stop()


def _start(home: Path, variables: Mapping[str, str]) -> EmbeddedServer:
    port, log = free_port(), home / "server.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cluster.prefect_server", str(port)],
            env={**inherited, **SERVER_ENVIRONMENT, **variables, "PREFECT_HOME": str(home)},
            stdin=subprocess.PIPE,  # it closes when this process dies, however it dies
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for the run, which then stops its server
        )
    return EmbeddedServer(process, port, log)


def serve(port: int) -> None:
    """Serve Prefect's API until the process that started this one is gone."""
    import uvicorn  # only this process needs it, and the command line should start at once

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent closes the pipe, by its death at the latest
    os._exit(0)


@dataclass(frozen=True)
class ControlPlane:
    """A Prefect server: a running one by its address, or an embedded one that is starting."""

    address: str | None = None
    embedded: EmbeddedServer | None = None

    @property
    def api_url(self) -> str | None:
        """Return the address of the server, which may still be starting."""
        return self.embedded.api_url if self.embedded else self.address

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Wait for the server, then let Prefect's client use it."""
        # A failure is raised to the caller, who prints it once; Prefect would log it three times.
        for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self.embedded is None:
            require_answer(
                str(self.address),
                "start it, or unset SABATIER_PREFECT_API_URL and PREFECT_API_URL to have one "
                "started for the run",
            )
        settings = {
            PREFECT_API_URL: self.embedded.wait() if self.embedded else self.address,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # it costs 1.1 s at the end of each flow
            PREFECT_LOGGING_TO_API_ENABLED: self.embedded is None,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
        }
        with temporary_settings(settings):
            yield


def require_answer(address: str, way_out: str) -> None:
    """Check that a server answers at ``address``; ``way_out`` ends the message if none does.

    Raises:
        CampaignError: none answers.
    """
    try:
        httpx.get(f"{address}/health", timeout=_ANSWER_TIMEOUT_S)  # any status is an answer
    except (httpx.TransportError, httpx.InvalidURL) as fault:
        raise CampaignError(
            f"no Prefect server answers at {address} ({fault}); {way_out}"
        ) from None


@contextmanager
def control_plane(configured: str | None) -> Iterator[ControlPlane]:
    """Yield the Prefect server of a run.

    Without a configured one a server is started here, and stopped at the end.

    Args:
        configured: The address in Sabatier's settings; None for that of Prefect's own settings
            (environment or profile).

    Yields:
        The server, which may still be starting: ``connected`` waits for it.
    """
    address = configured or PREFECT_API_URL.value()
    if address:
        yield ControlPlane(address=address)
        return
    with embedded_server() as server:
        yield ControlPlane(embedded=server)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
