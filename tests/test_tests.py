"""Each test asserts something: none passes merely because nothing was raised."""

import ast
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
MOST_REPLACED = 4
CHECKS = ("check_", "assert_", "require_")  # helpers of tests with such names assert


def checks() -> set[str]:
    """Return the helpers that assert: functions of tests, and NumPy's."""
    names = {
        node.name
        for file in HERE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith(CHECKS)
    }
    return names | {name for name in dir(np.testing) if name.startswith("assert_")}


def asserts(function: ast.AST, helpers: set[str]) -> bool:
    return any(
        isinstance(node, ast.Assert) or _is_check(node, helpers) for node in ast.walk(function)
    )


def _is_check(node: ast.AST, helpers: set[str]) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name("pytest"), attr=name)):
            return name in ("raises", "warns", "fail")
        case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)):
            return name in helpers
    return False


def test_no_test_holds_only_by_not_raising() -> None:
    helpers = checks()
    silent = [
        f"{file.relative_to(HERE)}:{node.lineno} {node.name}"
        for file in sorted(HERE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not asserts(node, helpers)
    ]
    assert silent == []


def replaced(function: ast.AST) -> int:
    """Return how many internals a test replaces."""
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "setattr"
        for node in ast.walk(function)
    )


def test_no_test_replaces_the_half_of_what_it_tests() -> None:
    wired = [
        f"{file.relative_to(HERE)}:{node.lineno} {node.name} replaces {count}"
        for file in sorted(HERE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (count := replaced(node)) > MOST_REPLACED
    ]
    assert wired == []


@pytest.mark.parametrize(
    ("body", "is_enough"),
    [
        ("compute()", False),
        ("assert compute() == 1", True),
        ("with pytest.raises(ValueError): compute()", True),
        ("check_labels(compute())", True),
        ("require_level(compute())", False),
        ("np.testing.assert_allclose(compute(), 1)", True),
        ("mock.raises(ValueError)", False),
    ],
)
def test_an_assertion_is_told_from_a_call(body: str, is_enough: bool) -> None:
    test = ast.parse(f"def test_it():\n    {body}")
    assert asserts(test, {"check_labels", "assert_allclose"}) is is_enough
