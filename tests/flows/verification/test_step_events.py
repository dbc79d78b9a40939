"""Steps find their way from a worker to the database, from a file or through Dask."""

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from dask.distributed import Client, LocalCluster
from support.processes import wait_until

from flows.verification import step_events
from flows.verification.step_events import StepListener, StepReporter, steps_recorded
from screening_db.calculations.steps import ReportedStep, Step
from screening_db.queue.lease import Lease

LEASE = Lease("a1", "emt", "adslab", "tiny", 0.0, "needed", 1, 0, "", "", {}, "token")


def step(number: int) -> Step:
    return Step(number, -1.0, 0.5, 10.0)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[ReportedStep]:
    """Catch what would be stored, of a try that runs."""
    found: list[ReportedStep] = []

    def record(db: object, steps: list[ReportedStep]) -> set[Any]:
        found.extend(steps)
        return {one.key for one in steps}

    monkeypatch.setattr(step_events, "record_reported_steps", record)
    monkeypatch.setattr(step_events, "REPORT_INTERVAL_S", 0.0)
    return found


def test_a_worker_of_no_cluster_tells_by_a_file(stored: list[ReportedStep], tmp_path: Path) -> None:
    reporter, listener = StepReporter(LEASE, str(tmp_path)), StepListener(Any, str(tmp_path))  # type: ignore[arg-type]
    reporter.report(step(0), lambda: "at 0")
    reporter.report(step(1), lambda: "at 1")
    listener.store()
    listener.store()  # nothing new
    reporter.report(step(2), lambda: "at 2")
    listener.store()
    assert [(one.step, one.structure) for one in stored] == [(step(n), f"at {n}") for n in range(3)]
    assert {one.key for one in stored} == {LEASE.key}
    (file,) = (tmp_path / "steps").iterdir()
    reporter.end()
    assert not file.exists()


def test_a_work_folder_under_a_file_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reporter = StepReporter(LEASE, str(tmp_path / "file" / "x"))
    reporter.report(step(0), lambda: "at 0")
    reporter.end()
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_a_line_half_written_waits_for_its_end(stored: list[ReportedStep], tmp_path: Path) -> None:
    reporter, listener = StepReporter(LEASE, str(tmp_path)), StepListener(Any, str(tmp_path))  # type: ignore[arg-type]
    reporter.report(step(0), lambda: "at 0")
    (file,) = (tmp_path / "steps").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:30])
    listener.store()
    assert len(stored) == 1
    file.write_bytes(whole + whole)
    listener.store()
    assert len(stored) == 2


def test_steps_that_follow_soon_are_not_sent(
    stored: list[ReportedStep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_events, "REPORT_INTERVAL_S", 60.0)
    StepReporter(LEASE, str(tmp_path)).report(step(0), lambda: "at 0")
    assert not (tmp_path / "steps").exists()


def test_without_a_work_folder_nothing_is_written(stored: list[ReportedStep]) -> None:
    reporter = StepReporter(LEASE, "")
    reporter.report(step(0), lambda: "at 0")
    reporter.end()
    StepListener(Any, "").store()  # type: ignore[arg-type]
    assert stored == []


def test_a_worker_of_dask_tells_by_an_event(
    stored: list[ReportedStep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_events, "POLL_S", 0.02)
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    )
    with (
        cluster,
        Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        steps_recorded(MagicMock(), "") as listener,
    ):
        listener.listen(client)
        client.submit(_tells, LEASE, pure=False).result()
        assert wait_until(lambda: len(stored) == 2)
    assert [(one.step.step, one.structure) for one in stored] == [(0, "at 0"), (1, "at 1")]


def _tells(lease: Lease) -> None:
    reporter = StepReporter(lease, "")
    reporter.report(step(0), lambda: "at 0")
    reporter.report(step(1), lambda: "at 1")
