"""Ask a Prefect server whether it answers and takes our secret, as Prefect's own client would."""

import base64
import os
import ssl

import httpx
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_CLIENT_CUSTOM_HEADERS,
)

from flows.addresses import shown_address
from flows.errors import CampaignError

_ANSWER_TIMEOUT_S = 20


def ask_no_proxy_for_this_machine() -> None:
    """Keep the secret of a server on this machine from the proxy that HTTP_PROXY names.

    Prefect's client reads the environment, and so do the processes that are started from here.
    """
    for name in ("no_proxy", "NO_PROXY"):
        stated = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*stated, "127.0.0.1", "localhost"]))


def require_answer(address: str, way_out: str) -> None:
    """Check that a server answers at ``address`` and takes the secret of Prefect's settings.

    Args:
        address: The address of its API.
        way_out: Ends the message if none answers.

    Raises:
        CampaignError: none answers, the secret is wrong or missing, or a setting of Prefect's
            client cannot be used.
    """
    ask_no_proxy_for_this_machine()
    shown = shown_address(address)
    headers, certificates = _client_headers(), _server_certificates()
    try:
        answer = httpx.get(
            f"{address}/admin/version",  # costs nothing, and /health would answer without a secret
            headers=headers,
            timeout=_ANSWER_TIMEOUT_S,
            verify=certificates,
        )
    except (httpx.TransportError, httpx.InvalidURL, ValueError) as fault:  # of a host, IDNA's
        raise CampaignError(f"no Prefect server answers at {shown} ({fault}); {way_out}") from None
    if answer.status_code in (401, 403):
        why = "the one given is not it" if "Authorization" in headers else "none is given"
        raise CampaignError(
            f"the Prefect server at {shown} wants its secret, {why}; set PREFECT_API_AUTH_STRING "
            "to the PREFECT_SERVER_API_AUTH_STRING of that server (Prefect Cloud: PREFECT_API_KEY)"
        )


def _client_headers() -> dict[str, str]:
    """Return the headers by which Prefect's client would be known to a server."""
    headers = dict(PREFECT_CLIENT_CUSTOM_HEADERS.value() or {})
    if secret := PREFECT_API_AUTH_STRING.value():
        encoded = _encoded("PREFECT_API_AUTH_STRING", secret, "utf-8")
        headers["Authorization"] = f"Basic {base64.b64encode(encoded).decode()}"
    elif key := PREFECT_API_KEY.value():
        headers["Authorization"] = f"Bearer {_encoded('PREFECT_API_KEY', key, 'ascii').decode()}"
    return headers


def _encoded(name: str, secret: str, encoding: str) -> bytes:
    try:
        return secret.encode(encoding)
    except UnicodeEncodeError:  # its text would show the secret
        raise CampaignError(
            f"{name} is text in {encoding.upper()}, the one given has other bytes; set it again"
        ) from None


def _server_certificates() -> ssl.SSLContext:
    """Return the authorities that Prefect's client believes."""
    file = PREFECT_API_SSL_CERT_FILE.value()
    try:
        context = ssl.create_default_context(cafile=file)
    except OSError as fault:
        raise CampaignError(
            f"PREFECT_API_SSL_CERT_FILE is a PEM file of certificates, {file} cannot be read "
            f"({fault.strerror or fault}); correct it or unset it"
        ) from None
    if PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value():
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
