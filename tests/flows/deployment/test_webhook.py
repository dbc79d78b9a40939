"""A webhook is notified of a run's end, and whatever it does the run goes on."""

import logging
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from support.doors.certificates import Authority
from support.processes import free_port, listening

from flows.deployment import webhook_address
from flows.deployment.webhook import (
    REFUSED,
    RetryLimits,
    WebhookMessage,
    notify_webhook,
    send_message,
)
from flows.deployment.webhook_address import Webhook

QUICK = RetryLimits(try_s=0.3, tries=3, pause_s=0.01, deadline_s=2.0)
MESSAGE = WebhookMessage("finished", "tiny: screen finished", "screen", "tiny")


@pytest.fixture(autouse=True)
def consented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consent to what listens here: it has no certificate, and its address is no public one."""
    monkeypatch.setenv("SABATIER_WEBHOOK_INSECURE", "1")


def hook(url: str | None, state: str, *, message: str = "", file: Path | None = None) -> None:
    """Call the hook as Prefect does at the end of a run."""
    given = {"campaign": "tiny"} | ({"deployments": str(file)} if file else {})
    run = SimpleNamespace(parameters=given, name="screen tiny", id=UUID(int=1))
    ended = SimpleNamespace(
        name=state, message=message, is_completed=lambda: state in ("Completed", REFUSED)
    )
    flow = SimpleNamespace(name="screen-campaign")
    with pytest.MonkeyPatch.context() as patch:
        if url is not None:
            patch.setenv("SABATIER_WEBHOOK", url)
        notify_webhook(cast(Any, flow), cast(Any, run), cast(Any, ended))


def sent(url: str, limits: RetryLimits = QUICK, *, insecure: bool = True) -> str:
    return send_message(Webhook(url, insecure), MESSAGE, limits)


def test_a_message_is_json_that_slack_shows_as_text() -> None:
    with listening() as listener:
        assert sent(listener.url) == ""
    (got,) = listener.got
    assert got["text"] == "tiny: screen finished"
    assert (got["event"], got["what"], got["campaign"]) == ("finished", "screen", "tiny")


def test_a_server_with_a_fault_is_tried_again() -> None:
    with listening(500, 503) as listener:
        assert sent(listener.url) == ""
    assert len(listener.got) == 3


def test_a_server_whose_fault_stays_is_given_up() -> None:
    with listening(500, 500, 500, 500) as listener:
        assert sent(listener.url) == "status 500"
    assert len(listener.got) == QUICK.tries


def test_a_refusal_is_not_repeated() -> None:
    with listening(404) as listener:
        assert sent(listener.url) == "status 404"
    assert len(listener.got) == 1


def test_a_server_that_is_down_is_given_up() -> None:
    assert "ConnectError" in sent(f"http://127.0.0.1:{free_port()}/")


def test_a_server_that_never_answers_holds_nobody_past_the_deadline() -> None:
    limits = RetryLimits(try_s=90.0, tries=3, pause_s=0.0, deadline_s=0.2)
    with listening(is_silent=True) as listener:
        assert "no answer within 0.2 s" in sent(listener.url, limits)


@pytest.mark.parametrize(
    ("state", "event"),
    [("Completed", "finished"), (REFUSED, "refused"), ("Failed", "failed"), ("Crashed", "failed")],
)
def test_each_end_has_its_event(state: str, event: str) -> None:
    with listening() as listener:
        hook(listener.url, state, message="because")
    assert [message["event"] for message in listener.got] == [event]
    assert listener.got[0]["text"] == f"tiny: screen {event}: because"


def test_webhook_and_events_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "deployments.yaml"
    with listening() as listener:
        file.write_text(
            f"webhook_insecure: true\nwebhook: {listener.url}\nnotify: [failed]\n"
            "campaigns: [{file: tiny.yaml, screen: {}}]\n"
        )
        hook(None, "Completed", file=file)
        hook(None, "Failed", file=file)
    assert [message["event"] for message in listener.got] == ["failed"]


def test_a_deployments_file_that_is_gone_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whether it named a webhook, or which events."""
    with listening() as listener:
        hook(listener.url, "Failed", file=tmp_path / "gone.yaml")
    (message,) = caplog.messages
    assert message.startswith("the webhook was not notified: CampaignError: ")
    assert "gone.yaml" in message
    assert listener.got == []


