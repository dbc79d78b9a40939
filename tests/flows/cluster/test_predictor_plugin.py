"""The predictor on a Dask worker: on its device, and of the checkpoint of the run."""

from types import ModuleType

import pytest

from flows.cluster import predictor_plugin as predictor
from flows.cluster.workers import Device
from flows.errors import CampaignError


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
