"""Dask workers for a run: processes here, one for each GPU, or a cluster that is already there."""

import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dask
from dask.distributed import (
    Client,
    Future,
    LocalCluster,
    WorkerPlugin,
    as_completed,
)
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError
from distributed.security import Security
from distributed.utils import LoopRunner

from flows.cluster.scheduler_address import check_handshake, security_of
from flows.cluster.workers import ClusterPlan, Device, temporary_environment, worker_variables
from flows.errors import CampaignError
from model.errors import MachineError
from model.folder_owner import private_folder
from model.processes import end_with_parent, require_semaphores

SCHEDULER_TIMEOUT_S = 20
NO_WORKERS_S = 60
NO_WORKER = (NoWorkerError, NoValidWorkerError)  # which one depends on when the last one was there
_PLUGIN_TRIES = 4  # as often as Dask tries work whose worker is lost
_PLUGIN_PAUSE_S = 0.5  # in which the scheduler takes note of a worker that is lost
_BEGINS_S = 0.5  # that a thread may take from its decision to start a worker to the start
# Beside its own port each scheduler and worker answers HTTP, which asks for no certificate: its
# pages show logs, call stacks and the names of tasks to everybody on this machine. None is served.
_NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@contextmanager
def dask_client(
    plan: ClusterPlan,
    device: Device = "cpu",
    plugin: WorkerPlugin | None = None,
    *,
    threads: int | None = None,
) -> Iterator[Client]:
    """Yield a Dask client; workers that were started for it are stopped after.

    Dask exchanges pickles: whoever may connect runs code. What is started here listens on this
    machine alone, and talks only to those who hold the certificate that is made for this run.

    Args:
        plan: A scheduler to connect to, or how many workers are started.
        device: Where workers are started: on CPU cores, or one on each GPU.
        plugin: Loaded into every worker before its first task.
        threads: Threads of the numerical libraries in each worker; None for Dask's own choice.

    Yields:
        The client.

    Raises:
        CampaignError: no scheduler answers, or not one that may be used; or there is no dask-cuda
            for GPUs.
    """
    # The run says in one line what is lost, and Dask would log each worker's end with a traceback.
    for name in ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # So would asyncio, where the end takes an answer with it that nobody waits for any more.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    if plan.address is not None:
        with _connect(plan) as client:
            yield _prepared(client, plugin)
        return
    with (
        _event_loop() as loop,
        _variables_each(worker_variables(threads)),
        dask.config.set(_NO_PAGES),
        closing_cluster(_started(plan, device, loop)) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        _give_plugin(client, EndWithRun())
        yield _prepared(client, plugin)


class EndWithRun(WorkerPlugin):
    """Let a worker end when the process that started it does.

    Dask's own watch for that is a thread, which has to wait while a library computes.
    """

    name = "sabatier-end-with-run"

    def setup(self, worker: Any) -> None:  # noqa: ARG002  Dask's signature
        """Tell the system; Dask calls this in the thread that lives as long as the worker."""
        parent = multiprocessing.parent_process()
        if dask.config.get("distributed.worker.multiprocessing-method") == "forkserver":
            end_with_parent(os.getppid())  # the server that forks, which ends with the run
        elif parent is not None and parent.pid is not None:
            end_with_parent(parent.pid)


def _connect(plan: ClusterPlan) -> Client:
    security = security_of(plan)
    check_handshake(plan, security)
    try:
        return Client(
            plan.address, timeout=SCHEDULER_TIMEOUT_S, set_as_default=False, security=security
        )
    except (OSError, TimeoutError):
        raise CampaignError(
            f"no Dask scheduler answers at {plan.address} within {SCHEDULER_TIMEOUT_S} s; start "
            "one there or leave the address out to start workers on this machine"
        ) from None


def _prepared(client: Client, plugin: WorkerPlugin | None) -> Client:
    if plugin is not None:
        _give_plugin(client, plugin)
    return client


def _give_plugin(client: Client, plugin: WorkerPlugin) -> None:
    """Give a plugin to the workers of now and later, also where one is lost as it is given.

    The scheduler keeps the plugin before it sends it, so that a worker that begins later has it.
    """
    for tries_left in reversed(range(_PLUGIN_TRIES)):
        try:
            client.register_plugin(plugin)
        except OSError as fault:  # Dask says it for the whole, and does not name the worker
            if not tries_left:
                raise MachineError(
                    f"workers were lost {_PLUGIN_TRIES} times as the run began ({_cause(fault)}); "
                    "start fewer workers or free memory, and run the same command again"
                ) from fault
            time.sleep(_PLUGIN_PAUSE_S)
        else:
            return


@contextmanager
def _event_loop() -> Iterator[Any]:
    """Run Dask's event loop in a thread that holds back Ctrl-C.

    A terminal sends the signal to every process of the group. Workers inherit what the thread
    that starts them holds back, so that they leave it to the run from their first moment on.
    """
    resource_tracker.ensure_running()  # started later, it would let the signal through again
    others, runner = set(multiprocessing.active_children()), LoopRunner()
    with _interrupt_held_back():
        runner.start()
    try:
        yield runner.loop
    except BaseException:
        runner.stop()
        _kill_begun(others)
        raise
    runner.stop()
    _kill(set(multiprocessing.active_children()) - others)


def _kill_begun(others: Collection[BaseProcess]) -> None:
    """Kill the workers that an interrupted run leaves, and those that are only about to begin.

    As this process ends it takes away the semaphores that they open first: they would say so by a
    traceback. Dask starts them in threads of its own, so that one may begin after the first look.
    """
    until = time.monotonic() + _BEGINS_S
    while time.monotonic() < until:
        if begun := [each for each in multiprocessing.active_children() if each not in others]:
            _kill(begun)
            until = time.monotonic() + _BEGINS_S
        time.sleep(0.02)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _variables_each(variables: Mapping[str, str]) -> Iterator[None]:
    """Give worker processes of the block these variables before they load a library.

    Dask hands its own to a worker as it spawns one, and takes them from this process's environment
    where they are set there: a number meant for one process would be that of each.
    """
    spawned = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **variables}
    with (
        temporary_environment(variables),
        dask.config.set({"distributed.nanny.pre-spawn-environ": spawned}),
    ):
        yield


