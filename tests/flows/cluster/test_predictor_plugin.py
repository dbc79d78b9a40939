"""The predictor on a Dask worker: on its device, and of the checkpoint of the run."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows.cluster import predictor_plugin as predictor
from flows.cluster.workers import Device
from flows.errors import CampaignError


def named_worker() -> Any:
    """Return what setup needs of a Dask worker."""
    return SimpleNamespace(name="w1")


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
    monkeypatch: pytest.MonkeyPatch, device: Device, gpu_here: bool, loaded_on: str
) -> None:
    class Predictor:
        checkpoint_sha256 = "c" * 64

    loaded: list[str] = []

    def load(_: str, device: str) -> Predictor:
        loaded.append(device)
        return Predictor()

    monkeypatch.setattr(predictor, "load_predictor", load)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu_here)
    worker = named_worker()
    predictor.PredictorPlugin("mini", "c" * 64, device).setup(worker)
    assert loaded == []  # a worker that died of it would be missing without a word
    assert worker.sabatier_predictor.load() is worker.sabatier_predictor.load()
    assert loaded == [loaded_on]


def test_a_worker_that_finds_another_checkpoint_refuses_to_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Predictor:
        checkpoint_sha256 = "d" * 64

    monkeypatch.setattr(predictor, "load_predictor", lambda *_: Predictor())
    worker = named_worker()
    predictor.PredictorPlugin("mini", "c" * 64).setup(worker)
    with pytest.raises(CampaignError, match=r"worker w1 finds checkpoint dddd.* under 'mini'"):
        worker.sabatier_predictor.load()
