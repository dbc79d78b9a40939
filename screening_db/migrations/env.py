"""The script that Alembic runs to migrate, on the connection that ``schema.migrate`` hands over."""

from alembic import context

from screening_db.tables.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite too: all of a migration or nothing
)
with context.begin_transaction():
    context.run_migrations()
