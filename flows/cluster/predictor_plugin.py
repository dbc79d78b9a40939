"""The predictor on each Dask worker, loaded once."""

import torch
from dask.distributed import Worker, WorkerPlugin, get_worker

from flows.cluster.workers import Device
from flows.errors import CampaignError
from model.contract import Predictor
from model.prediction.predictor import load_predictor

_ATTRIBUTE = "sabatier_predictor"


class PredictorPlugin(WorkerPlugin):
    """Load the predictor once on each worker, and again on a worker that was restarted.

    The name or folder of a checkpoint travels, not its weights; a worker that finds another
    checkpoint under that name refuses to work.
    """

    name = "sabatier-predictor"

    def __init__(self, model: str, checkpoint_sha256: str, device: Device = "cpu") -> None:
        self._model = model
        self._sha256 = checkpoint_sha256
        self._device = device

    def setup(self, worker: Worker) -> None:
        """Load the predictor into ``worker``; Dask calls this."""
        torch.set_num_threads(1)  # one process for each core: more threads would fight for it
        predictor = load_predictor(self._model, self._device_here())
        if predictor.checkpoint_sha256 != self._sha256:
            raise CampaignError(
                f"worker {worker.name} finds checkpoint {predictor.checkpoint_sha256[:12]} under "
                f"{self._model!r}, the run uses {self._sha256[:12]}; install the same model there"
            )
        setattr(worker, _ATTRIBUTE, predictor)

    def _device_here(self) -> str:
        if self._device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self._device


def worker_predictor() -> Predictor:
    """Return the predictor of the worker that runs this."""
    predictor: Predictor = getattr(get_worker(), _ATTRIBUTE)
    return predictor
