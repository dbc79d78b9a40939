"""The glossary speaks of code that exists."""

import ast
import re
from pathlib import Path

import pytest
from support.paths import REPOSITORY

GLOSSARY = (REPOSITORY / "docs" / "glossary.md").read_text()
PACKAGES = ("flows", "tasks", "model", "screening_db", "deployments", "tests")


def code_names() -> set[str]:
    """Return every name that the packages define, and every field and column of a class."""
    names: set[str] = set()
    for package in PACKAGES:
        for source in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    names.add(node.name)
                elif isinstance(node, ast.Assign):  # ``Miller = tuple[...]``
                    names |= {name.id for name in node.targets if isinstance(name, ast.Name)}
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    names.add(node.target.id)
    return names


def named_in(column: int) -> list[str]:
    """Return what stands in backquotes in one column of the glossary's tables."""
    rows = [line.split("|")[1:-1] for line in GLOSSARY.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


@pytest.fixture(scope="module")
def names() -> set[str]:
    return code_names()


@pytest.mark.parametrize("name", named_in(2))
def test_a_code_name_exists(name: str, names: set[str]) -> None:
    if name.endswith(".py"):
        file_name = Path(name).name
        found = [path for package in PACKAGES for path in (REPOSITORY / package).rglob(file_name)]
        assert found, f"no file {name}"
    else:
        assert name in names


def test_a_word_is_explained_once() -> None:
    words = [
        word.strip()
        for line in GLOSSARY.splitlines()
        if line.startswith("|")
        for word in line.split("|")[1].split(",")
        if word.strip() not in ("word", "---")
    ]
    assert sorted(words) == sorted(set(words))
