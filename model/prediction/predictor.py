"""How a checkpoint becomes a predictor; what a kind needs is imported with the first of it."""

from pathlib import Path

from model.checkpoint import (
    BASE_FOLDER,
    BASELINE,
    DIFFERENCE,
    QE_CATALYTIC,
    Checkpoint,
    open_checkpoint,
    reading,
)
from model.contract import Predictor
from model.errors import ModelError, shortened


def load_predictor(name_or_path: str | Path, device: str = "cpu") -> Predictor:
    """Return the predictor of an embedded checkpoint (``mini``, ``baseline``) or of a folder.

    Args:
        name_or_path: An embedded checkpoint's name, or the folder of one.
        device: Where networks run (``cpu``, ``cuda``); baselines need none.

    Returns:
        A predictor; it keeps the checkpoint's SHA-256 and domain.

    Raises:
        ModelError: there is none, its manifest does not fit, its content cannot be read, or the
            machine has no such device.
    """
    checkpoint = open_checkpoint(name_or_path)
    if checkpoint.kind == QE_CATALYTIC:
        _require_device(device)
    with reading(checkpoint):
        return _predictor(checkpoint, device)


def _require_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except torch.OutOfMemoryError:
        raise ModelError(f"device {device} has no free memory; end what fills it") from None
    except (AssertionError, NotImplementedError, RuntimeError) as fault:
        first = shortened(" ".join(str(fault).split()), 200)
        raise ModelError(
            f"device {device} is not here; take the device cpu, or install its driver and a torch "
            f"that is built for it ({first})"
        ) from None


def _predictor(checkpoint: Checkpoint, device: str) -> Predictor:
    # The libraries of each kind take seconds to import: only its users wait for them.
    if checkpoint.kind == QE_CATALYTIC:
        from model.prediction.qe_catalytic import QECatalyticPredictor

        return QECatalyticPredictor(checkpoint, device)
    if checkpoint.kind == BASELINE:
        from model.prediction.baseline import BaselinePredictor

        return BaselinePredictor(checkpoint)
    if checkpoint.kind == DIFFERENCE:
        from model.prediction.difference import DifferencePredictor

        base = checkpoint.folder / BASE_FOLDER
        return DifferencePredictor(
            checkpoint, load_predictor(base, device) if base.is_dir() else None
        )
    from model.prediction.medians import MedianPredictor

    return MedianPredictor(checkpoint)
