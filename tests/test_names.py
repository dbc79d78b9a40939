"""One word for one thing: a public class, function, alias or constant has a name of its own."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
COMMANDS = REPOSITORY / "flows" / "cli"  # a command's function has the command's name


def public_names(source: Path) -> Iterator[str]:
    """Yield the names of the public classes, functions, aliases and constants of a module."""
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from assigned_names(node)
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_command = COMMANDS in source.parents and not isinstance(node, ast.ClassDef)
        if not node.name.startswith("_") and node.name != "main" and not is_command:
            yield node.name


def assigned_names(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Yield the names of public aliases and constants; a logger and a TypeVar are each module's."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    yield from (n for n in names if len(n) > 1 and n != "logger" and not n.startswith("_"))


def test_a_public_name_is_defined_once() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for source in sorted((REPOSITORY / package).rglob("*.py")):
            if "migrations" in source.parts:  # each has its ``upgrade`` and ``downgrade``
                continue
            for name in public_names(source):
                homes[name].add(str(source.relative_to(REPOSITORY)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
