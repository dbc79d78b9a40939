"""Dask's workers under the driver: one calculation each, one thread each, a death is one try."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.scheduler import KilledWorker
from support.moody_queue import CAMPAIGN, MoodyQueue, moody_queue
from support.stored_rows import queue_rows

from flows.cluster.workers import ClusterPlan
from flows.verification.dask_executor import DaskExecutor, dask_executor
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import ReferenceInputs, WorkItem
from flows.verification.work_items import CalculationSettings
from screening_db.calculations.attempts import attempts_of
from screening_db.queue.lease import Lease
from tasks.levels import level
from tasks.verification.engines import FailureKind
from tasks.verification.inputs.resources import Resources


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MoodyQueue:
    """Give a queue whose engine kills a worker once, in a session of seven threads."""
    site = str(tmp_path / "site")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(site)
    address = str(tmp_path / "screening.db")
    return moody_queue(tmp_path, address, mood="die", at="Cu3H", metals=("Cu", "Ag"))


@dataclass
class Told:
    """A client whose nannies tell of workers over their memory."""

    hear: Callable[[tuple[float, dict[str, str]]], None] = lambda event: None

    def subscribe_topic(self, topic: str, handler: Any) -> None:
        self.hear = handler


class Lost:
    """A future of a worker that died."""

    key, status = "one", "error"

    def add_done_callback(self, call: Callable[["Lost"], None]) -> None:
        call(self)

    def exception(self) -> KilledWorker:
        return KilledWorker("one", SimpleNamespace(address="tcp://worker:1"), 0)


def test_a_worker_over_its_memory_is_known_from_its_nannys_message() -> None:
    client = Told()
    executor = DaskExecutor(client)  # type: ignore[arg-type]
    client.submit = lambda *_, **__: Lost()  # type: ignore[attr-defined]
    lease = Lease("H2", "emt", "gas", "tiny", 0.0, "needed", 1, 0, "", "", {}, "token")
    item = WorkItem(lease, ReferenceInputs(), level("emt"), {}, Resources(1, 1, 1, 1))
    executor.submit(item)
    (killed,) = executor.wait_for_results(0.0)
    client.hear((0.0, {"worker": "tcp://worker:1"}))
    executor.submit(item)
    (over,) = executor.wait_for_results(0.0)
    assert killed.failure is FailureKind.KILLED
    assert over.failure is FailureKind.OUT_OF_MEMORY
    assert "start fewer workers" in over.message


@pytest.mark.slow
def test_a_worker_that_dies_is_one_try_and_its_neighbour_goes_on(queue: MoodyQueue) -> None:
    with dask_executor(ClusterPlan(2), threads=1) as workers:
        assert workers.capacity == 2
        wanted, pace = WorkFilter(CAMPAIGN, 9), DriverIntervals(poll_s=0.1, queue_check_s=0.1)
        counts = Driver(queue.db, CalculationSettings(queue.level), workers, wanted, pace).run(
            lambda _: None
        )
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert (counts.ended, counts.failed, counts.retried) == (2, 0, 1)
    error_classes = [
        [done.error_class for done in attempts_of(queue.db, row.item, "moody")]
        for row in queue_rows(queue.db)
    ]
    assert sorted(error_classes) == [[""], [""], [""], [""], ["killed", ""]]
    assert queue.tries()["Ag3H"] == 1
    assert (queue.notes / "threads").read_text().split() == ["1"] * 4
