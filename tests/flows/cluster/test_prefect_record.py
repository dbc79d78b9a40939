"""A run does not depend on Prefect: its work is done once, and its faults stay its own."""

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cluster import prefect_record
from flows.cluster.prefect_record import PrefectRecord

WHERE = "the Prefect server at http://here"


class GoneError(Exception):
    """Stands for what Prefect's client raises where no server answers."""


class Work:
    """A piece of work that counts its calls."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.calls: list[int] = []
        self.fault = fault

    def __call__(self, number: int) -> int:
        self.calls.append(number)
        if self.fault is not None:
            raise self.fault
        return number + 1


def engine(when: str, calls: list[str]) -> Callable[..., Any]:
    """Return a decorator like Prefect's whose server is gone before or after the work."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(when)
            if when == "before":
                raise GoneError("no answer")
            try:
                done = function(*arguments)
            except BaseException as fault:
                raise GoneError("no answer to the failure") from fault
            raise GoneError(f"no answer to the end: {done}")

        return call

    return lambda **_: decorate


@pytest.mark.parametrize("when", ["before", "after"])
def test_work_is_done_once_wherever_the_server_is_lost_and_the_rest_without_it(
    when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(prefect_record, "flow", engine(when, asked))
    monkeypatch.setattr(prefect_record, "task", engine(when, asked))
    record, work = PrefectRecord(WHERE), Work()
    with caplog.at_level(logging.WARNING):
        score = record.task(work, name="score")

        def body(number: int) -> int:
            return score(number) + score(number + 10)

        assert record.flow(body, name="screen", run_name="screen")(1) == 14
        assert record.task(work, name="score")(5) == 6
    assert work.calls == [1, 11, 5]
    assert record.is_lost
    assert len(asked) == (1 if when == "before" else 2)  # the flow, and its first task
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith(f"{WHERE} is lost (GoneError: no answer")
    assert "\n" not in line


@pytest.mark.parametrize("fault", [KeyError("the work's own"), KeyboardInterrupt()])
def test_a_fault_of_the_work_is_not_taken_for_prefects(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_record, "task", engine("after", []))
    record, work = PrefectRecord(WHERE), Work(fault)
    with pytest.raises(type(fault)) as raised:
        record.task(work, name="score")(1)
    assert raised.value is fault
    assert (work.calls, record.is_lost) == ([1], False)


@pytest.mark.parametrize(
    ("stop", "status"), [(KeyboardInterrupt(), 130), (TerminationSignal(15), 143)]
)
def test_a_stop_in_prefects_own_code_is_not_taken_for_a_lost_server(
    stop: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        if isinstance(stop, KeyboardInterrupt):
            with suppress(KeyboardInterrupt):  # it has been handled when Prefect tells of it
                signal.raise_signal(signal.SIGINT)
        gone = GoneError("no answer to the stop")  # as Prefect tells its server of any end
        gone.__context__ = stop
        raise gone

    monkeypatch.setattr(prefect_record, "task", lambda **_: lambda _function: stopped)
    record, work = PrefectRecord(WHERE), Work()
    with pytest.raises(SystemExit) as ended, exit_cleanly_on_signal("go on with the same"):
        record.task(work, name="score")(1)
    logging.disable(logging.NOTSET)
    assert ended.value.code == status
    assert (work.calls, record.is_lost) == ([], False)


def test_a_server_that_has_ended_is_not_asked() -> None:
    record = PrefectRecord(WHERE, is_gone=lambda: True)
    assert record.task(Work(), name="score")(1) == 2
    assert record.is_lost


@pytest.mark.medium
def test_prefects_own_engine_without_a_server(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()

    def screen(campaign: str) -> int:
        return record.task(work, name="score")(len(campaign))

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), caplog.at_level("WARN"):
        record = PrefectRecord(WHERE)
        assert record.flow(screen, name="screen", run_name="{campaign}")("tiny") == 5
    assert (work.calls, record.is_lost) == ([4], True)
    assert WHERE in caplog.text
