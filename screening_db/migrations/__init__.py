"""The steps from one release's tables and views to the next; Alembic runs them."""
