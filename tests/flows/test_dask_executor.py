"""Dask's workers under the driver: one calculation each, one thread each, a death is one try."""

import os
from pathlib import Path

import pytest
from moody_queue import CAMPAIGN, MoodyQueue, moody_queue

from flows.dask_executor import dask_executor
from flows.drive import Driver, Pace, Wanted
from flows.verify_work import Terms
from flows.workers import ClusterPlan
from screening_db.calculations import tries
from screening_db.queries import queue_items

pytestmark = pytest.mark.slow


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MoodyQueue:
    """Give a queue whose engine kills a worker once, in a session of seven threads."""
    site = str(tmp_path / "site")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(site)
    address = str(tmp_path / "screening.db")
    return moody_queue(tmp_path, address, mood="die", at="Cu3H", metals=("Cu", "Ag"))


def test_a_worker_that_dies_is_one_try_and_its_neighbour_goes_on(queue: MoodyQueue) -> None:
    with dask_executor(ClusterPlan(2), threads=1) as workers:
        assert workers.capacity == 2
        wanted, pace = Wanted(CAMPAIGN, 9), Pace(poll_s=0.1, look_s=0.1)
        counts = Driver(queue.db, Terms(queue.level), workers, wanted, pace).run(lambda _: None)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert (counts.ended, counts.failed, counts.retried) == (2, 0, 1)
    told = [
        [done.error_class for done in tries(queue.db, row.item, "moody")]
        for row in queue_items(queue.db)
    ]
    assert sorted(told) == [[""], [""], [""], [""], ["killed", ""]]
    assert queue.tries()["Ag3H"] == 1
    assert (queue.notes / "threads").read_text().split() == ["1"] * 4
