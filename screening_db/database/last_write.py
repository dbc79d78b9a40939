"""Know whether a commit whose answer was lost was stored: its own row tells.

PostgreSQL's ``txid_status`` does not. A server that stops at once forgets the numbers of
transactions that it had not stored, and gives the same numbers to others when it is back.
"""

import os
import threading
import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

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
