"""Read YAML 1.2: ``NO`` and ``on`` are text, ``1e-3`` a number, and each fault has its line."""

from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from tasks.errors import UserError

_STRING = Tag(suffix="tag:yaml.org,2002:str")
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
    """Resolver of the core schema of YAML 1.2, which has no dates: 2026-01-31 is a name."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        # A date with an explicit ``!!timestamp`` does not come here.
        return _STRING if str(tag).endswith(":timestamp") else tag


class _Constructor(SafeConstructor):
    """Constructor whose errors name the line, and which refuses what a settings file never has."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise YamlError("not valid YAML: a part of itself", node.start_mark.line + 1)
        try:
            return super().construct_object(node, deep=deep)
        except _FAULTS:
            raise YamlError(
                f"{node.value!r} cannot be read as {str(node.tag).rpartition(':')[2]}; correct it, "
                "or put it in quotes where it is text",
                node.start_mark.line + 1,
            ) from None

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
                    f"each key may stand once, {key.value!r} stands twice; remove one",
                    key.start_mark.line + 1,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> tuple[Node | None, Any]:
    """Return the nodes of one YAML document and its value; None twice where there is no document.

    Raises:
        YamlError: it is not YAML, a value is not of the type that it states, or a key stands twice.
    """
    reader = YAML(typ="safe", pure=True)  # the C parser knows YAML 1.1 only
    reader.version = (1, 2)
    reader.Resolver, reader.Constructor = _Resolver, _Constructor
    try:
        root = reader.compose(text)
        # Deep, because a shallow one fills in parts later and would not notice that a node holds
        # itself.
        return root, None if root is None else reader.constructor.construct_object(root, deep=True)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not readable"
        raise YamlError(
            f"not valid YAML: {problem}; check indentation, colons and brackets there",
            mark.line + 1 if mark else 0,
        ) from None
    except RecursionError:
        raise YamlError("not valid YAML: nested too deep") from None


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
