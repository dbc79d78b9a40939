"""Each test asserts something: none passes merely because nothing was raised."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKS = ("check_", "assert_", "require_")  # a helper of such a name asserts


def asserts(function: ast.AST) -> bool:
    return any(isinstance(node, ast.Assert) or _is_check(node) for node in ast.walk(function))


def _is_check(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name("pytest"), attr=name)):
            return name in ("raises", "warns", "fail")
        case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)):
            return name.startswith(CHECKS)
    return False


def test_no_test_holds_only_by_not_raising() -> None:
    silent = [
        f"{file.relative_to(HERE)}:{node.lineno} {node.name}"
        for file in sorted(HERE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not asserts(node)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("body", "is_enough"),
    [
        ("compute()", False),
        ("assert compute() == 1", True),
        ("with pytest.raises(ValueError): compute()", True),
        ("check_labels(compute())", True),
        ("np.testing.assert_allclose(compute(), 1)", True),
        ("mock.raises(ValueError)", False),
    ],
)
def test_an_assertion_is_told_from_a_call(body: str, is_enough: bool) -> None:
    assert asserts(ast.parse(f"def test_it():\n    {body}")) is is_enough
