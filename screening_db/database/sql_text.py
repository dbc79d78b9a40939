"""Take a typed statement apart, as far as must be known before a database reads it."""

import re

from screening_db.errors import DatabaseError

# What a statement is made of. A comment or a dollar quote goes on where a search finds its end.
_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<text> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' )
    | (?P<dollar> \$(?:[^\W\d]\w*)?\$ )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_ENDS = re.compile(r"/\*|\*/")
_BEFORE_FIRST_WORD = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/|\()*", re.DOTALL)
_NAME_BYTES = 63  # PostgreSQL cuts longer names


def first_word(sql: str) -> str:
    """Return the first word of a statement in lower case, empty where it begins with none."""
    begin = _BEFORE_FIRST_WORD.match(sql)
    word = re.compile(r"\w*").match(sql, begin.end() if begin else 0)
    return word.group().lower() if word else ""


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
    name, at = "", 0
    while found := _TOKEN.match(sql, at):
        kind, token, at = found.lastgroup, found.group(), found.end()
        if kind == "comment":
            at = _end_of_comment(sql, at)
        elif kind == "dollar":
            at = sql.find(token, at) + len(token)
            if at < len(token):
                raise _unreadable("a dollar quote has no end")
        elif token in ("'", '"'):
            raise _unreadable("a quote has no end")
        elif kind == "quoted" and sql[max(found.start() - 2, 0) : found.start()].lower() == "u&":
            raise _unreadable("a name is written in Unicode codes")
        elif token == "(" and name:  # noqa: S105  no password
            names.add(name.encode()[:_NAME_BYTES].decode(errors="ignore"))
        if kind not in ("space", "comment"):
            quoted = token[1:-1].replace('""', '"')
            name = token.lower() if kind == "word" else quoted if kind == "quoted" else ""
    return names


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
