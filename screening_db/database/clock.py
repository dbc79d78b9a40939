"""The one clock that all workers of a database share."""

import time

from sqlalchemy import text
from sqlalchemy.orm import Session


def database_time(session: Session) -> float:
    """Return the seconds since 1970, UTC: the server's, or this computer's on SQLite."""
    if session.get_bind().dialect.name == "postgresql":
        return float(
            session.execute(text("SELECT extract(epoch from clock_timestamp())")).scalar_one()
        )
    return time.time()
