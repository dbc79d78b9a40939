"""A webhook is notified of a run's end, and whatever it does the run goes on."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from support.processes import free_port, listening

from flows.deployment.webhook import (
    REFUSED,
    RetryLimits,
    WebhookMessage,
    notify_webhook,
    send_message,
)

QUICK = RetryLimits(try_s=0.3, tries=3, pause_s=0.01, deadline_s=2.0)
MESSAGE = WebhookMessage("finished", "tiny: screen finished", "screen", "tiny")


def hook(
    url: str | None, state: str, *, message: str = "", events: list[str] | None = None
) -> None:
    """Call the hook as Prefect does at the end of a run."""
    given = {"campaign": "tiny", "webhook": url} | ({"notify": events} if events else {})
    run = SimpleNamespace(parameters=given, name="screen tiny", id=UUID(int=1))
    ended = SimpleNamespace(
        name=state, message=message, is_completed=lambda: state in ("Completed", REFUSED)
    )
    flow = SimpleNamespace(name="screen-campaign")
    notify_webhook(cast(Any, flow), cast(Any, run), cast(Any, ended))


def test_a_message_is_json_that_slack_shows_as_text() -> None:
    with listening() as listener:
        assert send_message(listener.url, MESSAGE, QUICK) == ""
    (got,) = listener.got
    assert got["text"] == "tiny: screen finished"
    assert (got["event"], got["what"], got["campaign"]) == ("finished", "screen", "tiny")


def test_a_server_with_a_fault_is_tried_again() -> None:
    with listening(500, 503) as listener:
        assert send_message(listener.url, MESSAGE, QUICK) == ""
    assert len(listener.got) == 3


def test_a_server_whose_fault_stays_is_given_up() -> None:
    with listening(500, 500, 500, 500) as listener:
        assert send_message(listener.url, MESSAGE, QUICK) == "status 500"
    assert len(listener.got) == QUICK.tries


def test_a_refusal_is_not_repeated() -> None:
    with listening(404) as listener:
        assert send_message(listener.url, MESSAGE, QUICK) == "status 404"
    assert len(listener.got) == 1


def test_a_server_that_is_down_is_given_up() -> None:
    assert "ConnectError" in send_message(f"http://127.0.0.1:{free_port()}/", MESSAGE, QUICK)


def test_a_server_that_never_answers_holds_nobody_past_the_deadline() -> None:
    limits = RetryLimits(try_s=90.0, tries=3, pause_s=0.0, deadline_s=0.2)
    with listening(is_silent=True) as listener:
        assert "no answer within 0.2 s" in send_message(listener.url, MESSAGE, limits)


@pytest.mark.parametrize(
    ("state", "event"),
    [("Completed", "finished"), (REFUSED, "refused"), ("Failed", "failed"), ("Crashed", "failed")],
)
def test_each_end_has_its_event(state: str, event: str) -> None:
    with listening() as listener:
        hook(listener.url, state, message="because")
    assert [message["event"] for message in listener.got] == [event]
    assert listener.got[0]["text"] == f"tiny: screen {event}: because"


def test_only_the_events_of_the_file_are_sent() -> None:
    with listening() as listener:
        hook(listener.url, "Completed", events=["failed"])
        hook(listener.url, "Failed", events=["failed"])
    assert [message["event"] for message in listener.got] == ["failed"]


def test_a_secret_webhook_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as listener:
        monkeypatch.setenv("SABATIER_WEBHOOK", listener.url)
        hook(None, "Completed")
    assert len(listener.got) == 1


@pytest.mark.parametrize(
    ("url", "workers", "fault"),
    [("no address at all", "1", "UnsupportedProtocol"), (None, "none", "SABATIER_WORKERS")],
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
