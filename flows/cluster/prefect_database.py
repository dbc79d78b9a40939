"""The database that an embedded Prefect server begins with: migrated once, then copied.

Prefect takes a new SQLite file through all its migrations, six seconds of a processor in each run,
and the result is the same empty database every time. It is kept in the user's folder of caches,
one for each version of Prefect; whatever is wrong there, Prefect does as it would without.
"""

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from model.files import new_file

DATABASE = "prefect.db"  # Prefect's name for it in its home


def begin_database(home: Path) -> None:
    """Put an empty migrated database into the home of a server that has none.

    The process's Prefect must have this home (``PREFECT_HOME``).
    """
    database = home / DATABASE
    if database.exists():
        return
    kept = _kept()
    with suppress(OSError):
        if _is_whole(kept):
            shutil.copyfile(kept, database)
            return
    try:
        _migrate()
    except Exception:
        database.unlink(missing_ok=True)  # the server tries again, and its log says what is wrong
        return
    with suppress(OSError, sqlite3.Error):
        _keep(database, kept)


def _kept() -> Path:
    import prefect

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "sabatier" / f"prefect-{prefect.__version__}.db"


def _is_whole(database: Path) -> bool:
    """Return whether a file is a database that was migrated and holds no run."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            sound = connection.execute("pragma quick_check").fetchone() == ("ok",)
            migrated = connection.execute("select count(*) from alembic_version").fetchone() == (1,)
            empty = connection.execute("select count(*) from flow_run").fetchone() == (0,)
            return bool(sound and migrated and empty)
    except sqlite3.Error:
        return False


def _migrate() -> None:
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _keep(database: Path, kept: Path) -> None:
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        new_file(kept) as fresh,
        closing(sqlite3.connect(database)) as source,
        closing(sqlite3.connect(fresh)) as target,
    ):
        source.backup(target)
