"""A scheduler of somebody else's is used with certificates, or with a stated consent."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dask.distributed import LocalCluster
from support.doors.certificates import Authority, cluster_security

from flows.cluster.dask import dask_client
from flows.cluster.scheduler_address import check_handshake, security_of
from flows.cluster.workers import ClusterPlan, TlsFiles
from flows.errors import CampaignError

FAR = "tcp://192.0.2.7:8786"
TLS = "tls://127.0.0.1:8786"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


def plan(address: str, tls: TlsFiles | None = None, *, insecure: bool = False) -> ClusterPlan:
    return ClusterPlan(1, address, tls=tls or TlsFiles(), insecure=insecure)


def test_another_machine_without_certificates_needs_a_consent() -> None:
    with pytest.raises(CampaignError, match=r"can run code as you; .*cluster\.insecure: true"):
        security_of(plan(FAR))
    assert not security_of(plan(FAR, insecure=True)).require_encryption


def test_a_loopback_address_warns_of_the_users_of_this_machine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    security_of(plan("tcp://127.0.0.1:8786"))
    (message,) = caplog.messages
    assert message.startswith("every user of this machine can run code as you")
    caplog.clear()
    security_of(plan("tcp://localhost:8786", insecure=True))
    assert caplog.messages == []


@pytest.mark.parametrize("address", ["here:8786", "http://here:1", "tls://", "tls://here:port"])
def test_an_address_of_another_form_is_one_line(address: str) -> None:
    with pytest.raises(CampaignError, match=r"address is tls://HOST:PORT, .* got '"):
        security_of(plan(address))


def test_certificates_that_are_not_given_are_asked_for(authority: Authority) -> None:
    files = authority.issue("client")
    for tls in (TlsFiles(), replace(files, ca=None), replace(files, certificate=None)):
        with pytest.raises(
            CampaignError, match=r"not both are given; give cluster\.ca, certificate"
        ):
            security_of(plan(TLS, tls))


def test_a_certificate_that_is_missing_or_none_is_one_line(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue("client")
    with pytest.raises(CampaignError, match=r"nowhere\.pem cannot be read \(No such file"):
        security_of(plan(TLS, replace(files, ca=tmp_path / "nowhere.pem")))
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(CampaignError, match=r"text\.pem is no PEM file; give one that begins"):
        security_of(plan(TLS, replace(files, certificate=tmp_path / "text.pem")))


def test_a_certificate_that_has_expired_is_one_line(authority: Authority) -> None:
    files = authority.issue("client", end=YESTERDAY)
    with pytest.raises(CampaignError, match=r"client\.pem is valid from .* to .*, and now it is"):
        security_of(plan(TLS, files))


def test_a_key_of_another_certificate_is_one_line(authority: Authority) -> None:
    other = authority.issue("other")
    with pytest.raises(CampaignError, match=r"client\.pem and its key cannot be used \(key val"):
        security_of(plan(TLS, replace(authority.issue("client"), key=other.key)))


@contextmanager
def serving(files: TlsFiles) -> Iterator[str]:
    """Serve TLS connections of this certificate's authority; give the address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(str(files.certificate), files.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                context.wrap_socket(listener.accept()[0], server_side=True).close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"tls://127.0.0.1:{listener.getsockname()[1]}"


def test_a_scheduler_whose_certificate_has_expired_is_one_line(authority: Authority) -> None:
    client = authority.issue("client")
    with serving(authority.issue("scheduler", end=YESTERDAY)) as address:
        here = plan(address, client)
        with pytest.raises(CampaignError, match=r"each other's certificates \(certificate has exp"):
            check_handshake(here, security_of(here))


@pytest.mark.medium
def test_a_scheduler_is_used_with_certificates_of_its_authority_alone(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority.make(tmp_path, "stranger").issue("stranger-client")
    security = cluster_security(authority.issue("scheduler"))
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, processes=False, security=security, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        with dask_client(plan(address, authority.issue("client"))) as client:
            assert client.submit(pow, 2, 3).result() == 8
        for tls in (stranger, replace(stranger, ca=authority.issue("c").ca)):
            refused = pytest.raises(CampaignError, match="do not accept each other's certificates")
            with refused as line, dask_client(plan(address, tls)):
                pass
            assert "\n" not in str(line.value)
