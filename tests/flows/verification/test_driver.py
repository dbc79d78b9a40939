"""The driver's policy, with an executor that computes in this process: nothing is done twice."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support.moody_queue import CAMPAIGN, MoodyQueue, moody_queue
from support.processes import wait_until
from support.stored_rows import queue_rows

from flows.cluster.workers import ClusterPlan
from flows.errors import CampaignError
from flows.verification import driver as driving
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import SubmissionError, WorkItem, WorkResult
from flows.verification.flow import DaskWorkers, run_verification, with_launcher
from flows.verification.recording import VerificationCounts
from flows.verification.work_items import CalculationSettings
from flows.verification.worker import compute_work_item
from model.errors import FolderError
from screening_db.calculations.attempts import attempts_of
from screening_db.calculations.failure_policy import POLICY
from screening_db.database import Database
from screening_db.errors import DatabaseAwayError, DatabaseError
from screening_db.queries.campaigns import find_campaign
from screening_db.queries.labels import find_label
from screening_db.queue.commands import cancel, retry
from screening_db.queue.lease import Lease, take_over_jobs
from screening_db.queue.queue import heartbeat
from tasks.levels import level
from tasks.verification.engines import EngineLocation, FailureKind, plugin
from tasks.verification.engines.base import LADDER
from tasks.verification.engines.potentials.diep import DiepEngine
from tasks.verification.inputs.resources import ResourceLimits

pytestmark = pytest.mark.medium

QUICK = DriverIntervals(lease_s=30.0, poll_s=0.0, queue_check_s=0.0)
SHORT = DriverIntervals(lease_s=0.15, poll_s=0.0, queue_check_s=0.0)  # a heartbeat every 0.05 s


@dataclass
class Inline:
    """Computes one at a time, when it is asked what has ended; the last one begun goes first."""

    location: str = ""
    capacity: int = 2
    room: int = 99  # how many are taken before jobs are refused
    begun: list[WorkItem] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    most: int = 0
    dropped: list[Lease] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def job_name(self, lease: Lease) -> str:
        return f"{self.location}#{lease.item}"

    def submit(self, item: WorkItem) -> None:
        if len(self.begun) >= self.room:
            raise SubmissionError("full")
        self.begun.append(item)
        self.most = max(self.most, len(self.begun))

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        return list(leases)

    def wait_for_results(self, _wait_s: float) -> list[WorkResult]:
        self.meanwhile()
        if not self.begun:
            return []
        item = self.begun.pop()
        self.order.append(item.lease.kind)
        return [compute_work_item(item)]

    def forget(self, _result: WorkResult) -> None:
        return None

    def cancel(self, lease: Lease) -> None:
        self.dropped.append(lease)
        self.begun = [item for item in self.begun if item.lease != lease]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MoodyQueue]:
    """Return a function that makes a queue whose engine this process finds."""

    def queue(**how: Any) -> MoodyQueue:
        found = moody_queue(tmp_path, str(tmp_path / "screening.db"), **how)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        point = EntryPoint("moody", "moody:Moody", plugin.GROUP)
        monkeypatch.setattr(plugin, "_found", lambda: {"moody": point})
        return found

    return queue


def drive(
    queue: MoodyQueue, executor: Inline, adslabs: int = 99, intervals: DriverIntervals = QUICK
) -> VerificationCounts:
    settings = CalculationSettings(queue.level, limits=ResourceLimits())
    work_filter = WorkFilter(CAMPAIGN, adslabs)
    driver = Driver(queue.db, settings, executor, work_filter, intervals)
    return driver.run(lambda _: None)


def states(queue: MoodyQueue) -> dict[str, int]:
    found = [row.state for row in queue_rows(queue.db)]
    return {state: found.count(state) for state in found}


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.value in POLICY])
def test_each_class_of_failure_ends_in_its_state_after_its_tries(
    make: Callable[..., MoodyQueue], kind: FailureKind
) -> None:
    queue = make(mood=kind.value, at="Cu3H", times=99)
    counts = drive(queue, Inline())
    (adslab,) = [row for row in queue_rows(queue.db) if row.kind == "adslab"]
    rule = POLICY[kind.value]
    attempts = attempts_of(queue.db, adslab.item, queue.level.name)
    assert (adslab.state, adslab.error_class) == ("failed", kind.value)
    assert len(attempts) == rule.attempts == queue.tries()["Cu3H"]
    assert adslab.memory_class == (rule.attempts - 1 if rule.larger_memory else 0)
    assert counts == VerificationCounts(failed=1, retried=rule.attempts - 1)


def test_a_failure_that_passes_ends_in_a_label(make: Callable[..., MoodyQueue]) -> None:
    queue = make(mood="wall_limit", at="Cu3H", times=3)
    counts = drive(queue, Inline())
    assert counts.ended == 1
    assert counts.retried == 3
    assert queue.tries() == {"H2": 1, "Cu3": 1, "Cu3H": 4}


def test_slabs_and_molecules_come_first_and_room_is_bounded(
    make: Callable[..., MoodyQueue],
) -> None:
    queue, executor = make(metals=("Cu", "Ag", "Au")), Inline(capacity=3)
    assert drive(queue, executor).ended == 3
    assert executor.most <= 3
    assert executor.order.index("adslab") > executor.order.index("gas")
    assert len(executor.order) == 7
    assert set(queue.tries().values()) == {1}


def test_a_place_is_filled_as_soon_as_one_ends(make: Callable[..., MoodyQueue]) -> None:
    queue = make(metals=("Cu", "Ag", "Au"))
    seen: list[int] = []
    executor = Inline(capacity=2)
    executor.meanwhile = lambda: seen.append(len(executor.begun))
    drive(queue, executor)
    assert seen[:4] == [2, 2, 2, 2]  # seven in all; none waits for the end of a batch


def test_the_limit_counts_adslabs_in_flight(make: Callable[..., MoodyQueue]) -> None:
    queue = make(metals=("Cu", "Ag", "Au"))
    assert drive(queue, Inline(capacity=9), adslabs=2).ended == 2
    assert sum(queue.tries()[f"{metal}3H"] for metal in ("Cu", "Ag", "Au")) == 2


def test_a_failed_slab_fails_its_adslabs_and_no_others(make: Callable[..., MoodyQueue]) -> None:
    queue = make(mood="bad_input", at="Cu3", times=9, metals=("Cu", "Ag"))
    counts = drive(queue, Inline())
    assert (counts.dependency_failed, counts.failed, counts.ended) == (1, 0, 2)
    assert queue.tries()["Cu3H"] == 0


def test_larger_memory_classes_are_left_to_others(make: Callable[..., MoodyQueue]) -> None:
    queue = make(mood="out_of_memory", at="Cu3H", times=1)
    wanted = WorkFilter(CAMPAIGN, 9, memory_class=0)
    Driver(queue.db, CalculationSettings(queue.level), Inline(), wanted, QUICK).run(lambda _: None)
    (adslab,) = [row for row in queue_rows(queue.db) if row.kind == "adslab"]
    assert (adslab.state, adslab.memory_class) == ("queued", 1)
    executor = Inline()
    drive(queue, executor)
    assert states(queue)["converged"] + states(queue).get("anomalous", 0) == 3


def test_an_item_that_no_executor_takes_is_given_back_and_tried_later(
    make: Callable[..., MoodyQueue],
) -> None:
    queue, executor = make(metals=("Cu", "Ag", "Au")), Inline(capacity=5, room=1)
    assert drive(queue, executor).ended == 3
    rows = [t for row in queue_rows(queue.db) for t in attempts_of(queue.db, row.item, "moody")]
    assert {row.attempt for row in rows} == {1}  # a refused job is no try


def test_where_nothing_is_taken_the_refusal_is_in_the_message(
    make: Callable[..., MoodyQueue],
) -> None:
    queue = make()
    with pytest.raises(SubmissionError, match="full"):
        drive(queue, Inline(room=0))
    assert set(states(queue)) <= {"queued", "waiting"}


@pytest.mark.parametrize("location", ["", "here"])
def test_an_interrupt_gives_leases_back_or_leaves_jobs_to_the_next(
    make: Callable[..., MoodyQueue], location: str
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    queue = make()
    with pytest.raises(KeyboardInterrupt):
        drive(queue, Inline(location=location, meanwhile=interrupt))
    if location:
        assert len(take_over_jobs(queue.db, "moody", location, 30)) == 2
    else:
        assert set(states(queue)) <= {"queued", "waiting"}
        attempts = [
            t for row in queue_rows(queue.db) for t in attempts_of(queue.db, row.item, "moody")
        ]
        assert {(tried.state, tried.attempt) for tried in attempts} == {("cancelled", 1)}
        assert {row.attempts for row in queue_rows(queue.db)} == {0}


def test_an_item_that_a_person_cancels_is_dropped(make: Callable[..., MoodyQueue]) -> None:
    queue, executor = make(metals=("Cu", "Ag")), Inline(capacity=9)
    cancelled, ready = [], threading.Event()

    def order() -> None:
        if not cancelled and executor.begun:
            cancelled.append(executor.begun[0].lease.item)
            cancel(queue.db, [(cancelled[0], "moody")])
        if not executor.dropped:
            ready.wait(0.2)  # the next heartbeat finds it out

    executor.meanwhile = order
    drive(queue, executor, intervals=DriverIntervals(lease_s=0.3, poll_s=0.0, queue_check_s=0.0))
    assert [lease.item for lease in executor.dropped] == cancelled
    assert executor.begun == []


def test_a_candidate_without_a_structure_fails_and_the_rest_goes_on(
    make: Callable[..., MoodyQueue],
) -> None:
    queue = make(metals=("Cu", "Ag"))
    with queue.db.write() as session:
        hollow = "WHERE site = 'hollow Cu'"
        session.execute(text(f"UPDATE stored_candidate SET structure = NULL {hollow}"))
    counts = drive(queue, Inline())
    assert (counts.failed, counts.ended) == (1, 2)


def test_an_adslab_at_its_step_limit_goes_on_and_is_an_anomaly_after_its_tries(
    make: Callable[..., MoodyQueue],
) -> None:
    queue = make(relaxation={"max_steps": 4})  # the slab and the gas end within them
    counts = drive(queue, Inline())
    (adslab,) = [row for row in queue_rows(queue.db) if row.kind == "adslab"]
    first, second = attempts_of(queue.db, adslab.item, queue.level.name)
    assert (adslab.state, counts.anomalous, counts.retried) == ("anomalous", 1, 1)
    assert (first.error_class, second.state) == ("ions_not_converged", "anomalous")
    assert second.note == "begun at the last geometry of try 1"
    found = find_label(queue.db, adslab.item, queue.level.name)
    assert found is not None
    assert found.flags == ["ions_not_converged"]
    assert found.flag_numbers == {"ions_not_converged": [found.fmax, 0.05]}
    key = (adslab.item, queue.level.name)
    assert [changed for changed, _ in retry(queue.db, [key]).changed] == [key]
    assert drive(queue, Inline()).converged == 1
    assert attempts_of(queue.db, *key)[2].note == "begun at the last geometry of try 2"
    assert retry(queue.db, [key]).unchanged[0].reason == "it is converged: its result stays"


def test_an_end_at_the_step_limit_of_a_potential_is_a_flagged_label_at_once(
    make: Callable[..., MoodyQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin.PluginEngine, "repeats_relaxations", DiepEngine.repeats_relaxations)
    queue = make(relaxation={"max_steps": 4})
    counts = drive(queue, Inline())
    (adslab,) = [row for row in queue_rows(queue.db) if row.kind == "adslab"]
    (only,) = attempts_of(queue.db, adslab.item, queue.level.name)
    assert (only.state, counts.anomalous, counts.retried) == ("anomalous", 1, 0)
    found = find_label(queue.db, adslab.item, queue.level.name)
    assert found is not None
    assert (found.flags, found.trainable) == (["ions_not_converged"], False)


def test_every_rung_of_the_ladder_is_recorded_where_one_of_them_ends_well(
    make: Callable[..., MoodyQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin.PluginEngine, "ladder", LADDER)
    queue = make(mood="scf_not_converged", at="all", times=1)
    assert drive(queue, Inline()).ended == 1
    for item in queue_rows(queue.db):
        (tried,) = attempts_of(queue.db, item.item, queue.level.name)
        assert tried.rungs == [
            "as stated: scf_not_converged in a mood of scf_not_converged",
            "gentle mixing: converged",
        ]


@pytest.mark.parametrize("location", ["", "here"])
def test_a_place_without_the_engine_costs_no_item_its_tries(
    make: Callable[..., MoodyQueue], location: str
) -> None:
    queue = make(mood="not_installed", at="Cu3", times=1, metals=("Cu", "Ag"))
    with pytest.raises(CampaignError, match=f"host {socket.gethostname()} cannot compute level"):
        drive(queue, Inline(location=location))
    assert "failed" not in states(queue)
    (slab,) = [row for row in queue_rows(queue.db) if row.attempts == 0 and row.kind == "slab"]
    (tried,) = attempts_of(queue.db, slab.item, queue.level.name)
    assert (tried.state, tried.host) == ("cancelled", socket.gethostname())
    assert "in a mood of not_installed" in tried.error_message
    assert drive(queue, Inline(location=location)).ended == 2


def test_a_work_folder_that_cannot_be_made_is_refused_before_anything_begins(
    make: Callable[..., MoodyQueue], tmp_path: Path
) -> None:
    queue = make()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"file/x .* \(Not a directory\); set SABATIER_ENGINE"):
        run_verification(
            queue.db,
            find_campaign(queue.db, CAMPAIGN),
            limit=None,
            engine=None,
            where=DaskWorkers(ClusterPlan(1)),
            engine_locations={"moody": EngineLocation(work=str(tmp_path / "file" / "x"))},
        )
    assert queue.tries() == {}


@pytest.mark.parametrize(
    ("name", "cores", "launcher", "kept", "said"),
    [
        ("qe-pbe", 4, "mpirun -n {ranks}", 1, "mpirun is not found, which starts quantum-espresso"),
        ("qe-pbe", 4, "here -n {ranks}", 4, ""),
        ("qe-pbe", 1, "mpirun -n {ranks}", 1, ""),  # one core has no use for it
        ("gpaw-rpbe", 4, "mpirun -n {ranks}", 4, ""),  # it computes in the worker's own process
    ],
)
def test_a_launcher_that_is_missing_leaves_one_core_to_each_calculation(
    name: str,
    cores: int,
    launcher: str,
    kept: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "here"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = CalculationSettings(level(name), {}, ResourceLimits(max_cpus=cores), launcher)
    assert with_launcher(settings).limits.max_cpus == kept
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert printed.count("\n") == bool(said)


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
    make: Callable[..., MoodyQueue], beats: list[bool]
) -> None:
    queue, executor = make(), Inline(capacity=1)
    executor.meanwhile = lambda: wait_until(lambda: sum(beats) > 1) and None
    counts = drive(queue, executor, intervals=SHORT)
    assert beats[:5] == [False] * 4 + [True]
    assert (counts.converged, executor.dropped) == (1, [])
    assert {row.state for row in queue_rows(queue.db)} == {"converged"}


def test_a_fault_of_the_database_that_lasts_ends_the_driver(
    make: Callable[..., MoodyQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten = threading.Event()

    def refused_beat(*_: object) -> list[Lease]:
        beaten.set()
        raise DatabaseError("campaign moody was taken over")

    def refused_claim(*_: object, **__: object) -> list[Lease]:
        if beaten.is_set():
            raise DatabaseError("campaign moody was taken over")
        return []

    monkeypatch.setattr(driving, "heartbeat", refused_beat)
    monkeypatch.setattr(driving, "claim", refused_claim)
    monkeypatch.setattr(Driver, "_others_work", lambda _: True)
    turns = 0

    def advance(_: int) -> None:
        nonlocal turns
        assert beaten.wait(60)
        turns += 1
        if turns > 20:
            raise AssertionError("the driver goes on without a claim and without an error")

    queue = make()
    settings = CalculationSettings(queue.level, limits=ResourceLimits())
    driver = Driver(queue.db, settings, Inline(), WorkFilter(CAMPAIGN, 99), SHORT)
    with pytest.raises(DatabaseError, match="was taken over"):
        driver.run(advance)


def test_a_driver_whose_work_hangs_renews_no_lease(
    make: Callable[..., MoodyQueue], beats: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, executor = make(), Inline(capacity=1)
    executor.meanwhile = lambda: time.sleep(SHORT.lease_s)
    monkeypatch.setattr(driving, "STALLED_S", -queue.db.wait_s - 1e-9)
    drive(queue, executor, intervals=SHORT)
    assert beats == []


def test_leases_that_cannot_be_given_back_hide_no_reason(
    make: Callable[..., MoodyQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseAwayError("the connection was lost")

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driving, "release", away)
    with pytest.raises(KeyboardInterrupt):
        drive(make(), Inline(meanwhile=interrupt))
