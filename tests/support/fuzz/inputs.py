"""Inputs that are damaged, odd, or written another way: strategies of hypothesis.

A damaged text is a good one after a few edits; a changed file is a good one of which values were
replaced, left out or added; the rest are raw bytes.
"""

import json
from collections.abc import Iterator, Sequence
from string import ascii_letters
from typing import Any

from hypothesis import strategies as st

Edit = tuple[str, int, int, str]
Path = tuple[Any, ...]
EDITS = ("insert", "delete", "repeat", "number", "word", "line", "cut", "swap")
PIECES = (
    *(
        "",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\x85",
        "\u2028",
        "\ufeff",
        "é",
        "🙂",
        "\udcff",
    ),
    *(
        "nan",
        ".inf",
        "-1",
        "0",
        "1e400",
        "-1e-400",
        "9" * 20,
        "9" * 400,
        "9" * 5000,
        "1" + "0" * 18,
    ),
    *("0x1F", "0o17", "1:30", "1_000", "1/2", "1/0", "x" * 300, "X" * 5000, "²", "٣", "--", "---"),
    *(
        "&a ",
        "*a",
        "<<: *a",
        "[",
        "]",
        "{",
        "}",
        "[" * 50,
        "{a: " * 50,
        ": ",
        "- ",
        "? ",
        "| ",
        "> ",
    ),
    *(
        "!!python/object:os.system x",
        "!!int x",
        "!!binary aa",
        "%YAML 1.1",
        "...",
        "#",
        "'",
        '"',
        "\\",
    ),
    *(
        "</s>",
        "(",
        ")",
        "(1 1 1)",
        "[]",
        "Xx",
        "H999999999",
        "data_",
        "loop_",
        ";",
        "_cell_length_a",
    ),
    *(
        "_atom_site_occupancy 0.5",
        "x,y,z",
        "-x,-y,-z",
        "T T F",
        "Direct",
        "Lattice=",
        "Properties=",
    ),
    *("../..", "/dev/zero", "/dev/null", "~", ".", "*", "?", "@", "%s", "%00", "$HOME", "`id`"),
    *(
        " or 1=1",
        "; drop table slab",
        "union select 1",
        "/*",
        "*/",
        "pg_sleep(9)",
        "attach",
        "pragma",
    ),
)
RAW = st.binary(max_size=300)
_edit = st.tuples(
    st.sampled_from(EDITS),
    st.integers(0, 2**20),
    st.integers(0, 40),
    st.one_of(st.sampled_from(PIECES), st.text(max_size=8)),
)
_edits = st.lists(_edit, min_size=1, max_size=6)
ODD = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**25), 10**25),
        st.floats(),
        st.sampled_from([10**400, 2**63, -(2**63) - 1, 0, -1]),
        st.sampled_from(PIECES),
        st.text(max_size=12),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Return ``text`` after edits; positions count round its end."""
    for kind, position, length, piece in edits:
        text = _edited_once(text, kind, position % (len(text) + 1), length, piece)
    return text


def _edited_once(text: str, kind: str, at: int, length: int, piece: str) -> str:
    match kind:
        case "insert":
            return text[:at] + piece + text[at:]
        case "delete":
            return text[:at] + text[at + length + 1 :]
        case "repeat":
            return text[:at] + text[at : at + length] * 3 + text[at:]
        case "number":
            return _exchange(text, at, piece, "0123456789.-")
        case "word":
            return _exchange(text, at, piece, f"{ascii_letters}_")
        case "line":
            return f"{text[:at]}\n{piece}\n{text[at:]}"
        case "swap":
            return _swap(text, at, length)
        case _:
            return text[:at]


def _between(text: str, at: int, marks: str) -> tuple[int, int]:
    """Return where the run of characters of one sort around or after ``at`` begins and ends."""
    start = next((i for i in range(at, len(text)) if text[i] in marks), len(text))
    end = next((i for i in range(start, len(text)) if text[i] not in marks), len(text))
    return start, end


def _exchange(text: str, at: int, piece: str, marks: str) -> str:
    start, end = _between(text, at, marks)
    return text[:start] + piece + text[end:]


def _swap(text: str, at: int, length: int) -> str:
    lines = text.split("\n")
    one, other = at % len(lines), (at + length) % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def damaged(bases: Sequence[str]) -> st.SearchStrategy[str]:
    """Return a strategy of texts after a few edits."""
    return st.builds(edited, st.sampled_from(list(bases)), _edits)


def damaged_files(bases: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Return a strategy of files: edited ones, and now and then raw bytes."""
    texts = damaged(bases).map(lambda text: text.encode("utf-8", "surrogateescape"))
    return st.one_of(texts, texts, texts, RAW)


def changed_files(bases: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return a strategy of YAML files, written as JSON, of which some values are others."""
    change = st.tuples(
        st.sampled_from(["set", "leave out", "add"]),
        st.integers(0, 2**16),
        st.text(max_size=4),
        ODD,
    )
    changes = st.lists(change, min_size=1, max_size=3)
    return st.builds(_changed, st.sampled_from([json.dumps(base) for base in bases]), changes)


def _changed(base: str, changes: Sequence[tuple[str, int, str, Any]]) -> bytes:
    data = {"whole": json.loads(base)}
    for kind, number, name, value in changes:
        paths = list(paths_of(data))
        *parents, last = paths[number % len(paths)]
        part: Any = data
        for step in parents:
            part = part[step]
        if kind == "set":
            part[last] = value
        elif kind == "leave out" and len(parents):
            del part[last]
        elif isinstance(part[last], dict):
            part[last][name] = value
    return json.dumps(data["whole"]).encode("utf-8", "surrogatepass")


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values inside ``value``."""
    inside: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    for key, part in inside:
        yield (*path, key)
        yield from paths_of(part, (*path, key))
