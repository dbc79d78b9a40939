"""Connections, schema, bulk loading, locks and error messages."""

from screening_db.database.address import database_url, has_password, hide_passwords
from screening_db.database.bulk import add_new, batches, upsert
from screening_db.database.engine import Database, database_time, open_database
from screening_db.database.lock import campaign_lock, lock_key
from screening_db.database.outage import DATABASE_WAIT_S, repeated_after_outage
from screening_db.database.read_only_sql import SelectResult, run_select
from screening_db.database.reading import open_to_read
from screening_db.database.schema import newest_revision
from screening_db.database.upgrade import back_up

__all__ = [
    "DATABASE_WAIT_S",
    "Database",
    "SelectResult",
    "add_new",
    "back_up",
    "batches",
    "campaign_lock",
    "database_time",
    "database_url",
    "has_password",
    "hide_passwords",
    "lock_key",
    "newest_revision",
    "open_database",
    "open_to_read",
    "repeated_after_outage",
    "run_select",
    "upsert",
]
