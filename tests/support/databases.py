"""Screening databases with the present schema, copied rather than migrated for each test."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from screening_db.database.engine import Database, open_database
from screening_db.tables.verification import LabelRow
from support import stored_rows


@cache
def _new_file(*, is_filled: bool) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "screening.db"
        db = open_database(file)
        if is_filled:
            stored_rows.fill(db)
        db.close()
        return file.read_bytes()


def new_database(file: Path, *, is_filled: bool = False) -> Database:
    """Return a database in a new SQLite file: empty, or with what ``stored_rows.fill`` stores."""
    file.write_bytes(_new_file(is_filled=is_filled))
    return open_database(file)


def labels(db: Database, level: str) -> list[LabelRow]:
    """Return the labels of a level by candidate id."""
    query = select(LabelRow).where(LabelRow.level == level).order_by(LabelRow.candidate_id)
    with db.read() as session:
        return list(session.scalars(query))
