"""The id and domain of a checkpoint, read without loading its networks, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import open_checkpoint
from model.contract import Domain
from model.data.domain import read_domain


@dataclass(frozen=True)
class CheckpointDomain:
    """The hash of a checkpoint, and its domain."""

    sha256: str
    domain: Domain


def checkpoint_domain(name_or_path: str | Path) -> CheckpointDomain:
    """Return the domain of the checkpoint of that name or folder, every hash of it verified.

    Raises:
        ModelError: there is none, a hash differs, or it is of a kind this version cannot read.
    """
    checkpoint = open_checkpoint(name_or_path)
    if not (checkpoint.folder / f"{checkpoint.kind}.json").is_file():
        # Imported late on purpose: torch takes seconds, and only an odd checkpoint comes here.
        from model.prediction.predictor import load_predictor

        predictor = load_predictor(name_or_path)
        return CheckpointDomain(predictor.checkpoint_sha256, predictor.domain)
    settings = checkpoint.read_json(f"{checkpoint.kind}.json")
    return CheckpointDomain(checkpoint.sha256, read_domain(checkpoint, settings["domain"]))
