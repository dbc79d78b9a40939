"""Point Prefect's client at one server for the length of a run, and keep it quiet."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_LEVEL,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)

from flows.server import embedded_server


@contextmanager
def prefect_api(configured: str | None) -> Iterator[str]:
    """Yield the address of the Prefect server in use.

    ``configured`` goes first, then what Prefect itself is set to (environment or profile); without
    either a server is started here and stopped at the end.
    """
    url = configured or PREFECT_API_URL.value()
    if url:
        with _client(url):
            yield url
        return
    with embedded_server() as server:
        url = server.wait()
        with _client(url):
            yield url


@contextmanager
def _client(url: str) -> Iterator[None]:
    settings = {
        PREFECT_API_URL: url,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # it costs 1.1 s at the end of each flow
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_LOGGING_LEVEL: "ERROR",
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(settings):
        yield
