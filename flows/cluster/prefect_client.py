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

_ANSWER_TIMEOUT_S = 20


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
