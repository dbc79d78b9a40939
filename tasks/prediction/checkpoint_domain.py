"""The id and domain of a checkpoint, read without loading its networks, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import QE_CATALYTIC, open_checkpoint
from model.contract import Domain
from model.data.domain import read_domain


@dataclass(frozen=True)
class CheckpointDomain:
    """The hash of a checkpoint, its domain, and whether it reads atoms beside the text."""

    sha256: str
    domain: Domain
    reads_atoms: bool


def checkpoint_domain(name_or_path: str | Path) -> CheckpointDomain:
    """Return the domain of the checkpoint of that name or folder, every hash of it verified.

    Raises:
        ModelError: there is none, a hash differs, or it is of a kind this version cannot read.
    """
    checkpoint = open_checkpoint(name_or_path)
    reads_atoms = checkpoint.kind == QE_CATALYTIC
    if not (checkpoint.folder / f"{checkpoint.kind}.json").is_file():
        # Imported late on purpose: torch takes seconds, and only an odd checkpoint comes here.
        from model.prediction.predictor import load_predictor

        predictor = load_predictor(name_or_path)
        return CheckpointDomain(predictor.checkpoint_sha256, predictor.domain, reads_atoms)
    settings = checkpoint.read_json(f"{checkpoint.kind}.json")
    domain = read_domain(checkpoint, settings["domain"])
    return CheckpointDomain(checkpoint.sha256, domain, reads_atoms)
