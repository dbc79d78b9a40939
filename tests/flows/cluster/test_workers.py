"""Which workers a run takes: those of GPUs where there are any, else processes on cores."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from flows.cluster import dask as cluster
from flows.cluster import predictor_plugin as predictor
from flows.cluster import workers
from flows.cluster.workers import ClusterPlan, Cuda, device_for
from flows.errors import CampaignError

HERE = ClusterPlan(workers=2)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes this a machine with so many GPUs, dask-cuda or not."""

    def make(gpus: int, *, dask_cuda: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        found = object() if dask_cuda else None
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)

    return make


@pytest.mark.parametrize(
    ("gpus", "cuda", "device"),
    [(0, "auto", "cpu"), (2, "auto", "cuda"), (2, True, "cuda"), (2, False, "cpu")],
)
def test_gpus_are_taken_unless_the_campaign_forbids_it(
    machine: Callable[..., None], gpus: int, cuda: Cuda, device: str
) -> None:
    machine(gpus)
    assert device_for(ClusterPlan(2, cuda=cuda)) == device


def test_gpus_without_dask_cuda_are_left_idle_with_one_warning(
    machine: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    machine(2, dask_cuda=False)
    assert device_for(HERE) == "cpu"
    (message,) = caplog.messages
    assert "GPUs left idle: 2" in message
    assert "pip install 'sabatier[gpu]'" in message


@pytest.mark.parametrize(("gpus", "said"), [(0, "finds none"), (1, r"'sabatier\[gpu\]'")])
def test_a_gpu_that_is_demanded_and_missing_is_refused(
    machine: Callable[..., None], gpus: int, said: str
) -> None:
    machine(gpus, dask_cuda=False)
    with pytest.raises(CampaignError, match=said):
        device_for(ClusterPlan(2, cuda=True))


@pytest.mark.parametrize(("cuda", "device"), [("auto", "auto"), (True, "cuda"), (False, "cpu")])
def test_workers_of_a_cluster_elsewhere_look_for_their_own_gpu(
    monkeypatch: pytest.MonkeyPatch, cuda: Cuda, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("asked this machine"))
    assert device_for(ClusterPlan(2, address="tcp://there:8786", cuda=cuda)) == device


def test_a_dask_cuda_that_does_not_import_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with (
        pytest.raises(CampaignError, match=r"dask-cuda does not import .*'sabatier\[gpu\]'"),
        cluster.dask_client(HERE, "cuda"),
    ):
        pass


class Started(Exception):  # noqa: N818  carries what was asked for
    """Stands for a cluster that was asked for."""


def asked_of(kind: str) -> Callable[..., None]:
    def start(**stated: Any) -> None:
        raise Started(kind, stated)

    return start


@pytest.mark.parametrize(("device", "kind"), [("cpu", "LocalCluster"), ("cuda", "CUDA")])
def test_the_device_decides_which_cluster_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: workers.Device, kind: str
) -> None:
    dask_cuda = ModuleType("dask_cuda")
    dask_cuda.LocalCUDACluster = asked_of("CUDA")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", dask_cuda)
    local = asked_of("LocalCluster")
    local._instances = ()  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster, "LocalCluster", local)
    with pytest.raises(Started) as asked, cluster.dask_client(HERE, device):
        pass
    assert asked.value.args[0] == kind
    assert asked.value.args[1].get("n_workers") == (2 if device == "cpu" else None)


@pytest.mark.parametrize(
    ("device", "gpu_here", "loaded_on"),
    [
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
    ],
)
def test_a_worker_loads_the_predictor_on_its_device(
    monkeypatch: pytest.MonkeyPatch, device: workers.Device, gpu_here: bool, loaded_on: str
) -> None:
    class Predictor:
        checkpoint_sha256 = "c" * 64

    loaded: list[str] = []

    def load(_: str, device: str) -> Predictor:
        loaded.append(device)
        return Predictor()

    monkeypatch.setattr(predictor, "load_predictor", load)
    monkeypatch.setattr(predictor.torch.cuda, "is_available", lambda: gpu_here)
    predictor.PredictorPlugin("mini", "c" * 64, device).setup(ModuleType("worker"))
    assert loaded == [loaded_on]


def test_a_worker_that_finds_another_checkpoint_refuses_to_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Predictor:
        checkpoint_sha256 = "d" * 64

    monkeypatch.setattr(predictor, "load_predictor", lambda *_: Predictor())
    worker = ModuleType("worker")
    worker.name = "w1"  # type: ignore[attr-defined]
    with pytest.raises(CampaignError, match=r"worker w1 finds checkpoint dddd.* under 'mini'"):
        predictor.PredictorPlugin("mini", "c" * 64).setup(worker)


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
        done = True
    assert done
    assert not slow.shutdown_on_close
