"""Drain the queue: keep the workers busy, record each calculation as it ends, lose none.

A driver holds leases for what is in flight and renews them. Whatever becomes of it, its items are
not lost: what ended with it can be claimed again, and jobs that outlive it are taken over by the
next driver of the same place, with what they found.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from flows.errors import CampaignError
from flows.verification.executor import Executor, Result, SubmissionError, Work
from flows.verification.queue_work import plan_dependencies
from flows.verification.recording import (
    VerificationCounts,
    record_reference_energies,
    record_result,
)
from flows.verification.work_items import CalculationSettings, prepare_work
from flows.verification.worker import WorkResult
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queue.batch_jobs import hand_over_jobs, jobs_running, record_jobs, take_over_jobs
from screening_db.queue.lease import Lease
from screening_db.queue.queue import claim, heartbeat, release
from screening_db.queue.view import count_failed_dependencies, waits_for_dependencies
from tasks.verification.engines import FailureKind


@dataclass(frozen=True)
class DriverIntervals:
    """How long a lease lasts without a sign of life, and how often things are looked at (s)."""

    lease_s: float = 120.0
    poll_s: float = 1.0
    queue_check_s: float = 10.0  # for new work while the last look found too little


@dataclass(frozen=True)
class WorkFilter:
    """What a run is to verify: a campaign's adslabs, the first so many, up to a memory class."""

    campaign: str
    adslabs: int
    memory_class: int | None = None


