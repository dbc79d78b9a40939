"""The errors of the screening database: one line with the rule, the value and the way out."""

from model.errors import SabatierError


class DatabaseError(SabatierError):
    """A fault that a user can mend: the message is one line and says how."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NoDatabaseError(DatabaseError):
    """There is no screening database to open, and none may be created."""

    @classmethod
    def at(cls, where: str) -> "NoDatabaseError":
        """Return the error for a path or URL, which is without its password."""
        return cls(
            f"there is no screening database at {where}; run a campaign first, with: sabatier "
            "screen FILE, or give another path"
        )


class DatabaseAwayError(DatabaseError):
    """The server does not answer, and may come back: what was not stored may be tried again."""


class QueryTimeoutError(DatabaseError):
    """A query took longer than it was given."""
