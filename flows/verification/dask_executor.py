"""Verification on Dask workers, one calculation on each at a time; they end with this process."""

import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import dask
from dask.distributed import Client, Future
from distributed.scheduler import KilledWorker

from flows.cluster.dask import NO_WORKER, dask_client, lost_worker
from flows.cluster.workers import ClusterPlan
from flows.verification.executor import WorkItem, WorkResult
from flows.verification.worker import compute_work_item
from screening_db.queue.lease import Lease
from tasks.verification.engines import FailureKind, kind_of

_MEMORY_TOPIC = "worker-restart-memory"  # as Dask's nannies call it


@contextmanager
def dask_executor(plan: ClusterPlan, threads: int) -> Iterator["DaskExecutor"]:
    """Yield an executor on the workers of ``plan``, with ``threads`` for each one's libraries.

    Dask would run a calculation that kills its worker four times before it reports it; here it
    reports the first time, because the queue alone decides how often an item is tried.
    """
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        dask_client(plan, threads=threads) as client,
    ):
        yield DaskExecutor(client)


class DaskExecutor:
    """Sends work items to Dask's workers as they are free.

    No more is in flight than there are workers: when one dies, Dask counts all that it was given
    as its victims, begun or not.
    """

    location = ""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._futures: dict[object, tuple[Lease, Future[Any]]] = {}
        self._over_memory: set[str] = set()  # addresses of workers that their nannies ended for it
        client.subscribe_topic(_MEMORY_TOPIC, self._note_over_memory)

    @property
    def capacity(self) -> int:
        """Return the number of workers, which a cluster's owner may change."""
        threads: dict[str, int] = self.client.nthreads()
        return max(1, sum(threads.values()))

    def job_name(self, _lease: Lease) -> str:
        """Return nothing: these jobs do not outlive this process."""
        return ""

    def submit(self, item: WorkItem) -> None:
        """Send one work item to a worker."""
        future = self.client.submit(compute_work_item, item, pure=False)
        self._futures[future.key] = (item.lease, future)
        future.add_done_callback(self._ended.put)

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return the leases: none of them has a job here."""
        return list(leases)

    def wait_for_results(self, wait_s: float) -> list[WorkResult]:
        """Return the results that have come; wait at most so long for the first."""
        futures = []
        with suppress(queue.Empty):
            futures.append(self._ended.get(timeout=wait_s))
            while True:
                futures.append(self._ended.get_nowait())
        return [self._result(*self._futures.pop(f.key)) for f in futures if f.key in self._futures]

    def forget(self, _result: WorkResult) -> None:
        """Do nothing: the future was released when its result was read."""

    def cancel(self, lease: Lease) -> None:
        """Forget a work item; one that a worker has begun is computed to its end for nothing."""
        for key, (held, future) in list(self._futures.items()):
            if held.key == lease.key:
                del self._futures[key]
                future.cancel()

    def _note_over_memory(self, event: tuple[float, Mapping[str, Any]]) -> None:
        self._over_memory.add(str(event[1]["worker"]))

    def _result(self, lease: Lease, future: "Future[Any]") -> WorkResult:
        if future.status == "finished":
            result: WorkResult = future.result()
            future.release()  # a worker that is lost later then costs the item it was on, no others
            return result
        error = future.exception() if future.status == "error" else None
        if isinstance(error, NO_WORKER):  # no fault of the item
            raise lost_worker(error) from error
        if error is None or isinstance(error, KilledWorker):
            return self._killed(lease, error)
        message = f"{type(error).__name__}: {error}"
        return WorkResult(lease, failure=kind_of(error), message=message)

    def _killed(self, lease: Lease, error: KilledWorker | None) -> WorkResult:
        """Return how a worker died: Dask's nanny reports its memory limit, the system nothing."""
        address = "" if error is None else str(getattr(error.last_worker, "address", ""))
        if address in self._over_memory:
            self._over_memory.remove(address)  # the next worker may have the same address
            message = (
                "the worker went over its memory limit and was ended; Dask gives every attempt the "
                "same memory: start fewer workers, or take --on local or slurm"
            )
            return WorkResult(lease, failure=FailureKind.OUT_OF_MEMORY, message=message)
        message = "the worker process was killed for a reason it did not report, perhaps its memory"
        return WorkResult(lease, failure=FailureKind.KILLED, message=message)
