"""Read the address of a database, and keep what is secret in it out of every message.

A password may stand in a URL before its @ or in its query, as libpq reads it. What cannot be read
is refused, and none of it is printed, because nobody knows which part of it is the password.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from screening_db.errors import DatabaseError

# Parts of a query that say which database is meant. All others are left out of messages.
_SHOWN = frozenset({"dbname", "host", "hostaddr", "port", "service", "user"})
_SECRET = re.compile(r"pass(?!file)|secret|scram|token", re.IGNORECASE)  # in the name of a part
_SCHEME = re.compile(r"\s*[a-z][a-z0-9+._-]+:/", re.IGNORECASE)
_CONNECTION_STRING = re.compile(r"\b(?:dbname|host|password|user)\s*=", re.IGNORECASE)
# A secret in a text of which nothing is known, with what stands before and after it.
_IN_TEXT = re.compile(r"(://[^\s:/@]*:)\S*@|(password\s*=\s*)[^\s&'\"]+", re.IGNORECASE)
_UNREADABLE = (
    "a database is a file path or postgresql://user@host/name; this address cannot be read. In a "
    "user name or password write @ as %40, : as %3A and / as %2F, or leave the password to "
    "PGPASSWORD or ~/.pgpass"
)


def database_url(url_or_path: str | Path) -> URL:
    """Read the address of a database.

    Args:
        url_or_path: The path of a file, ``sqlite:///...`` or ``postgresql://...``.

    Returns:
        Its SQLAlchemy URL.

    Raises:
        DatabaseError: it is neither, or cannot be read; no part of it is in the message.
    """
    text = str(url_or_path)
    if "://" not in text:
        if isinstance(url_or_path, str) and _is_mistyped(text):
            raise DatabaseError(_UNREADABLE)
        return _file_url(text)
    try:
        text.encode()  # a byte that is no UTF-8, in a variable of the environment
        url = make_url(text)
        (url.host or "").encode("idna")  # which finding the host would do
    except (ArgumentError, ValueError):  # a ValueError has the port in it, or what stands there
        raise DatabaseError(_UNREADABLE) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _file_url(url.database or "")
    if backend not in ("postgresql", "postgres"):
        raise DatabaseError(
            "a database is an SQLite file or a PostgreSQL server, got "
            f"{backend}; give a path or postgresql://user@host/name"
        )
    _require_one_reading(text, url)
    return url.set(drivername="postgresql+psycopg")


def has_password(address: str | Path) -> bool:
    """Tell whether a path or URL of a database holds a password or another secret."""
    return next(_secrets(database_url(address)), None) is not None


def where(url: URL) -> str:
    """Return how messages name a database: its path, or its URL without what is secret."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    query = {name: value for name, value in url.query.items() if name in _SHOWN}
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=True)


def holds_secret(text: str, url: URL) -> bool:
    """Tell whether a secret of ``url`` stands in a text, as it is or as URLs write it."""
    return any(form in text for secret in _secrets(url) for form in _forms(secret) if form)


def hide_passwords(text: str) -> str:
    """Return a text with ``***`` for what looks like the password of a URL in it."""
    return _IN_TEXT.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)


def _secrets(url: URL) -> Iterator[str]:
    if url.password is not None:
        yield str(url.password)
    for name, value in url.query.items():
        if _SECRET.search(name):
            yield from (value,) if isinstance(value, str) else value


def _forms(secret: str) -> set[str]:
    return {secret, repr(secret)[1:-1], quote(secret), quote(secret, safe=""), quote_plus(secret)}


def _is_mistyped(text: str) -> bool:
    """Tell a URL with one slash, or libpq's ``host=... password=...``, from the path of a file."""
    return bool(_SCHEME.match(text) or _CONNECTION_STRING.search(text))


def _require_one_reading(text: str, url: URL) -> None:
    """Refuse an @ that ends no user: what is host, name or query may then be half a password."""
    if text.count("@") > (url.username is not None):
        raise DatabaseError(_UNREADABLE)


def _file_url(path: str) -> URL:
    if path in ("", ":memory:"):
        raise DatabaseError(
            "a database needs a file, because several processes share it; give a path such as "
            "runs/screening.db"
        )
    try:
        file = Path(path).expanduser().absolute()
        file.exists()  # which asks for a folder that may be entered, and a name that may be long
    except (OSError, RuntimeError) as fault:  # a RuntimeError for the home of nobody
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise DatabaseError(
            f"the file of a database cannot be looked for ({reason}): {path[:200]}; give another "
            "path"
        ) from None
    return URL.create("sqlite", database=str(file))
