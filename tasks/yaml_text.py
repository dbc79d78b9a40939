"""Read YAML text as people mean it: each key once, ``NO`` a molecule, every fault with its line."""

from collections.abc import Iterator
from typing import Any

import yaml

from tasks.errors import UserError

_BOOL = "tag:yaml.org,2002:bool"
_FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class YamlError(UserError):
    """A text that is no YAML, or says one thing twice; ``line`` counts from 1, 0 if unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line

    def at(self, path: object) -> str:
        """Return the message behind the file's name and the line in it."""
        return f"{path}{f', line {self.line}' if self.line else ''}: {self}"


class Loader(yaml.SafeLoader):
    """SafeLoader with the booleans of YAML 1.2, and an error that has a line for each bad value.

    YAML 1.1 reads ``NO`` and ``on`` as booleans too, which would lose the molecule and the option.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return what a node stands for."""
        try:
            return super().construct_object(node, deep=deep)
        except _FAULTS:
            raise YamlError(
                f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]}; correct it, or "
                "put it in quotes where it is text",
                node.start_mark.line + 1,
            ) from None


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the nodes of one YAML document and what they stand for; None twice for no document.

    Raises:
        YamlError: it is not YAML, a value is not what it reads as, or a key stands twice.
    """
    try:
        reading = Loader(text)
        root = reading.get_single_node()
        if root is None:
            return None, None
        for key in _repeated_keys(root):
            raise YamlError(
                f"each key may stand once, {key.value!r} stands twice; remove one",
                key.start_mark.line + 1,
            )
        return root, reading.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not readable"
        raise YamlError(
            f"not valid YAML: {problem}; check indentation, colons and brackets there",
            mark.line + 1 if mark else 0,
        ) from None
    except RecursionError:
        raise YamlError("not valid YAML: nested too deep, or a part of itself") from None


def _repeated_keys(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):  # others are refused when they are constructed
                if key.value in seen:
                    yield key
                seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)