@dataclass
class Driver:
    """One run at the queue of one level."""

    db: Database
    settings: CalculationSettings
    executor: Executor
    work_filter: WorkFilter
    intervals: DriverIntervals = DriverIntervals()
    counts: VerificationCounts = field(default_factory=VerificationCounts)
    _in_flight: dict[str, Lease] = field(default_factory=dict)
    _lost: "queue.SimpleQueue[Lease]" = field(default_factory=queue.SimpleQueue)
    _missing: str = ""  # at a place where work was begun, and where
    _next_look: float = 0.0
    _next_take_over: float = 0.0

    def run(self, advance: Callable[[int], None]) -> VerificationCounts:
        """Work until nothing is left that this run can do; ``advance`` hears of ended adslabs.

        Raises:
            CampaignError: a place of work lacks the engine, or what the level needs of it.
        """
        before, told = count_failed_dependencies(self.db, self.work_filter.campaign), 0
        with self._kept_alive(), self._given_back():
            while self.counts.ended < self.work_filter.adslabs or self._in_flight:
                self._take_over()
                self._require_place()
                self._refill()
                if not self._in_flight and not self._others_work():
                    break
                for result in self.executor.ended(self.intervals.poll_s):
                    self._record(result)
                self._drop_lost()
                failed = count_failed_dependencies(self.db, self.work_filter.campaign)
                self.counts.dependency_failed = failed - before
                advance(self.counts.ended - told)
                told = self.counts.ended
        return self.counts

    def _require_place(self) -> None:
        """Stop where a place cannot compute: it would take one item after another and end none.

        What ends with this process is let end first; nothing more is begun.
        """
        if self._missing and (self.executor.place or not self._in_flight):
            raise CampaignError(
                f"{self._missing}; mend that there and go on with the same command: what was begun "
                "there was given back"
            )

    def _take_over(self) -> None:
        """Go on with jobs that another driver submitted and does not watch any more."""
        if not self.executor.place or time.monotonic() < self._next_take_over:
            return
        self._next_take_over = time.monotonic() + self.intervals.queue_check_s
        level = self.settings.level.name
        leases = take_over_jobs(self.db, level, self.executor.place, self.intervals.lease_s)
        self._in_flight |= {lease.item: lease for lease in leases}
        self._give_back(self.executor.collect(leases))

    def _refill(self) -> None:
        """Claim as much as there is room for, and begin it."""
        if self._missing or time.monotonic() < self._next_look:
            return
        room = self.executor.capacity - len(self._in_flight)
        leases = self._claim(room) if room > 0 else []
        if len(leases) < room:
            self._next_look = time.monotonic() + self.intervals.queue_check_s
        if not leases:
            return
        self._in_flight |= {lease.item: lease for lease in leases}
        if self.executor.place:
            record_jobs(self.db, {lease: self.executor.job_of(lease) for lease in leases})
        work, unreadable = prepare_work(self.db, self.settings, leases)
        for result in unreadable:
            self._record(result)
        self._submit(work)

    def _claim(self, room: int) -> list[Lease]:
        plan_dependencies(
            self.db, self.settings.level
        )  # others may have queued adslabs in the meantime
        in_flight = sum(lease.kind == "adslab" for lease in self._in_flight.values())
        adslabs = self.work_filter.adslabs - self.counts.ended - in_flight
        if adslabs < 1:
            return []
        return claim(
            self.db,
            self.settings.level.name,
            batch=room,
            lease_s=self.intervals.lease_s,
            campaign=self.work_filter.campaign,
            adslabs=adslabs,
            memory_class=self.work_filter.memory_class,
        )

    def _submit(self, work: list[Work]) -> None:
        """Begin work; where no more is taken now, the rest is given back until something ends."""
        for number, item in enumerate(work):
            try:
                self.executor.submit(item)
            except SubmissionError:
                self._give_back([other.lease for other in work[number:]])
                if not self._in_flight:
                    raise
                self._next_look = time.monotonic() + self.intervals.queue_check_s
                return

    def _give_back(self, leases: list[Lease]) -> None:
        """Let others have what was not begun."""
        for lease in leases:
            del self._in_flight[lease.item]
        if leases:
            release(self.db, leases)

    def _record(self, result: Result) -> None:
        record_reference_energies(self.db, self.settings.level, result.found)
        if result.outcome.failure is FailureKind.NOT_INSTALLED:
            self._record_place(result.outcome)
        else:
            record_result(self.db, result.outcome, self.counts)
        self.executor.recorded(result)
        self._in_flight.pop(result.outcome.lease.item, None)
        self._next_look = 0.0  # an end makes room, and may be what others waited for

    def _record_place(self, outcome: WorkResult) -> None:
        """Give back what a place could not compute: no fault of the item."""
        told = outcome.provenance
        where = f"host {told.host}" if told and told.host else "the place of work"
        said = f"{where} cannot compute level {self.settings.level.name}: {outcome.message}"
        release(self.db, [outcome.lease], said, told)
        self._missing = self._missing or said

    def _others_work(self) -> bool:
        """Tell whether there will be something to do though there is nothing now."""
        place = self.executor.place
        watched = bool(place) and jobs_running(self.db, self.settings.level.name, place) > 0
        return watched or waits_for_dependencies(self.db, self.work_filter.campaign)

    def _drop_lost(self) -> None:
        """Stop what is not ours any more, such as items that a person cancelled."""
        with suppress(queue.Empty):
            while True:
                lease = self._lost.get_nowait()
                if self._in_flight.get(lease.item) == lease:
                    del self._in_flight[lease.item]
                    self.executor.drop(lease)

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """Renew the leases of what is in flight until the block ends."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.intervals.lease_s / 3):
                leases = list(self._in_flight.values())
                with suppress(DatabaseError):  # busy: two more beats come before the leases end
                    held = {
                        lease.key for lease in heartbeat(self.db, leases, self.intervals.lease_s)
                    }
                    for lease in leases:
                        if lease.key not in held:
                            self._lost.put(lease)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """Let others have at once what is in flight when the block is left, by Ctrl-C or a fault.

        Jobs that outlive this process go on, and are for the next driver to collect.
        """
        try:
            yield
        finally:
            leases = list(self._in_flight.values())
            if self.executor.place:
                hand_over_jobs(self.db, leases)
            else:
                release(self.db, leases, "given back: the run was stopped")
