"""One word for one thing: a public class or function has a name that no other has."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
COMMANDS = REPOSITORY / "flows" / "cli"  # a command's function has the command's name


def public_names(source: Path) -> Iterator[str]:
    """Yield the names of the public classes and functions that a module defines."""
    for node in ast.parse(source.read_text()).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_command = COMMANDS in source.parents and not isinstance(node, ast.ClassDef)
        if not node.name.startswith("_") and node.name != "main" and not is_command:
            yield node.name


def test_a_public_name_is_defined_once() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for source in sorted((REPOSITORY / package).rglob("*.py")):
            if "migrations" in source.parts:  # each has its ``upgrade`` and ``downgrade``
                continue
            for name in public_names(source):
                homes[name].add(str(source.relative_to(REPOSITORY)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