def _started(plan: ClusterPlan, device: Device, loop: Any) -> Any:
    require_semaphores("a run", plan.workers)
    # Without a limit, work would wait for ever where no worker can be started again.
    with dask.config.set({"distributed.scheduler.no-workers-timeout": f"{NO_WORKERS_S} s"}):
        try:
            return _started_once(plan, device, loop)
        except RuntimeError:  # a worker was killed as it started: once is no fault of the machine
            pass
        except (OSError, ImportError, TimeoutError) as fault:
            raise _no_workers(plan, fault) from fault
        try:
            return _started_once(plan, device, loop)
        except (OSError, RuntimeError, ImportError, TimeoutError) as fault:
            raise _no_workers(plan, fault) from fault


def _started_once(plan: ClusterPlan, device: Device, loop: Any) -> Any:
    others = set(multiprocessing.active_children())
    try:
        return _local_cluster(plan, device, loop)
    except BaseException:
        # Interrupted half-way, a cluster cannot be closed, and Dask would try so at exit.
        for cluster in list(LocalCluster._instances):
            cluster.shutdown_on_close = False
        _kill(set(multiprocessing.active_children()) - others)
        raise


def _kill(workers: Iterable[BaseProcess]) -> None:
    for process in workers:
        process.kill()


def _no_workers(plan: ClusterPlan, fault: BaseException) -> MachineError:
    return MachineError(
        f"a run starts {plan.workers} worker processes, and this machine does not "
        f"({_cause(fault)}); free memory and /dev/shm, which holds their semaphores, or start "
        "fewer workers"
    )


def _cause(fault: BaseException) -> str:
    """Return the first fault of a chain in one line; the later ones only wrap it."""
    while (before := fault.__cause__ or fault.__context__) is not None:
        fault = before
    return f"{type(fault).__name__}: {fault}".splitlines()[0]


@contextmanager
def closing_cluster(cluster: Any) -> Iterator[Any]:
    """Yield a cluster and close it after.

    Its work is done by then, so a worker that a busy machine ends too slowly is no fault of the
    run: it ends when this process does.
    """
    try:
        yield cluster
    finally:
        try:
            cluster.close()
        except TimeoutError:
            cluster.shutdown_on_close = False  # else Dask would try again at exit


def _local_cluster(plan: ClusterPlan, device: Device, loop: Any) -> Any:
    stated = {
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "protocol": "tls://",
        "security": Security.temporary(),  # of this run alone; workers get it by a pipe
        "local_directory": str(_scratch_folder()),
        "scheduler_kwargs": {"dashboard": False},
        "dashboard_address": "127.0.0.1:0",  # None still asks for port 8787 and warns if taken
        "silence_logs": logging.CRITICAL,  # else each worker reports the end of the run as a fault
        "loop": loop,
    }
    if device == "cuda":
        # Imported late on purpose: it belongs to the extra "gpu" and does not import without one.
        try:
            from dask_cuda import LocalCUDACluster
        except ImportError as fault:
            raise CampaignError(
                f"dask-cuda does not import ({fault}); pip install 'sabatier[gpu]', or set cuda: "
                "false in the campaign's cluster"
            ) from fault
        return LocalCUDACluster(**stated)
    return LocalCluster(n_workers=plan.workers, processes=True, **stated)


def _scratch_folder() -> Path:
    """Return the folder in which workers put what does not fit into memory: pickles."""
    user = os.geteuid() if hasattr(os, "geteuid") else "own"
    parent = Path(dask.config.get("temporary-directory") or tempfile.gettempdir())
    return private_folder(
        parent / f"sabatier-dask-{user}",
        "spilled results of workers",
        "set TMPDIR to a folder of your own",
    )


def results_as_completed(
    client: Client, futures: Iterable["Future[Any]"]
) -> Iterator[tuple["Future[Any]", Any]]:
    """Yield each future with its result as it is done, then release the result.

    If a worker is lost, Dask starts another and repeats only its unfinished work, three times:
    results that were handed over are not computed again.

    Raises:
        MachineError: the same work lost its worker again, or no worker could be started.
    """
    try:
        for future, result in as_completed(futures, loop=client.loop, with_results=True):
            yield future, result
            future.release()
    except (KilledWorker, *NO_WORKER) as fault:
        raise lost_worker(fault) from fault


def lost_worker(fault: KilledWorker | NoWorkerError | NoValidWorkerError) -> MachineError:
    """Return the fault of workers that ended without an error message, in one line."""
    if isinstance(fault, KilledWorker):
        times = fault.allowed_failures + 1
        lost = f"worker processes ended {times} times at the same work without an error message"
    else:
        lost = f"no worker process could be started again within {NO_WORKERS_S} s"
    return MachineError(
        f"{lost}, perhaps because memory ran out; start fewer workers or free memory, and run the "
        "same command again: it goes on from there"
    )
