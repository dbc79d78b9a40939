"""Dask workers of a run: which cluster is started, and how it ends."""

import asyncio
import errno
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import dask
import pytest
from dask.distributed import WorkerPlugin
from distributed.comm.core import CommClosedError

from flows.cluster import dask as cluster
from flows.cluster.workers import ClusterPlan, Device
from flows.errors import CampaignError
from model.errors import MachineError

HERE = ClusterPlan(workers=2)


def test_a_dask_cuda_that_does_not_import_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with (
        pytest.raises(CampaignError, match=r"dask-cuda does not import .*'sabatier\[gpu\]'"),
        cluster.dask_client(HERE, "cuda"),
    ):
        pass


def end_own_process(_: int = 0) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_dies_as_it_loads_the_model_is_started_again_three_times() -> None:
    with cluster.dask_client(ClusterPlan(workers=1)) as client:
        before = set(client.run(os.getpid).values())
        futures = [client.submit(end_own_process, pure=False)]
        with pytest.raises(MachineError, match=r"ended 4 times at the same work .* memory ran out"):
            list(cluster.results_as_completed(client, futures))
        client.wait_for_workers(1, timeout=60)
        assert not before & set(client.run(os.getpid).values())


class DiesOnce(WorkerPlugin):
    """End the first worker that is given this, as it is given."""

    name = "dies-once"

    def __init__(self, died: Path) -> None:
        self._died = died

    def setup(self, worker: Any) -> None:
        if not self._died.exists():
            self._died.touch()
            end_own_process()
        worker.has_survived = True


@pytest.mark.medium
def test_a_worker_that_is_lost_as_it_is_given_a_plugin_does_not_end_the_run(tmp_path: Path) -> None:
    def has_survived(dask_worker: Any) -> bool:
        return getattr(dask_worker, "has_survived", False)

    died = tmp_path / "died"
    with cluster.dask_client(HERE, plugin=DiesOnce(died)) as client:
        client.wait_for_workers(2, timeout=60)
        assert list(client.run(has_survived).values()) == [True, True]
    assert died.exists()


def test_workers_that_are_lost_at_every_start_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    class Client:
        def register_plugin(self, _: WorkerPlugin) -> None:
            tries.append(1)
            raise CommClosedError("Stream is closed")

    monkeypatch.setattr(cluster, "_PLUGIN_PAUSE_S", 0.0)
    with pytest.raises(MachineError, match=r"lost 4 times as the run began .*Stream is closed"):
        cluster._give_plugin(cast("Any", Client()), cluster.EndWithRun())
    assert len(tries) == 4


@pytest.mark.medium
def test_workers_that_an_interrupted_run_has_begun_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = multiprocessing.get_context("spawn").Process
    begun = [create(target=time.sleep, args=(60,)) for _ in range(2)]

    def interrupted(*_: Any) -> None:
        begun[0].start()
        threading.Timer(0.2, begun[1].start).start()  # as Dask's threads do
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "_local_cluster", interrupted)
    with pytest.raises(KeyboardInterrupt), cluster.dask_client(HERE):
        pass
    for each in begun:
        each.join(10)
        assert each.exitcode == -signal.SIGKILL


@pytest.mark.medium
def test_an_answer_that_is_lost_with_its_worker_is_not_printed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.NOTSET, "asyncio")

    def lose() -> None:
        asyncio.get_running_loop().create_future().set_exception(
            CommClosedError("Stream is closed")
        )

    with cluster.dask_client(ClusterPlan(workers=1)) as client:
        client.loop.add_callback(lose)
        client.run(os.getpid)  # the loop has turned by then
        gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.medium
def test_workers_of_a_fork_server_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    method = {"distributed.worker.multiprocessing-method": "forkserver"}
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")
    with dask.config.set(method), cluster.dask_client(HERE) as client:
        assert len(client.run(os.getpid)) == 2
        assert client.submit(len, "abc").result(timeout=20) == 3


@pytest.mark.medium
def test_workers_keep_the_memory_that_tensors_give_back() -> None:
    with cluster.dask_client(ClusterPlan(workers=1), threads=1) as client:
        kept = client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_")
    assert set(kept.values()) == {"1073741824"}


@pytest.mark.medium
def test_workers_that_cannot_be_started_again_are_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "NO_WORKERS_S", 1)
    with cluster.dask_client(ClusterPlan(workers=1)) as client:
        name = next(iter(client.scheduler_info()["workers"]))
        client.retire_workers([name])
        futures = [client.submit(len, "abc", pure=False)]
        # one that waits from before the last worker was gone gets another error of Dask's
        futures += [client.submit(len, "abc", workers=["tls://127.0.0.1:1"], pure=False)]
        for future in futures:
            with pytest.raises(MachineError, match="no worker process could be started again"):
                list(cluster.results_as_completed(client, [future]))


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSYS, "no semaphores"), ImportError("no semaphores"), MemoryError()],
)
def test_a_machine_that_starts_no_workers_is_one_line(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(**_: Any) -> None:
        raise RuntimeError("Cluster failed to start") from fault

    start._instances = ()  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster, "LocalCluster", start)
    with (
        pytest.raises(MachineError, match=rf"starts 2 worker processes.*{type(fault).__name__}: "),
        cluster.dask_client(HERE),
    ):
        pass


def test_a_worker_that_is_killed_as_it_starts_costs_one_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts = []

    def start(**_: Any) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise RuntimeError("Nanny failed to start worker process")
        raise Started("LocalCluster", {})

    start._instances = ()  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster, "LocalCluster", start)
    with pytest.raises(Started), cluster.dask_client(HERE):
        pass
    assert len(starts) == 2


class Started(Exception):  # noqa: N818  no fault: it ends the start
    """Says which cluster would be started, and how."""


def starter_of(kind: str) -> Callable[..., None]:
    def start(**stated: Any) -> None:
        raise Started(kind, stated)

    return start


@pytest.mark.parametrize(("device", "kind"), [("cpu", "LocalCluster"), ("cuda", "CUDA")])
def test_the_device_decides_which_cluster_is_started(
    monkeypatch: pytest.MonkeyPatch, device: Device, kind: str
) -> None:
    dask_cuda = ModuleType("dask_cuda")
    dask_cuda.LocalCUDACluster = starter_of("CUDA")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", dask_cuda)
    local = starter_of("LocalCluster")
    local._instances = ()  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster, "LocalCluster", local)
    with pytest.raises(Started) as started, cluster.dask_client(HERE, device):
        pass
    assert started.value.args[0] == kind
    stated = started.value.args[1]
    assert (stated["protocol"], stated["host"]) == ("tls://", "127.0.0.1")
    assert stated["security"].require_encryption
    assert stated.get("n_workers") == (2 if device == "cpu" else None)


@pytest.mark.medium
def test_two_runs_at_once_say_nothing_about_ports(recwarn: pytest.WarningsRecorder) -> None:
    with cluster.dask_client(HERE), cluster.dask_client(HERE):
        pass
    assert [str(w.message) for w in recwarn if "ort" in str(w.message)] == []


def test_workers_that_end_too_slowly_are_no_fault_of_a_run_that_is_done() -> None:
    class Slow:
        shutdown_on_close = True

        def close(self) -> None:
            raise TimeoutError

    with cluster.closing_cluster(Slow()) as slow:
        pass
    assert not slow.shutdown_on_close  # Dask does not try again at exit
