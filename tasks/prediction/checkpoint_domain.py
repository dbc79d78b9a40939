"""The id and domain of a checkpoint, read without loading its networks, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import QE_CATALYTIC, open_checkpoint, reading
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
        ModelError: there is none, its manifest does not fit, or its settings cannot be read.
    """
    checkpoint = open_checkpoint(name_or_path)
    with reading(checkpoint):
        domain = read_domain(checkpoint, checkpoint.settings()["domain"])
    return CheckpointDomain(checkpoint.sha256, domain, checkpoint.kind == QE_CATALYTIC)
