"""The identity of a database, and where the files beside it lie."""

from dataclasses import dataclass

from sqlalchemy import select

from screening_db.database import Database, database_time, repeated_after_outage, upsert
from screening_db.tables import FolderKind, FolderRow, IdentityRow


@dataclass(frozen=True)
class RecordedFolder:
    """A folder of a database: its absolute path, and the host on which it was recorded."""

    host: str
    path: str


@repeated_after_outage
def database_id(db: Database) -> str:
    """Return the id of a database, which its backups share."""
    with db.read() as session:
        return session.scalars(select(IdentityRow.id)).one()


@repeated_after_outage
def recorded_folder(db: Database, kind: FolderKind) -> RecordedFolder | None:
    """Return where the files of a kind lie, None where none were written yet."""
    with db.read() as session:
        row = session.get(FolderRow, kind)
    return RecordedFolder(row.host, row.path) if row else None


@repeated_after_outage
def record_folder(db: Database, kind: FolderKind, folder: RecordedFolder) -> None:
    """Store where the files of a kind lie from now on."""
    with db.write() as session:
        at = database_time(session)
        row = FolderRow(kind=kind, host=folder.host, path=folder.path, at=at)
        upsert(session, [row], overwrite=True)
