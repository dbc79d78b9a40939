"""Dask workers for a run: processes here, one for each GPU, or a cluster that is already there."""

import logging
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from dask.distributed import (
    Client,
    Future,
    LocalCluster,
    Worker,
    WorkerPlugin,
    as_completed,
    get_worker,
)

from flows.errors import CampaignError
from model.contract import Predictor
from model.predictor import load_predictor

CONNECT_TIMEOUT_S = 20
_ATTRIBUTE = "sabatier_predictor"


@dataclass(frozen=True)
class ClusterPlan:
    """Which workers a run wants; ``address`` goes before starting any."""

    workers: int
    address: str | None = None
    cuda: Literal["auto", "never"] = "auto"


class PredictorPlugin(WorkerPlugin):
    """Load the predictor once on each worker, and again on a worker that was started anew.

    A name or folder travels, not weights; a worker that finds another checkpoint under that name
    refuses to work.
    """

    name = "sabatier-predictor"

    def __init__(self, model: str, checkpoint_sha256: str) -> None:
        self._model = model
        self._sha256 = checkpoint_sha256

    def setup(self, worker: Worker) -> None:
        """Load the predictor into ``worker``; Dask calls this."""
        torch.set_num_threads(1)  # one process for each core: more threads would fight for it
        predictor = load_predictor(self._model)
        if predictor.checkpoint_sha256 != self._sha256:
            raise RuntimeError(
                f"worker {worker.name} finds checkpoint {predictor.checkpoint_sha256[:12]} under "
                f"{self._model!r}, the run uses {self._sha256[:12]}; install the same model there"
            )
        setattr(worker, _ATTRIBUTE, predictor)


class IgnoreInterrupt(WorkerPlugin):
    """Leave Ctrl-C to the run: a terminal sends it to every process of the group."""

    name = "sabatier-ignore-interrupt"

    def setup(self, worker: Worker) -> None:
        """Ignore the signal in the worker's process; Dask calls this in its main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_predictor() -> Predictor:
    """Return the predictor of the worker that runs this."""
    predictor: Predictor = getattr(get_worker(), _ATTRIBUTE)
    return predictor


@contextmanager
def dask_client(plan: ClusterPlan, plugin: WorkerPlugin | None = None) -> Iterator[Client]:
    """Yield a client whose workers have loaded ``plugin``; what was started is stopped after."""
    for name in ("distributed", "distributed.nanny", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if plan.address is not None:
        with _connect(plan.address) as client:
            yield _prepared(client, plugin)
        return
    with _local_cluster(plan) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(IgnoreInterrupt())
        yield _prepared(client, plugin)


def _connect(address: str) -> Client:
    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError):
        raise CampaignError(
            f"no Dask scheduler answers at {address} within {CONNECT_TIMEOUT_S} s; start one there "
            "or leave the address out to start workers on this machine"
        ) from None


def _prepared(client: Client, plugin: WorkerPlugin | None) -> Client:
    if plugin is not None:
        client.register_plugin(plugin)
    return client


def _local_cluster(plan: ClusterPlan) -> Any:
    if plan.cuda == "auto" and count_gpus() > 0:
        # Imported late on purpose: it belongs to the extra "gpu" and does not import without one.
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(dashboard_address=None)
    return LocalCluster(
        n_workers=plan.workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,  # else each worker reports the end of the run as a fault
    )


def finished(
    client: Client, futures: Iterable["Future[Any]"]
) -> Iterator[tuple["Future[Any]", Any]]:
    """Yield each future and its result as it is done, then let go of the result.

    A lost worker then costs the work that it was on, not all that it had held.
    """
    for future, result in as_completed(futures, loop=client.loop, with_results=True):
        yield future, result
        future.release()


def count_gpus() -> int:
    """Return how many GPUs NVML sees, without making a CUDA context in this process."""
    try:
        import pynvml  # only where the extra "gpu" is installed

        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        pynvml.nvmlShutdown()
    except Exception:  # no module, no driver library or no permission: all mean no usable GPU
        return 0
    return count
