"""Let one process at a time screen a campaign. The lock dies with its process, however it dies."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import text

from screening_db.database.engine import Database, one_line_faults
from screening_db.errors import DatabaseError

_OURS = 8_253_318  # any number that is ours: the first half of PostgreSQL's key


def lock_key(name: str) -> int:
    """Return the second half of PostgreSQL's key for a lock of this name, a signed 32 bits."""
    return zlib.crc32(name.encode()) - 2**31


@contextmanager
def campaign_lock(db: Database, campaign: str) -> Iterator[None]:
    """Hold a campaign until the block ends.

    Raises:
        DatabaseError: another process holds it.
    """
    with _file_lock(db, campaign, db.path) if db.path else _server_lock(db, campaign):
        yield


@contextmanager
def _file_lock(db: Database, campaign: str, path: Path) -> Iterator[None]:
    """Lock a file beside the database: the system lets go of it when the process ends.

    The file stays. Deleting it would let two processes hold two files of one name.
    """
    file = path.with_name(f".{path.name}.{quote(campaign, safe='')}.lock")
    lock = FileLock(file, timeout=0, thread_local=False)  # another thread may let go of it
    try:
        lock.acquire()
    except Timeout:
        raise _held(db, campaign) from None
    except OSError as fault:
        raise DatabaseError(
            f"a campaign is held by a file beside its database, and {file} cannot be written "
            f"({fault.strerror}); change its permissions, or give another database"
        ) from fault
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _server_lock(db: Database, campaign: str) -> Iterator[None]:
    """Lock by a session of the server, which ends when its process does."""
    engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    with one_line_faults(db.url), engine.connect() as session:
        query = text("SELECT pg_try_advisory_lock(:ours, :key)")
        values = {"ours": _OURS, "key": lock_key(campaign)}
        if not session.execute(query, values).scalar_one():
            raise _held(db, campaign)
        try:
            yield
        finally:
            # The connection goes back to the pool, where the lock would live on.
            session.execute(text("SELECT pg_advisory_unlock(:ours, :key)"), values)


def _held(db: Database, campaign: str) -> DatabaseError:
    return DatabaseError(
        f"campaign {campaign} is being screened in {db.where} by another process, and one at a "
        "time may; wait for that one or stop it"
    )
