"""Public functions of a screen that take arguments describe them and their result."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
SCREEN = 25  # lines, docstring included
# The docstring of a command is its help; a migration's functions are Alembic's.
LEFT_OUT = ("flows/cli", "screening_db/migrations/versions")


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Yield the public functions of a module and the public methods of its public classes."""
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    for scope in (tree, *classes):
        for node in scope.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield node


def missing_sections(function: ast.FunctionDef) -> list[str]:
    """Return the sections that the docstring of a long function lacks."""
    stated = function.args
    arguments = {a.arg for a in (*stated.posonlyargs, *stated.args, *stated.kwonlyargs)}
    if (function.end_lineno or 0) - function.lineno + 1 < SCREEN or not arguments - {"self", "cls"}:
        return []
    text = ast.get_docstring(function) or ""
    gives_nothing = function.returns is None or ast.unparse(function.returns) == "None"
    return [
        *([] if "Args:" in text else ["Args"]),
        *([] if gives_nothing or "Returns:" in text or "Yields:" in text else ["Returns"]),
    ]


def sources() -> list[Path]:
    """Return the files whose docstrings are read."""
    files = [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]
    return [
        file for file in files if not file.relative_to(REPOSITORY).as_posix().startswith(LEFT_OUT)
    ]


def test_long_public_functions_describe_arguments_and_results() -> None:
    found = [
        f"{file.relative_to(REPOSITORY)}:{function.lineno} {function.name} lacks {lacking}"
        for file in sources()
        for function in public_functions(ast.parse(file.read_text(encoding="utf-8")))
        if (lacking := missing_sections(function))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("returns", "docstring", "lacking"),
    [
        ("int", "Return it.", ["Args", "Returns"]),
        ("int", "Return it.\n\n    Args:\n        x: One.\n    ", ["Returns"]),
        ("None", "Do it.\n\n    Args:\n        x: One.\n    ", []),
        ("int", "Return it.\n\n    Args:\n        x: One.\n\n    Returns:\n        Two.\n    ", []),
    ],
)
def test_a_missing_section_is_named(returns: str, docstring: str, lacking: list[str]) -> None:
    body = "    x += 1\n" * SCREEN
    text = f'def add(x) -> {returns}:\n    """{docstring}"""\n{body}'
    (function,) = public_functions(ast.parse(text))
    assert missing_sections(function) == lacking
