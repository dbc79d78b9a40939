"""Point Prefect's client at one server for the length of a run, and keep it quiet."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)

from flows.cluster.prefect_server import EmbeddedServer, embedded_server
from flows.errors import CampaignError

ANSWER_TIMEOUT_S = 20


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
        # A failure is raised to the caller, who says it once; Prefect would say it three times.
        for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self.embedded is None:
            _require_answer(str(self.address))
        settings = {
            PREFECT_API_URL: self.embedded.wait() if self.embedded else self.address,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # it costs 1.1 s at the end of each flow
            PREFECT_LOGGING_TO_API_ENABLED: self.embedded is None,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
        }
        with temporary_settings(settings):
            yield


def _require_answer(address: str) -> None:
    try:
        httpx.get(f"{address}/health", timeout=ANSWER_TIMEOUT_S)  # any status is an answer
    except (httpx.TransportError, httpx.InvalidURL) as fault:
        raise CampaignError(
            f"no Prefect server answers at {address} ({fault}); start it, or unset "
            "SABATIER_PREFECT_API_URL and PREFECT_API_URL to have one started for the run"
        ) from None


@contextmanager
def control_plane(configured: str | None) -> Iterator[ControlPlane]:
    """Yield the Prefect server in use.

    ``configured`` goes first, then what Prefect itself is set to (environment or profile); without
    either a server is started here, and stopped at the end.
    """
    address = configured or PREFECT_API_URL.value()
    if address:
        yield ControlPlane(address=address)
        return
    with embedded_server() as server:
        yield ControlPlane(embedded=server)
