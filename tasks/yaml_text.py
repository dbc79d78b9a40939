"""Read YAML 1.2: ``NO`` and ``on`` are text, ``1e-3`` a number, and each fault has its line.

Size, depth, repetition and single values are bounded before anything is built, because a few
aliases of aliases stand for billions of values.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from model.errors import shortened
from tasks.errors import UserError

MOST_CHARACTERS = 500_000  # of a file: read in some seconds, and a hundred times a long campaign
MOST_VALUES = 20_000  # of a file, keys among them, an alias counted as what it repeats
DEEPEST_LEVEL = 30  # of lists and mappings within one another
LONGEST_TEXT = 10_000  # characters of one value
LARGEST_INTEGER = 2**63 - 1  # of a database's integer
_TAG = "tag:yaml.org,2002:"
_STRING = Tag(suffix=f"{_TAG}str")
_TYPES = frozenset(
    f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
)
_NOT_IN_1_2 = (":timestamp", ":value", ":yaml")  # which the library finds in plain texts
# Of no use in a setting; on a terminal they move the cursor, and half a surrogate pair is no text.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What the library's conversions of a badly written value raise, such as ``!!int abc``.
_FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class YamlError(UserError):
    """A text that is not YAML, or has a key twice; ``line`` counts from 1, 0 if unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line

    def at(self, path: object) -> str:
        """Return the message behind the file's name and the line in it."""
        return f"{path}{f', line {self.line}' if self.line else ''}: {self}"


class _Resolver(VersionedResolver):
    """Resolver of the core schema of YAML 1.2: there 2026-01-31 and ``=`` are texts."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        return _STRING if str(tag).endswith(_NOT_IN_1_2) else tag


class _Composer(Composer):
    """Composer that stops as soon as a text holds more than a settings file may.

    A node counts as many values and levels as it would without aliases.
    """

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # YAML allows it, and a warning would go to the terminal
        self._values = 0
        self._level = self._deepest = 0
        self._finished: dict[int, tuple[int, int]] = {}  # values and levels by the id of a node

    def compose_node(self, parent: Any, index: Any) -> Any:
        line = self.parser.peek_event().start_mark.line + 1
        is_alias = self.parser.check_event(AliasEvent)
        before, deepest = self._values, self._deepest
        self._level += 1
        self._require_few(line, self._level)
        self._deepest = self._level
        node = super().compose_node(parent, index)
        if is_alias:
            if id(node) not in self._finished:
                raise YamlError("not valid YAML: a part of itself", line)
            values, levels = self._finished[id(node)]
            self._values += values
            self._deepest += levels - 1
        else:
            self._values += 1
            levels = self._deepest - self._level + 1
            self._finished[id(node)] = self._values - before, levels
        self._require_few(line, self._deepest)
        self._deepest = max(deepest, self._deepest)
        self._level -= 1
        return node

    def _require_few(self, line: int, levels: int) -> None:
        if levels > DEEPEST_LEVEL:
            raise YamlError(
                f"nested too deep: at most {DEEPEST_LEVEL} lists and mappings may stand within one "
                "another; write fewer levels",
                line,
            )
        if self._values > MOST_VALUES:
            raise YamlError(
                f"a file has at most {MOST_VALUES:,} values, where an alias counts as all that it "
                "repeats; write less, or split the file",
                line,
            )


class _Constructor(SafeConstructor):
    """Constructor whose errors name the line, and which refuses what a settings file never has."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        line = node.start_mark.line + 1
        if str(node.tag) not in _TYPES:
            raise YamlError(
                "not valid YAML: a value is a text, a number, true, false, null, a list or a "
                f"mapping, got one of type {shortened(str(node.tag))}; write it as one of these",
                line,
            )
        _require_plain(node, line)
        try:
            value = super().construct_object(node, deep=deep)
        except _FAULTS:
            raise YamlError(
                f"{_written(node)} cannot be read as {str(node.tag).rpartition(':')[2]}; correct "
                "it, or put it in quotes where it is text",
                line,
            ) from None
        if type(value) is int and abs(value) > LARGEST_INTEGER:
            raise YamlError(
                f"a whole number has at most {LARGEST_INTEGER:.1e} in size, got {_written(node)}; "
                "correct it, or put it in quotes where it is text",
                line,
            )
        return value

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise YamlError(
                    "not valid YAML: a key is a word or a number, not a list or a mapping",
                    key.start_mark.line + 1,
                )
            if key.value in seen:
                raise YamlError(
                    f"each key may stand once, {shortened(repr(key.value))} stands twice; "
                    "remove one",
                    key.start_mark.line + 1,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _require_plain(node: Node, line: int) -> None:
    """Refuse a single value that is too long, or that no terminal can print."""
    if not isinstance(node, ScalarNode):
        return
    if len(node.value) > LONGEST_TEXT:
        raise YamlError(
            f"a value has at most {LONGEST_TEXT:,} characters, got {len(node.value):,} that begin "
            f"with {_written(node)}; shorten it",
            line,
        )
    if found := _UNPRINTABLE.search(node.value):
        raise YamlError(
            f"a text holds no control characters, got {found[0]!r} in {_written(node)}; "
            "leave it out",
            line,
        )


def _written(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return shortened(repr(node.value))
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def read_yaml_text(path: Path) -> str:
    """Return the text of a YAML file, which is not read further than it may be long.

    Raises:
        YamlError: it is longer than ``MOST_CHARACTERS``.
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text in UTF-8.
    """
    with path.open(encoding="utf-8") as file:
        text = file.read(MOST_CHARACTERS + 1)
    _require_short(text)
    return text


def _require_short(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise YamlError(
            f"a YAML file has at most {MOST_CHARACTERS:,} characters, this one has more; "
            "write less, or split it"
        )


def read_yaml(text: str) -> tuple[Node | None, Any]:
    """Return the nodes of one YAML document and its value; None twice where there is no document.

    Raises:
        YamlError: it is not YAML, a value is not of the type that it states, a key stands twice, or
            it is beyond the limits of size, depth, repetition and single values.
    """
    _require_short(text)
    reader = YAML(typ="safe", pure=True)  # the C parser knows YAML 1.1 only
    reader.version = (1, 2)
    reader.Resolver, reader.Composer, reader.Constructor = _Resolver, _Composer, _Constructor
    try:
        root = reader.compose(text)
        return root, None if root is None else reader.constructor.construct_object(root, deep=True)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not readable"
        raise YamlError(
            f"not valid YAML: {problem}; check indentation, colons and brackets there",
            mark.line + 1 if mark else 0,
        ) from None


def line_of(root: Node, path: Sequence[int | str]) -> int:
    """Return the line, from 1, of the deepest part of ``path`` (keys and indices) that exists."""
    node, line = root, root.start_mark.line
    for part in path:
        if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            key = node = node.value[part]
        elif isinstance(node, MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                break
            key, node = found[0]
        else:
            break
        line = key.start_mark.line
    return int(line) + 1
