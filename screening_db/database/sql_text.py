"""Take a typed statement apart, as far as must be known before a database reads it."""

import re
from collections.abc import Iterator

from screening_db.errors import DatabaseError

# What a statement is made of, as PostgreSQL reads it: a line ends at a carriage return too, and
# every character beyond ASCII may stand in a name. A comment or a dollar quote goes on where a
# search finds its end.
_TOKEN = re.compile(
    r"""
      (?P<space> [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<text> '(?:[^']|'')*' )
    | (?P<dollar> \$(?:[a-zA-Z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$ )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<word> [a-zA-Z_\x80-\U0010ffff][\w$\x80-\U0010ffff]* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_ENDS = re.compile(r"/\*|\*/")
_NAME_BYTES = 63  # PostgreSQL cuts longer names
_EXPLAIN_OPTIONS = ("analyze", "analyse", "verbose", "query", "plan")  # those without brackets


def first_word(sql: str) -> str:
    """Return the first word of a statement in lower case, empty where it begins with none.

    Raises:
        DatabaseError: a comment before it has no end.
    """
    for kind, token in _tokens(sql):
        if token != "(":  # noqa: S105  no password
            return token.lower() if kind == "word" else ""
    return ""


def explained_words(sql: str) -> list[str]:
    """Return what EXPLAIN explains, without options and brackets before it, in lower case.

    Raises:
        DatabaseError: a text, a comment or a quoted name has no end, or a name is written in codes.
    """
    tokens = [token.lower() for _, token in _tokens(sql)][1:]
    if tokens[:1] == ["("] and tokens[1:2] not in (["("], ["select"], ["with"], ["values"]):
        tokens = tokens[tokens.index(")") + 1 :] if ")" in tokens else []
    while tokens and tokens[0] in ("(", *_EXPLAIN_OPTIONS):
        del tokens[0]
    return tokens


def called_names(sql: str) -> set[str]:
    """Find the names that stand before a parenthesis: all functions that are called by name.

    Args:
        sql: A statement as PostgreSQL reads it, with ``standard_conforming_strings``.

    Returns:
        The names; keywords, types and names of the statement's own tables may be among them.

    Raises:
        DatabaseError: a text, a comment or a quoted name has no end, or a name is written in codes.
    """
    names: set[str] = set()
    name = ""
    for kind, token in _tokens(sql):
        if token == "(" and name:  # noqa: S105  no password
            names.add(name)
        name = _name(kind, token)
    return names


def all_names(sql: str) -> set[str]:
    """Find every name of a statement, wherever it stands; keywords are among them.

    Raises:
        DatabaseError: as ``called_names``.
    """
    return {name for kind, token in _tokens(sql) if (name := _name(kind, token))}


def _name(kind: str, token: str) -> str:
    """Return the name that a token is, as PostgreSQL stores it; empty where it is none."""
    if kind == "word":
        name = token.encode(errors="replace").lower()  # ASCII letters alone
    elif kind == "quoted":
        name = token[1:-1].replace('""', '"').encode(errors="replace")
    else:
        return ""
    return name[:_NAME_BYTES].decode(errors="ignore")


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of each token, without spaces and comments."""
    at, before = 0, ""
    while found := _TOKEN.match(sql, at):
        kind, token, at = str(found.lastgroup), found.group(), found.end()
        if kind == "space":
            continue
        if kind == "comment":
            at = _end_of_comment(sql, at)
            continue
        if kind == "dollar":
            at = sql.find(token, at) + len(token)
            if at < len(token):
                raise _unreadable("a dollar quote has no end")
        elif token in ("'", '"'):
            raise _unreadable("a quote has no end")
        elif kind == "quoted" and sql[max(found.start() - 2, 0) : found.start()].lower() == "u&":
            raise _unreadable("a name is written in Unicode codes")
        elif kind == "text" and before == "escaped":  # whose escapes would hold in this one too
            raise _unreadable("a text goes on after a text with escapes")
        before = kind
        yield kind, token


def _end_of_comment(sql: str, at: int) -> int:
    """Return where a comment ends whose beginning ends at ``at``; comments may hold others."""
    depth = 1
    while depth:
        found = _COMMENT_ENDS.search(sql, at)
        if found is None:
            raise _unreadable("a comment has no end")
        depth, at = depth + (1 if found.group() == "/*" else -1), found.end()
    return at


def _unreadable(why: str) -> DatabaseError:
    return DatabaseError(f"the query was not answered: {why}; write it plainly")
