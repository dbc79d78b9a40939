"""The tables, as SQLAlchemy classes; importing one of them puts all into the metadata."""

from screening_db.tables import learning, screening, verification

__all__ = ["learning", "screening", "verification"]
