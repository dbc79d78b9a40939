"""Where the checkpoint lies that serves a model in a database, verified hash by hash."""

from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import Campaign
from flows.errors import CampaignError
from flows.records.folders import models_folder
from flows.records.to_rows import checkpoint_row
from model.checkpoint import MANIFEST, embedded_names, open_checkpoint
from screening_db.database import Database
from screening_db.learning.serving import find_checkpoint, recorded_checkpoints, serving_sha256
from screening_db.queries import first_checkpoint
from screening_db.records.screening import record_checkpoint
from screening_db.tables import CheckpointRow
from tasks.prediction.checkpoint_domain import checkpoint_domain


@dataclass(frozen=True)
class LocatedCheckpoint:
    """A checkpoint that was found: its hash, and the name or folder that it is loaded from."""

    location: str
    sha256: str


def serving_checkpoint(db: Database, model: str) -> LocatedCheckpoint:
    """Return the checkpoint that serves ``model``: the promoted one, else that of the name.

    Raises:
        CampaignError: it is not where it was.
        ModelError: one of its files is missing or differs.
    """
    sha256 = serving_sha256(db, model)
    if sha256 is None:
        return LocatedCheckpoint(model, open_checkpoint(model).sha256)
    return locate_checkpoint(db, sha256)


def locate_checkpoint(db: Database, sha256: str) -> LocatedCheckpoint:
    """Return a checkpoint that the database records, from the path of its model.

    Args:
        db: The database.
        sha256: The checkpoint's hash.

    Returns:
        The checkpoint with a location that was checked to hold it.

    Raises:
        CampaignError: it is not where it was.
        ModelError: one of its files is missing or differs.
    """
    row = find_checkpoint(db, sha256)
    location = checkpoint_location(db, row)
    if row.folder and not (Path(location) / MANIFEST).is_file():
        raise CampaignError(
            f"checkpoint {sha256[:12]} of model {row.model} was recorded in {location}, which "
            f"holds no {MANIFEST}; restore the folder, or return to the checkpoint before: "
            f"sabatier model rollback {row.model}"
        )
    here = open_checkpoint(location).sha256
    if here != sha256:
        raise CampaignError(
            f"checkpoint {sha256[:12]} of model {row.model} was recorded as {location!r}, which "
            f"is {here[:12]} here; install the release it came with, or serve another one: "
            f"sabatier model promote {row.model} CHECKPOINT"
        )
    return LocatedCheckpoint(location, sha256)


def record_outside_checkpoint(db: Database, model: str, at: LocatedCheckpoint) -> None:
    """Store a checkpoint that no fine-tuning of this database has made, where it is not there."""
    if serving_sha256(db, model) == at.sha256:
        return
    domain = checkpoint_domain(at.location).domain
    record_checkpoint(db, checkpoint_row(at.sha256, model, at.location, domain))


def checkpoint_location(db: Database, row: CheckpointRow) -> str:
    """Return the embedded name of a checkpoint, or its folder; a relative one is beside ``db``."""
    return str((models_folder(db) / row.folder).absolute()) if row.folder else row.name


def serving_by_model(db: Database, model: str | None = None) -> dict[str, str | None]:
    """Return the SHA-256 of the serving checkpoint of each recorded model, or of ``model`` alone.

    That is the promoted checkpoint, else the embedded one of the name, else the only one that no
    fine-tuning made; None where none of them is there.
    """
    roots: dict[str, list[str]] = {}
    for row in recorded_checkpoints(db, model):
        roots.setdefault(row.model, []).extend([] if row.parent_sha256 else [row.sha256])
    if model is not None:
        roots.setdefault(model, [])
    found: dict[str, str | None] = {}
    for name, hashes in roots.items():
        promoted = serving_sha256(db, name)
        if promoted is None and name in embedded_names():
            promoted = open_checkpoint(name).sha256
        found[name] = promoted or (hashes[0] if len(hashes) == 1 else None)
    return found


def screening_checkpoint(db: Database, campaign: Campaign) -> str | None:
    """Return the checkpoint that a campaign is screened with, or None for the one in its file.

    One that was begun goes on with the checkpoint it was begun with, whatever serves by now.
    """
    first = first_checkpoint(db, campaign.name)
    if first is None or first.model != campaign.model:
        sha256 = serving_sha256(db, campaign.model)
    else:
        # the file's own checkpoint is read by its name: if it is another one, the file changed
        itself = first.folder in ("", str(Path(campaign.model).absolute()))
        sha256 = None if itself else first.sha256
    return locate_checkpoint(db, sha256).location if sha256 else None
