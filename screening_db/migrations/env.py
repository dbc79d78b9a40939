"""What Alembic runs to migrate: always on the connection that ``schema.migrate`` hands over."""

from alembic import context

import screening_db.tables.learning
import screening_db.tables.verification  # noqa: F401  puts their tables into the metadata
from screening_db.tables.screening import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite too: all of a migration or nothing
)
with context.begin_transaction():
    context.run_migrations()
