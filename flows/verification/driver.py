"""Drain the queue: keep the workers busy, record each calculation as it ends, lose none.

A driver holds leases for items in flight and renews them. However it ends, its items are not
lost: what ended with it can be claimed again, and jobs that outlive it are taken over by the next
driver at the same location, with their results.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from flows.errors import CampaignError
from flows.verification.executor import Executor, SubmissionError, WorkItem, WorkResult
from flows.verification.recording import (
    VerificationCounts,
    record_reference_energies,
    record_result,
)
from flows.verification.work_items import CalculationSettings, plan_dependencies, prepare_work
from screening_db.database import Database
from screening_db.errors import DatabaseAwayError, DatabaseError
from screening_db.queue.lease import (
    Lease,
    SeenLeases,
    hand_over_jobs,
    jobs_running,
    record_jobs,
    take_over_jobs,
)
from screening_db.queue.queue import claim, heartbeat, release
from screening_db.queue.view import count_failed_dependencies, waits_for_dependencies
from tasks.verification.engines import FailureKind

logger = logging.getLogger(__name__)

STALLED_S = 3600.0  # one turn of the loop takes seconds, or minutes where much work is prepared


@dataclass(frozen=True)
class DriverIntervals:
    """How long a lease lasts without a heartbeat, and how often results and queue are read (s)."""

    lease_s: float = 120.0
    poll_s: float = 1.0
    queue_check_s: float = 10.0  # while the last check found less than there is room for


@dataclass(frozen=True)
class WorkFilter:
    """Which items a run verifies: a campaign's adslabs, the first so many, up to a memory class."""

    campaign: str
    adslabs: int
    memory_class: int | None = None


