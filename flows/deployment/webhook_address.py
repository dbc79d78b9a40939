"""Post to a webhook: by https to a public address, which is the one that was looked at.

The address of a webhook is often its only secret (Slack), so no message and no log shows more of
it than its host. A name may stand for an address of a private network at one moment and not at
another: it is looked up once for each attempt, and the connection goes to what was found.
"""

import ipaddress
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from flows.errors import CampaignError

_WORTH_RETRYING = frozenset({408, 425, 429})  # timeouts and rate limits, beside faults of a server
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # whose last 32 bits are an IPv4 address
# 6to4, Teredo, IPv4-compatible and site-local: given up, and some lead to private IPv4 addresses.
_NO_DESTINATION = [
    ipaddress.IPv6Network(text) for text in ("2002::/16", "2001::/32", "::/96", "fec0::/10")
]
_CONSENT = "webhook_insecure: true (SABATIER_WEBHOOK_INSECURE=1) consents to it"


@dataclass(frozen=True)
class Webhook:
    """The address of a webhook; ``insecure`` consents to http and to private networks."""

    url: str = field(repr=False)
    insecure: bool = False


def post_json(webhook: Webhook, content: Mapping[str, Any], timeout_s: float) -> tuple[str, bool]:
    """Post JSON once.

    Args:
        webhook: Where to.
        content: The JSON object.
        timeout_s: How long to wait for a connection, and for an answer.

    Returns:
        The fault, empty if there was none, and whether another attempt may help.
    """
    try:
        status = _post(webhook, content, timeout_s)
    except CampaignError as refused:
        return str(refused), False
    except httpx.InvalidURL:
        return "its address cannot be read", False
    except (httpx.HTTPError, OSError, ValueError) as fault:
        return f"{type(fault).__name__}: {fault}".replace(webhook.url, "its address"), True
    if 200 <= status < 300:
        return "", False
    if 300 <= status < 400:
        return f"status {status}: it points elsewhere, which is not followed", False
    return f"status {status}", status >= 500 or status in _WORTH_RETRYING


def _post(webhook: Webhook, content: Mapping[str, Any], timeout_s: float) -> int:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # below it writes whole addresses
    url = httpx.URL(webhook.url)
    if url.scheme != "https" and not (webhook.insecure and url.scheme == "http"):
        raise CampaignError(
            f"a webhook is an https:// address, got {url.scheme or 'no scheme'}; {_CONSENT}"
        )
    found = _looked_up(url, webhook)
    # A proxy looks names up itself, and cannot be told which address was meant.
    has_proxy = url.scheme in getproxies() and not proxy_bypass(url.host)
    with httpx.Client(
        timeout=timeout_s,
        follow_redirects=False,  # what an answer points to has not been looked at
        trust_env=has_proxy,
        verify=httpx.create_ssl_context(),
    ) as client:
        request = client.build_request(
            "POST",
            url if has_proxy else url.copy_with(host=found),
            json=content,
            headers={"Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.host},  # the certificate has to be that of the name
        )
        answer = client.send(request, stream=True)
        answer.close()  # the body is not read: it may never end
        return answer.status_code


def _looked_up(url: httpx.URL, webhook: Webhook) -> str:
    """Return the first address of a webhook's host, which has only public ones."""
    found = [
        str(each[4][0]) for each in socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    ]
    private = [each for each in found if not _is_public(each)]
    if private and not webhook.insecure:
        raise CampaignError(
            f"a webhook is at a public address, {url.host} stands for {private[0]}; {_CONSENT}"
        )
    return found[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])  # without the interface of fe80::1%eth0
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _NO_DESTINATION):
            return False
        within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = within if address in _NAT64 else address.ipv4_mapped or address
    return address.is_global and not address.is_multicast
