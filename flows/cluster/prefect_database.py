"""The database that an embedded Prefect server begins with: migrated once, then copied.

Prefect takes a new SQLite file through all its migrations, six seconds of a processor in each run,
and the result is the same empty database every time. It is kept in the user's folder of caches,
one for each version of Prefect, which nobody else may write to; whatever is wrong there, Prefect
does as it would without.
"""

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from model.errors import FolderError
from model.files import new_file
from model.folder_owner import private_folder

DATABASE = "prefect.db"  # Prefect's name for it in its home


def begin_database(home: Path) -> None:
    """Put an empty migrated database into the home of a server that has none.

    The process's Prefect must have this home (``PREFECT_HOME``).
    """
    database = home / DATABASE
    if database.exists():
        return
    with suppress(OSError, FolderError):
        kept = _kept()
        if _is_whole(kept):
            with new_file(database) as fresh:
                shutil.copyfile(kept, fresh)
            return
    try:
        _migrate()
    except Exception:
        database.unlink(missing_ok=True)  # the server tries again, and its log says what is wrong
        return
    with suppress(OSError, FolderError, sqlite3.Error):
        _keep(database, _kept())


def _kept() -> Path:
    import prefect

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # What lies in such a database is run: deployments and automations, for one.
    own = private_folder(caches / "sabatier", "databases that servers begin with", "remove it")
    return own / f"prefect-{prefect.__version__}.db"


def _is_whole(database: Path) -> bool:
    """Return whether a file is a database that was migrated and holds nothing else."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            sound = connection.execute("pragma quick_check").fetchone() == ("ok",)
            return bool(sound) and _tables_with_rows(connection) == {"alembic_version"}
    except sqlite3.Error:
        return False


def _tables_with_rows(connection: sqlite3.Connection) -> set[str]:
    names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    return {
        name
        for (name,) in names
        if connection.execute(f'select 1 from "{name}" limit 1').fetchone()  # noqa: S608  its own
    }


def _migrate() -> None:
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _keep(database: Path, kept: Path) -> None:
    with (
        new_file(kept) as fresh,
        closing(sqlite3.connect(database)) as source,
        closing(sqlite3.connect(fresh)) as target,
    ):
        source.backup(target)
