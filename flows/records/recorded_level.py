"""The level of theory that a campaign was recorded with."""

from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.tables.screening import LevelOfTheoryRow
from tasks.levels import LevelOfTheory, level, level_from_record, shipped_levels


def recorded_level(db: Database, name: str) -> LevelOfTheory:
    """Return a shipped level by name, or a user's own as it was recorded: its file may be gone.

    Raises:
        DatabaseError: the record is not there, or does not have its own hash any more.
    """
    if name in {shipped.name for shipped in shipped_levels()}:
        return level(name)
    with db.read() as session:
        row = session.get(LevelOfTheoryRow, name)
    if row is None:
        raise DatabaseError(f"no level {name} is recorded in {db.where}; screen a campaign with it")
    found = level_from_record(row.name, row.engine, row.functional, row.settings, row.reference)
    if found.level_hash != row.level_hash:
        raise DatabaseError(
            f"level {name} was recorded with hash {row.level_hash[:12]} and reads as "
            f"{found.level_hash[:12]}: it was changed, or this release computes it otherwise; "
            "screen again under another level name"
        )
    return found
