"""A driver whose database is away keeps its items for as long as nobody else has them."""

import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from support.moody_queue import CAMPAIGN, MoodyQueue, moody_queue
from support.processes import wait_until
from support.stored_rows import queue_rows

from flows.verification import driver as driving
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import WorkItem, WorkResult
from flows.verification.work_items import CalculationSettings
from flows.verification.worker import compute_work_item
from screening_db.database import Database
from screening_db.errors import DatabaseAwayError
from screening_db.queue.lease import Lease
from screening_db.queue.queue import heartbeat
from tasks.verification.engines import plugin
from tasks.verification.inputs.resources import ResourceLimits

BEAT_S = 0.05


class OneByOne:
    """Computes one item at a time in this process, after ``before`` was called."""

    location, capacity = "", 1

    def __init__(self, before: Callable[[], object]) -> None:
        self.before, self.begun, self.dropped = before, list[WorkItem](), list[Lease]()

    def submit(self, item: WorkItem) -> None:
        self.begun.append(item)

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        return list(leases)

    def wait_for_results(self, _wait_s: float) -> list[WorkResult]:
        if not self.begun:
            return []
        self.before()
        return [compute_work_item(self.begun.pop())]

    def forget(self, _result: WorkResult) -> None:
        return None

    def cancel(self, lease: Lease) -> None:
        self.dropped.append(lease)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoodyQueue]:
    made = moody_queue(tmp_path, str(tmp_path / "screening.db"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    point = EntryPoint("moody", "moody:Moody", plugin.GROUP)
    monkeypatch.setattr(plugin, "_found", lambda: {"moody": point})
    yield made
    made.db.close()


def new_driver(queue: MoodyQueue, executor: Any) -> Driver:
    settings = CalculationSettings(queue.level, limits=ResourceLimits())
    timing = DriverIntervals(lease_s=3 * BEAT_S, poll_s=0.0, queue_check_s=0.0)
    return Driver(queue.db, settings, executor, WorkFilter(CAMPAIGN, 9), timing)


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the first four heartbeats find the database away; return which were stored."""
    stored: list[bool] = []

    def beat(db: Database, leases: Sequence[Lease], lease_s: float) -> list[Lease]:
        stored.append(len(stored) >= 4)
        if not stored[-1]:
            raise DatabaseAwayError("the connection was lost")
        assert db.wait_s == 0  # or the next beats would come too late
        return heartbeat(db, leases, lease_s)

    monkeypatch.setattr(driving, "heartbeat", beat)
    return stored


def test_an_item_whose_heartbeats_failed_for_a_while_is_completed(
    queue: MoodyQueue, beats: list[bool]
) -> None:
    executor = OneByOne(lambda: wait_until(lambda: sum(beats) > 1))
    counts = new_driver(queue, executor).run(lambda _: None)
    assert beats[:5] == [False] * 4 + [True]
    assert (counts.converged, executor.dropped) == (1, [])
    assert {row.state for row in queue_rows(queue.db)} == {"converged"}


def test_a_driver_whose_work_hangs_renews_no_lease(
    queue: MoodyQueue, beats: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "STALLED_S", -queue.db.wait_s - 1e-9)
    new_driver(queue, OneByOne(lambda: time.sleep(3 * BEAT_S))).run(lambda _: None)
    assert beats == []


def test_leases_that_cannot_be_given_back_hide_no_reason(
    queue: MoodyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseAwayError("the connection was lost")

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driving, "release", away)
    with pytest.raises(KeyboardInterrupt):
        new_driver(queue, OneByOne(interrupt)).run(lambda _: None)
