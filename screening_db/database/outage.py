"""Wait for a PostgreSQL server that goes away in the middle of a run, and go on when it is back.

A function that reads or writes in one transaction is repeated as a whole where the connection
broke before its end (``repeated_after_outage``); one of several transactions is made of such
functions. A commit whose answer was lost is not repeated on suspicion: each write stores a name of
its own beside what it stores (``LastWriteRow``), by which ``Database.write`` asks whether it was
stored. So nothing is lost and nothing is stored twice, whatever the transaction does.

PostgreSQL's ``txid_status`` would not tell. A server that stops at once forgets the numbers of
transactions that it had not stored, and gives the same numbers to others when it is back.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from screening_db.errors import DatabaseAwayError, DatabaseError

logger = logging.getLogger(__name__)

DATABASE_WAIT_S = 600.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
# Rows of processes that are gone stay until somebody writes a week later; they are a few.
_NAME = text(
    "WITH former AS (DELETE FROM last_write WHERE token IN (SELECT token FROM last_write "
    "WHERE writer = :writer OR at < extract(epoch FROM clock_timestamp()) - 604800 "
    "FOR UPDATE SKIP LOCKED)) "
    "INSERT INTO last_write (token, writer, at) "
    "VALUES (:token, :writer, extract(epoch FROM clock_timestamp()))"
)
# The index of the token makes this wait for a transaction that the server still ends.
_STORE_UNLESS_THERE = text(
    "INSERT INTO last_write (token, writer, at) VALUES (:token, '', 0) ON CONFLICT DO NOTHING "
    "RETURNING token"
)
_PROCESS = uuid.uuid4().hex


class Waiting(Protocol):
    """A database that is waited for, as far as waiting needs to know it."""

    @property
    def where(self) -> str:
        """Return how messages name it."""
        ...

    @property
    def wait_s(self) -> float:
        """Return how long it is waited for; at 0 s every fault is raised at once."""
        ...


Params = ParamSpec("Params")
Result = TypeVar("Result")
WaitingDatabase = TypeVar("WaitingDatabase", bound=Waiting)


def repeated_after_outage(
    function: Callable[Concatenate[WaitingDatabase, Params], Result],
) -> Callable[Concatenate[WaitingDatabase, Params], Result]:
    """Repeat a transaction until the server has answered it, or was waited for long enough.

    The pauses grow from a tenth of a second to ten seconds.

    Args:
        function: Reads or writes in one transaction, and changes nothing outside of it.

    Returns:
        The function; it raises ``DatabaseError`` where the server was away for longer than the
        database's ``wait_s``.
    """

    @wraps(function)
    def repeated(db: WaitingDatabase, /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        outage: _Outage | None = None
        while True:
            try:
                result = function(db, *args, **kwargs)
            except DatabaseAwayError as fault:
                if db.wait_s <= 0:
                    raise
                outage = outage or _Outage(db, fault)
                outage.pause(fault)
                continue
            if outage is not None:
                outage.end()
            return result

    return repeated


class _Outage:
    """The time for which a server is away, from the first fault on."""

    def __init__(self, db: Waiting, fault: DatabaseAwayError) -> None:
        self._db, self._began, self._pause_s = db, time.monotonic(), _FIRST_PAUSE_S
        logger.warning("%s: it is waited for, up to %.0f s", fault, db.wait_s)

    def pause(self, fault: DatabaseAwayError) -> None:
        """Sleep, each time longer; raise once the limit is reached."""
        left_s = self._db.wait_s - (time.monotonic() - self._began)
        if left_s <= 0:
            raise DatabaseError(
                f"database {self._db.where} was away for {self._db.wait_s:.0f} s, the limit; start "
                "it and run the same command again, which goes on from there, or raise "
                f"SABATIER_DATABASE_WAIT_S ({fault})"
            ) from fault
        time.sleep(min(self._pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def end(self) -> None:
        """Say that the server is back."""
        away_s = time.monotonic() - self._began
        logger.warning("database %s answers again, after %.0f s", self._db.where, away_s)


def name_write(session: Session) -> str:
    """Store a name of this write beside what it stores, in place of the thread's former one.

    Returns:
        The name, for ``is_stored``.
    """
    token = uuid.uuid4().hex
    # a forked process has its parent's name, another number and perhaps the number of a thread
    writer = f"{_PROCESS}-{os.getpid()}-{threading.get_ident()}"
    session.execute(_NAME, {"writer": writer, "token": token})
    return token


def is_stored(session: Session, token: str) -> bool:
    """Return whether the write of this name was stored; ``session`` is rolled back after it."""
    was_new = session.execute(_STORE_UNLESS_THERE, {"token": token}).first() is not None
    session.rollback()
    return not was_new
