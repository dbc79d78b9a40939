"""Let one process at a time screen a campaign. The lock dies with its process, however it dies.

On a server it dies with its session as well, which the server may end while the process lives on.
So every write of the holder first asks that session, and takes the lock again where it is dead
(``Database.write``). Because another process may have come in between, whoever takes a campaign
writes a token of its own beside it, and every write of the holder compares that token in its own
transaction: who was passed over stores nothing any more.
"""

import socket
import threading
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from screening_db.database.bulk import upsert
from screening_db.database.engine import Database, database_time
from screening_db.database.faults import one_line_faults
from screening_db.database.outage import repeated_after_outage
from screening_db.database.schema import CAMPAIGN_LOCKS
from screening_db.errors import DatabaseError
from screening_db.tables import CampaignHolderRow


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


class ServerLock:
    """A campaign held by a session of the server, which ends when its process does."""

    def __init__(self, engine: Engine, campaign: str) -> None:
        self.token = uuid.uuid4().hex
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._values = {"ours": CAMPAIGN_LOCKS, "key": lock_key(campaign)}
        self._session: Connection | None = None
        self._is_released = False
        self._one_at_a_time = threading.Lock()  # heartbeats write from a thread of their own

    def take(self) -> bool:
        """Take the lock with a new session, and return whether it was free."""
        session = self._engine.connect()
        try:
            query = text("SELECT pg_try_advisory_lock(:ours, :key)")
            taken = bool(session.execute(query, self._values).scalar_one())
        except BaseException:
            session.close()
            raise
        if taken:
            self._session = session
        else:
            session.close()
        return taken

    def take_again(self) -> None:
        """Take the lock again where its session has died.

        Where it is not free, that is the server's own memory of the dead session, or another
        process, whose token then stops every write of this one.
        """
        with self._one_at_a_time:
            if self._session is not None:
                try:
                    self._session.execute(text("SELECT 1"))
                except SQLAlchemyError:
                    self._session.close()
                    self._session = None
            if self._session is None and not self._is_released:
                self.take()

    def release(self) -> None:
        """Let go; the lock of a session that has died is free already."""
        with self._one_at_a_time:
            self._is_released = True
            if self._session is None:
                return
            # the connection goes back to the pool, where the lock would live on
            with suppress(SQLAlchemyError):
                query = text("SELECT pg_advisory_unlock(:ours, :key)")
                self._session.execute(query, self._values)
            self._session.close()
            self._session = None


@contextmanager
def _server_lock(db: Database, campaign: str) -> Iterator[None]:
    lock = ServerLock(db.engine, campaign)
    with one_line_faults(db.url):
        if not lock.take():
            raise _held(db, campaign)
    try:
        _record_holder(db, campaign, lock.token)
        db.holds[campaign] = lock
        yield
    finally:
        db.holds.pop(campaign, None)
        lock.release()


@repeated_after_outage
def _record_holder(db: Database, campaign: str, token: str) -> None:
    """Store who holds a campaign; the write of a former holder that is still open ends first."""
    with db.write() as session:
        row = CampaignHolderRow(
            campaign=campaign, token=token, host=socket.gethostname(), at=database_time(session)
        )
        upsert(session, [row], overwrite=True)


def _held(db: Database, campaign: str) -> DatabaseError:
    return DatabaseError(
        f"campaign {campaign} is being screened in {db.where} by another process, and one at a "
        "time may; wait for that one or stop it"
    )
