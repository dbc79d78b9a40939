"""Bring a database of a former release to the schema of this one, which cannot be taken back.

Nobody may work with it meanwhile. An SQLite file is backed up first, beside itself; of a server its
owner makes a backup, and says so by the command ``sabatier db upgrade``.
"""

import glob
import logging
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text

from screening_db.database.schema import CAMPAIGN_LOCKS, newest_revision
from screening_db.errors import DatabaseError

logger = logging.getLogger(__name__)

_MIB = 2**20


def upgrade_rules(
    path: Path | None, where: str, *, consent: bool
) -> Callable[[Connection, str], None]:
    """Return what is done with an older database, before its schema is changed.

    Args:
        path: The SQLite file, None on a server.
        where: How messages name the database.
        consent: Whether the owner of a server has said that there is a backup.

    Returns:
        A function of the connection, in its transaction, and the present revision. It raises
        ``DatabaseError`` where the schema may not be changed now.
    """

    def prepare(connection: Connection, revision: str) -> None:
        if path is None and not consent:
            raise DatabaseError(
                f"database {where} has schema {revision} and this release works with "
                f"{newest_revision()}; nothing of a server is changed unasked: make a backup of it "
                f"(pg_dump --format=custom --file=FILE {where}) and run: sabatier db upgrade "
                f"--database {where}"
            )
        _refuse_in_use(connection, path, where)
        if path is not None:
            kept = back_up(path, path.with_name(f"{path.name}.{revision}.backup"), copies=2)
            logger.warning(
                "database %s goes from schema %s to %s; as it was it is kept in %s",
                where,
                revision,
                newest_revision(),
                kept,
            )

    return prepare


def back_up(path: Path, target: Path, *, copies: int = 1) -> Path:
    """Copy an SQLite database to ``target`` as of one moment, while others may read and write.

    Args:
        path: The database.
        target: The file, which is replaced as a whole or not at all, and is this user's alone.
        copies: How many times its size must be free on the disk.

    Returns:
        ``target``.

    Raises:
        DatabaseError: ``target`` is the database itself, there is too little space, or the file
            cannot be written.
    """
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        if target.exists() and target.samefile(path):
            raise DatabaseError(
                f"a backup is another file than its database, got {target} for both; give a path "
                "that is not the database"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        needed, free = _size(path) * copies, shutil.disk_usage(target.parent).free
        if free < needed:
            raise DatabaseError(
                f"a backup of database {path} needs {needed / _MIB:.0f} MiB on the disk of "
                f"{target.parent}, and {free / _MIB:.0f} MiB are free; free some space and run the "
                "same command again"
            )
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(draft)) as copy,
        ):
            source.backup(copy)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    except (OSError, sqlite3.Error) as fault:
        raise DatabaseError(
            f"a backup of database {path} cannot be written to {target} ({fault}); free some space "
            "or correct the folder, and run the same command again"
        ) from fault
    finally:
        with suppress(OSError):  # its folder cannot be one, which was said above
            draft.unlink()
    return target


def _size(path: Path) -> int:
    parts = (path, path.with_name(f"{path.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _refuse_in_use(connection: Connection, path: Path | None, where: str) -> None:
    """Raise where a process, of any release, holds a campaign or computes an item."""
    busy = _held_files(path) if path is not None else _held_locks(connection)
    if not busy:
        leases = text("SELECT count(*) FROM queue WHERE state = 'leased' AND lease_until > :now")
        held = connection.execute(leases, {"now": server_time(connection)}).scalar_one()
        busy = f"{held} calculations are under way" if held else ""
    if busy:
        raise DatabaseError(
            f"database {where} is of a former release, and a process works with it ({busy}); let "
            "it end, or stop it, and run the same command again: calculations of a process that "
            "was killed are free after two minutes"
        )


def _held_files(path: Path) -> str:
    for file in sorted(path.parent.glob(f".{glob.escape(path.name)}.*.lock")):
        try:
            with FileLock(file, timeout=0):
                pass
        except Timeout:
            campaign = file.name.removeprefix(f".{path.name}.").removesuffix(".lock")
            return f"campaign {campaign} is held"
        except OSError:  # a file of another user, or a read-only disk
            continue
    return ""


def _held_locks(connection: Connection) -> str:
    query = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :ours AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    held = connection.execute(query, {"ours": CAMPAIGN_LOCKS}).scalar_one()
    return f"{held} campaigns are held" if held else ""


def server_time(connection: Connection) -> float:
    """Return the seconds since 1970, UTC: the server's, or this computer's on SQLite."""
    if connection.dialect.name == "postgresql":
        query = text("SELECT extract(epoch from clock_timestamp())")
        return float(connection.execute(query).scalar_one())
    return time.time()
