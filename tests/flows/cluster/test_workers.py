"""Which workers a run takes: those of GPUs where there are any, else processes on cores."""

import importlib.util
import os
from collections.abc import Callable

import pytest
import torch

from flows.cluster.workers import (
    MAX_WORKERS,
    ClusterPlan,
    Cuda,
    device_for,
    temporary_environment,
)
from flows.errors import CampaignError

HERE = ClusterPlan(workers=2)


def test_more_workers_than_any_machine_runs_are_refused() -> None:
    assert ClusterPlan(MAX_WORKERS).workers == MAX_WORKERS
    with pytest.raises(CampaignError, match=r"4,096 worker processes at most, got 100,000,000"):
        ClusterPlan(100_000_000)


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


def test_variables_are_set_for_the_block_and_then_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRST", "before")
    monkeypatch.delenv("SECOND", raising=False)
    with temporary_environment({"FIRST": "1", "SECOND": "2"}):
        assert (os.environ["FIRST"], os.environ["SECOND"]) == ("1", "2")
    assert (os.environ["FIRST"], os.environ.get("SECOND")) == ("before", None)
