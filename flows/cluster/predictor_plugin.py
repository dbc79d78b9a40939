"""The predictor on each Dask worker, loaded once."""

import sys
import threading

from dask.distributed import Worker, WorkerPlugin, get_worker

from flows.cluster.workers import Device
from flows.errors import CampaignError
from model.contract import Predictor
from model.prediction.predictor import load_predictor

_ATTRIBUTE = "sabatier_predictor"


class PredictorPlugin(WorkerPlugin):
    """Tell each worker which predictor it has, and tell it again after it was restarted.

    The name or folder of a checkpoint travels, not its weights; a worker that finds another
    checkpoint under that name refuses to work.

    The predictor is loaded by the first prediction, not as the worker connects: a worker that dies
    of it takes a task with it, which Dask repeats a few times and then gives up. One that died as
    it connected would be missing without an error message.
    """

    name = "sabatier-predictor"

    def __init__(self, model: str, checkpoint_sha256: str, device: Device = "cpu") -> None:
        self._model = model
        self._sha256 = checkpoint_sha256
        self._device = device

    def setup(self, worker: Worker) -> None:
        """Give ``worker`` its predictor, which is not loaded yet; Dask calls this."""
        predictor = WorkerPredictor(self._model, self._sha256, self._device, str(worker.name))
        setattr(worker, _ATTRIBUTE, predictor)


class WorkerPredictor:
    """The predictor of one worker, loaded when it is first needed."""

    def __init__(self, model: str, checkpoint_sha256: str, device: Device, worker: str) -> None:
        self._model = model
        self._sha256 = checkpoint_sha256
        self._device = device
        self._worker = worker
        self._lock = threading.Lock()  # workers of another's cluster may have several threads
        self._loaded: Predictor | None = None

    def load(self) -> Predictor:
        """Return the predictor.

        Raises:
            CampaignError: the checkpoint found here is not that of the run.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._found()
                if torch := sys.modules.get("torch"):  # not every kind of checkpoint needs it
                    torch.set_num_threads(1)  # one process for each core: more would fight for it
            return self._loaded

    def _found(self) -> Predictor:
        predictor = load_predictor(self._model, self._device_here())
        if predictor.checkpoint_sha256 != self._sha256:
            raise CampaignError(
                f"worker {self._worker} finds checkpoint {predictor.checkpoint_sha256[:12]} under "
                f"{self._model!r}, the run uses {self._sha256[:12]}; install the same model there"
            )
        return predictor

    def _device_here(self) -> str:
        if self._device == "auto":
            import torch

            return "cuda" if torch.cuda.is_available() else "cpu"
        return self._device


def worker_predictor() -> Predictor:
    """Return the predictor of the worker that runs this."""
    predictor: WorkerPredictor = getattr(get_worker(), _ATTRIBUTE)
    return predictor.load()
