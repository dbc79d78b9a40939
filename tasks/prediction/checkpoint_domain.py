"""The id and domain of a checkpoint, read without loading its networks, which takes seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.checkpoint import (
    BASE_FOLDER,
    DIFFERENCE,
    QE_CATALYTIC,
    Checkpoint,
    open_checkpoint,
    reading,
)
from model.contract import Domain
from model.data.domain import read_domain


@dataclass(frozen=True)
class CheckpointDomain:
    """The hash of a checkpoint, its domain, and whether it reads atoms beside the text.

    ``potentials`` are the levels of theory whose energies it starts from, hashes by name; without
    a base it has no answer where they are missing.
    """

    sha256: str
    domain: Domain
    reads_atoms: bool
    potentials: Mapping[str, str] = field(default_factory=dict)
    has_base: bool = False


def checkpoint_domain(name_or_path: str | Path) -> CheckpointDomain:
    """Return the domain of the checkpoint of that name or folder, every hash of it verified.

    Raises:
        ModelError: there is none, its manifest does not fit, or its settings cannot be read.
    """
    checkpoint = open_checkpoint(name_or_path)
    with reading(checkpoint):
        settings = checkpoint.settings()
        domain = read_domain(checkpoint, settings["domain"])
        potentials = {each["level"]: each["level_hash"] for each in settings.get("on", ())}
        return CheckpointDomain(
            checkpoint.sha256,
            domain,
            _reads_atoms(checkpoint),
            potentials,
            (checkpoint.folder / BASE_FOLDER).is_dir(),
        )


def _reads_atoms(checkpoint: Checkpoint) -> bool:
    """Tell whether strain changes the answer; a potential's energy knows the atoms."""
    base = checkpoint.folder / BASE_FOLDER
    if checkpoint.kind == DIFFERENCE and base.is_dir():
        return open_checkpoint(base).kind == QE_CATALYTIC
    return checkpoint.kind in (QE_CATALYTIC, DIFFERENCE)
