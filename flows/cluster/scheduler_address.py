"""Which Dask schedulers of others may be used, and with which certificates.

Scheduler and client exchange pickles, so each can run code as the other. With TLS that takes a
certificate of the same authority. Without it, it takes a connection to the port: by everybody on
the network, or on a loopback address by every user of this machine.
"""

import ipaddress
import logging
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from distributed.security import Security

from flows.addresses import shown_address
from flows.cluster.workers import ClusterPlan
from flows.errors import CampaignError

_HANDSHAKE_S = 5.0
_PORT = 8786  # Dask's own default
_WITHOUT_CERTIFICATES = frozenset({"tcp", "ucx"})

logger = logging.getLogger(__name__)


def security_of(plan: ClusterPlan) -> Security:
    """Return how the scheduler at the address of ``plan`` is talked to.

    Args:
        plan: The address, its certificates or the consent to do without them.

    Returns:
        Dask's security: with the certificates of a tls:// address, or with none.

    Raises:
        CampaignError: the address is of no kind that is known, goes to another machine without
            certificates and consent, or a certificate is missing, unreadable or expired.
    """
    address = str(plan.address)
    scheme, where = address.partition("://")[0], _host_and_port(address)
    if where is None or scheme not in {"tls", *_WITHOUT_CERTIFICATES}:
        raise CampaignError(
            "a scheduler's address is tls://HOST:PORT, or without certificates tcp:// or ucx://, "
            f"got {shown_address(address)!r}; correct it, or leave it out to start workers on this "
            "machine"
        )
    if scheme == "tls":
        return _with_certificates(plan)
    if plan.insecure:
        return Security(require_encryption=False)
    if not _is_loopback(where[0]):
        raise CampaignError(
            f"{shown_address(address)} has no certificates: whoever reaches that port can run code "
            "as you; start the scheduler with TLS and write tls:// with cluster.ca, certificate "
            "and key, or consent with cluster.insecure: true (SABATIER_CLUSTER_INSECURE=1)"
        )
    logger.warning(
        "every user of this machine can run code as you by the scheduler at %s, which has no "
        "certificates; cluster.insecure: true consents to that and silences this",
        shown_address(address),
    )
    return Security(require_encryption=False)


def check_handshake(plan: ClusterPlan, security: Security) -> None:
    """Refuse a scheduler whose certificate or ours does not hold; Dask would say "timed out".

    One that does not answer at all may still be starting, and Dask waits for it.

    Args:
        plan: The address.
        security: How it is talked to.

    Raises:
        CampaignError: scheduler and client do not accept each other's certificates.
    """
    where = _host_and_port(str(plan.address))
    if not security.require_encryption or where is None:
        return
    context = security.get_connection_args("client")["ssl_context"]
    try:
        with (
            socket.create_connection(where, _HANDSHAKE_S) as plain,
            context.wrap_socket(plain, server_hostname=where[0]) as connection,
        ):
            connection.recv(1)  # a server refuses a client's certificate after the handshake
    except ssl.SSLError as fault:
        why = getattr(fault, "verify_message", "") or fault.reason or str(fault)
        raise CampaignError(
            f"the scheduler at {plan.address} and this client do not accept each other's "
            f"certificates ({why.lower().replace('_', ' ')}); give those of one authority, which "
            "have not expired, as cluster.ca, certificate and key"
        ) from None
    except OSError:
        return


def _with_certificates(plan: ClusterPlan) -> Security:
    given = {
        "tls_ca_file": plan.tls.ca,
        "tls_client_cert": plan.tls.certificate,
        "tls_client_key": plan.tls.key,
    }
    files = {name: str(path.expanduser()) for name, path in given.items() if path is not None}
    security = Security(require_encryption=True, **files)
    used = security.get_tls_config_for_role("client")
    if not used["ca_file"] or not used["cert"]:
        raise CampaignError(
            f"{plan.address} is used with the certificate of its authority and one of this client, "
            "not both are given; give cluster.ca, certificate and key (SABATIER_CLUSTER_CA, "
            "SABATIER_CLUSTER_CERTIFICATE and SABATIER_CLUSTER_KEY)"
        )
    for file in (used["ca_file"], used["cert"]):
        if "\n" not in file:  # Dask's configuration may hold the text of a certificate itself
            _require_valid_now(Path(file))
    try:
        security.get_connection_args("client")
    except OSError as fault:  # ssl.SSLError is one
        why = getattr(fault, "reason", None) or fault.strerror or str(fault)
        raise CampaignError(
            f"certificate {used['cert']} and its key cannot be used "
            f"({why.lower().replace('_', ' ')}); give a key that belongs to it and can be read, as "
            "cluster.key or in the same file"
        ) from None
    return security


def _require_valid_now(file: Path) -> None:
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as fault:
        raise CampaignError(
            f"certificate {file} cannot be read ({fault.strerror}); correct cluster.ca and "
            "cluster.certificate, or the file's permissions"
        ) from None
    except ValueError:
        raise CampaignError(
            f"certificate {file} is no PEM file; give one that begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from None
    now = datetime.now(UTC)
    if not any(each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in found):
        begin, end = found[0].not_valid_before_utc, found[0].not_valid_after_utc
        raise CampaignError(
            f"certificate {file} is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, "
            f"and now it is {now:%Y-%m-%d %H:%M}; have it issued anew"
        )


def _host_and_port(address: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(address)
        port = parts.port or _PORT
    except ValueError:  # the port is no number, or a bracket is missing
        return None
    return (parts.hostname, port) if parts.hostname else None


def _is_loopback(host: str) -> bool:
    """Return whether all that a host's name stands for is this machine's loopback."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)