@dataclass
class Driver:
    """One run on the queue of one level."""

    db: Database
    settings: CalculationSettings
    executor: Executor
    work_filter: WorkFilter
    intervals: DriverIntervals = DriverIntervals()
    counts: VerificationCounts = field(default_factory=VerificationCounts)
    _in_flight: dict[str, Lease] = field(default_factory=dict)
    _lost: "queue.SimpleQueue[Lease]" = field(default_factory=queue.SimpleQueue)
    _seen: SeenLeases = field(default_factory=SeenLeases)
    _not_installed: str = ""  # where an engine is missing, and why
    _next_queue_check: float = 0.0
    _next_take_over: float = 0.0
    _database_was_away: bool = False  # since the last heartbeat
    _claims_from: float = 0.0
    _turned: float = field(default_factory=time.monotonic)  # when the loop last came round

    def run(self, advance: Callable[[int], None]) -> VerificationCounts:
        """Work until nothing is left that this run can do.

        Args:
            advance: Called with the number of adslabs that have ended since the last call.

        Returns:
            How the adslabs of this run ended.

        Raises:
            CampaignError: where it computes, the engine or something the level needs is missing.
        """
        before, reported = count_failed_dependencies(self.db, self.work_filter.campaign), 0
        with self._renewed_leases(), self._returned_leases():
            while self.counts.ended < self.work_filter.adslabs or self._in_flight:
                self._turned = time.monotonic()
                self._take_over()
                self._require_engine()
                self._refill()
                if not (self._in_flight or self._lets_others_renew() or self._others_work()):
                    break
                for result in self.executor.wait_for_results(self.intervals.poll_s):
                    self._record(result)
                self._cancel_lost()
                failed = count_failed_dependencies(self.db, self.work_filter.campaign)
                self.counts.dependency_failed = failed - before
                advance(self.counts.ended - reported)
                reported = self.counts.ended
        return self.counts

    def _require_engine(self) -> None:
        """Stop where the engine is missing: it would take one item after another and end none.

        Calculations of this process end first; nothing more is begun.
        """
        if self._not_installed and (self.executor.location or not self._in_flight):
            raise CampaignError(
                f"{self._not_installed}; correct that there and run the same command again: items "
                "that were begun there are back in the queue"
            )

    def _take_over(self) -> None:
        """Go on with jobs that another driver submitted and does not watch any more."""
        if not self.executor.location or self._lets_others_renew():
            return
        if time.monotonic() < self._next_take_over:
            return
        self._next_take_over = time.monotonic() + self.intervals.queue_check_s
        level = self.settings.level.name
        leases = take_over_jobs(
            self.db, level, self.executor.location, self.intervals.lease_s, self._seen
        )
        self._in_flight |= {lease.item: lease for lease in leases}
        self._give_back(self.executor.collect(leases))

    def _refill(self) -> None:
        """Claim as much as there is room for, and begin it."""
        if self._not_installed or self._lets_others_renew():
            return
        if time.monotonic() < self._next_queue_check:
            return
        room = self.executor.capacity - len(self._in_flight)
        leases = self._claim(room) if room > 0 else []
        if len(leases) < room:
            self._next_queue_check = time.monotonic() + self.intervals.queue_check_s
        if not leases:
            return
        self._in_flight |= {lease.item: lease for lease in leases}
        if self.executor.location:  # before it is submitted: a driver killed now is taken over
            record_jobs(self.db, {lease: self.executor.job_name(lease) for lease in leases})
        items, unreadable = prepare_work(self.db, self.settings, leases)
        for result in unreadable:
            self._record(result)
        self._submit(items)

    def _lets_others_renew(self) -> bool:
        """Return whether the database was away just now: leases that ran out may be in use.

        Every driver that was waiting for it, this one too, renews its own before any is claimed.
        """
        return self._database_was_away or time.monotonic() < self._claims_from

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
            seen=self._seen,
        )

    def _submit(self, items: list[WorkItem]) -> None:
        """Begin work; where no more is accepted, the rest is given back until something ends."""
        for number, item in enumerate(items):
            try:
                self.executor.submit(item)
            except SubmissionError:
                self._give_back([other.lease for other in items[number:]])
                if not self._in_flight:
                    raise
                self._next_queue_check = time.monotonic() + self.intervals.queue_check_s
                return

    def _give_back(self, leases: list[Lease]) -> None:
        """Return leases of items that were not begun to the queue."""
        for lease in leases:
            del self._in_flight[lease.item]
        if leases:
            release(self.db, leases)

    def _record(self, result: WorkResult) -> None:
        computed = result.verified is not None or result.energy_ev is not None
        outcome = "computed" if computed else f"{result.failure}: {result.message}"
        logger.info("%s %.12s: %s", result.lease.kind, result.lease.item, outcome)
        record_reference_energies(self.db, self.settings.level, result.reference_energies)
        if result.failure is FailureKind.NOT_INSTALLED:
            self._record_not_installed(result)
        else:
            record_result(self.db, result, self.counts)
        self.executor.forget(result)
        self._in_flight.pop(result.lease.item, None)
        self._next_queue_check = 0.0  # an end makes room, and others may have waited for it

    def _record_not_installed(self, result: WorkResult) -> None:
        """Give back an item that could not be computed where it was sent: no fault of the item."""
        provenance = result.provenance
        where = f"host {provenance.host}" if provenance and provenance.host else "the worker"
        reason = f"{where} cannot compute level {self.settings.level.name}: {result.message}"
        release(self.db, [result.lease], reason, provenance)
        self._not_installed = self._not_installed or reason

    def _others_work(self) -> bool:
        """Return whether there will be something to do though there is nothing now."""
        location, level = self.executor.location, self.settings.level.name
        watched = bool(location) and jobs_running(self.db, level, location) > 0
        return watched or waits_for_dependencies(self.db, self.work_filter.campaign)

    def _cancel_lost(self) -> None:
        """Stop items that are not ours any more, such as those that a person cancelled."""
        with suppress(queue.Empty):
            while True:
                lease = self._lost.get_nowait()
                if self._in_flight.get(lease.item) == lease:
                    del self._in_flight[lease.item]
                    self.executor.cancel(lease)

    @contextmanager
    def _renewed_leases(self) -> Iterator[None]:
        """Renew the leases of items in flight until the block ends."""
        ended, length_s = threading.Event(), self.intervals.lease_s
        at_once = self.db.without_waiting()

        def beat() -> None:
            while not ended.wait(length_s / 3):
                if time.monotonic() - self._turned > STALLED_S + self.db.wait_s:
                    continue  # the work hangs: its items are for others once the leases run out
                leases = list(self._in_flight.values())
                try:
                    held = {lease.key for lease in heartbeat(at_once, leases, length_s)}
                except DatabaseAwayError:
                    # Two more beats come before the leases end, and a lease that ran out meanwhile
                    # is renewed as long as nobody else has the item.
                    self._database_was_away = True
                    continue
                except DatabaseError:
                    continue  # busy, or a fault that lasts: the loop's own next write raises that
                if self._database_was_away:
                    self._claims_from = time.monotonic() + length_s / 2
                    self._database_was_away = False
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
    def _returned_leases(self) -> Iterator[None]:
        """Give back items in flight at once when the block is left, by Ctrl-C or a fault.

        Jobs that outlive this process go on, and the next driver collects them.
        """
        try:
            yield
        finally:
            leases, at_once = list(self._in_flight.values()), self.db.without_waiting()
            with suppress(DatabaseError):  # away: leases that are not given back run out
                if self.executor.location:
                    hand_over_jobs(at_once, leases)
                else:
                    release(at_once, leases, "given back: the run was stopped")