@pytest.mark.parametrize(
    ("stated", "environment"), [("https://hooks.test/x", "1"), (None, "0")], ids=["file", "other"]
)
def test_a_consent_holds_for_the_address_that_it_stands_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: str | None, environment: str
) -> None:
    """Neither does that of the environment cover the file's address, nor the other way round."""
    monkeypatch.setenv("SABATIER_WEBHOOK_INSECURE", environment)
    found: list[Webhook] = []
    monkeypatch.setattr(
        "flows.deployment.webhook.send_message", lambda to, *_: found.append(to) or ""
    )
    file = tmp_path / "deployments.yaml"
    file.write_text(
        (f"webhook: {stated}\n" if stated else "webhook_insecure: true\n")
        + "campaigns: [{file: tiny.yaml, screen: {}}]\n"
    )
    hook("https://environment.test/y", "Completed", file=file)
    assert found == [Webhook(stated or "https://environment.test/y", False)]


@pytest.mark.parametrize(
    ("url", "workers", "fault"),
    [("no address at all", "1", "got no scheme"), (None, "none", "SABATIER_WORKERS")],
)
def test_a_fault_of_a_hook_is_logged_and_not_raised(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    url: str | None,
    workers: str,
    fault: str,
) -> None:
    monkeypatch.setenv("SABATIER_WORKERS", workers)
    monkeypatch.setattr("flows.deployment.webhook.RetryLimits", lambda: QUICK)
    hook(url, "Completed")
    (message,) = caplog.messages
    assert message.startswith("the webhook was not notified: ")
    assert fault in message


def test_a_run_without_a_webhook_sends_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as listener:
        hook(None, "Completed")
    assert (listener.got, caplog.messages) == ([], [])


def test_http_and_private_addresses_need_a_consent() -> None:
    with listening() as listener:
        assert "is an https:// address, got http" in sent(listener.url, insecure=False)
        https = listener.url.replace("http:", "https:")
        assert "127.0.0.1 stands for 127.0.0.1" in sent(https, insecure=False)
    assert listener.got == []


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fe80::1%lo", "::ffff:127.0.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::1", "::10.0.0.1", "fec0::1"),
    ],
)
def test_a_name_that_stands_for_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    public = (0, 0, 0, "", ("93.184.216.34", 443))
    private = (0, 0, 0, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, private])
    fault = sent("https://hooks.example.org/secret", insecure=False)
    assert f"hooks.example.org stands for {address}; webhook_insecure: true" in fault


def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening() as listener:
        port = int(listener.url.split(":")[2].split("/")[0])
        answers = [[(0, 0, 0, "", ("127.0.0.1", port))]]  # whoever asks again gets an error
        monkeypatch.setattr(
            webhook_address.socket, "getaddrinfo", _first_for("hooks.test", answers)
        )
        assert sent(f"http://hooks.test:{port}/webhook") == ""
    assert listener.hosts == [f"hooks.test:{port}"]


@pytest.mark.parametrize(("name", "fault"), [("hooks.test", ""), ("other.test", "CERTIFICATE")])
def test_the_certificate_is_that_of_the_name_and_not_of_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, fault: str
) -> None:
    files = Authority.make(tmp_path).issue(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    with listening(certificate=files) as listener:
        port = int(listener.url.split(":")[2].split("/")[0])
        answers = [[(0, 0, 0, "", ("127.0.0.1", port))] for _ in range(QUICK.tries)]
        look_up = _first_for("hooks.test", answers)
        monkeypatch.setattr(webhook_address.socket, "getaddrinfo", look_up)
        assert fault in (said := sent(f"https://hooks.test:{port}/webhook"))
    assert bool(said) == bool(fault)
    assert len(listener.got) == (not fault)


def _first_for(name: str, answers: list[Any]) -> Any:
    real = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **options: Any) -> Any:
        return answers.pop(0) if host == name else real(host, *rest, **options)

    return look_up


def test_a_redirect_is_not_followed() -> None:
    with listening() as other, listening(302) as listener:
        listener.location = other.url
        assert sent(listener.url) == "status 302: it points elsewhere, which is not followed"
    assert other.got == []
    assert len(listener.got) == 1


def test_no_log_has_the_address_of_a_webhook(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flows.deployment.webhook.RetryLimits", lambda: QUICK)
    for name in (None, "httpx", "httpcore", "flows"):
        caplog.set_level(logging.DEBUG, name)
    with listening(404) as listener:
        hook(f"{listener.url}/T0/secret", "Completed")
    hook("http://127.0.0.1:1/T0/secret", "Completed")
    assert "the webhook was not notified: status 404" in caplog.text
    assert "secret" not in caplog.text
