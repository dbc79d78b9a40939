"""No module needs itself by way of others, imports within functions and for types included."""

import ast
from collections.abc import Collection
from pathlib import Path

import networkx as nx
import pytest
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db", "deployments")


def module_of(file: Path) -> str:
    """Return the dotted name of a file."""
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> nx.DiGraph:
    """Return which module names which, wherever the import stands."""
    files = [f for package in PACKAGES for f in sorted((REPOSITORY / package).rglob("*.py"))]
    modules = {module_of(file): file for file in files}
    graph = nx.DiGraph()
    for module, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in imported(node, modules):
                if target in modules and target != module:
                    graph.add_edge(module, target)
    return graph


def imported(node: ast.AST, modules: Collection[str]) -> list[str]:
    """Return the modules that a statement names: ``from a import b`` and ``import a.b`` alike."""
    match node:
        case ast.Import(names):
            return [name.name for name in names]
        case ast.ImportFrom(module=str(module), names=names):
            within = [f"{module}.{name.name}" for name in names]
            return [name if name in modules else module for name in within]
    return []


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("import a.b", ["a.b"]),
        ("import a.b as c, d", ["a.b", "d"]),
        ("from a import b, function", ["a.b", "a"]),
        ("a.b", []),
    ],
)
def test_both_forms_of_import_are_read(line: str, modules: list[str]) -> None:
    assert imported(ast.parse(line).body[0], {"a", "a.b", "d"}) == modules


def test_no_module_needs_itself() -> None:
    graph = import_graph()
    assert graph.number_of_edges() > 500
    rings = [sorted(ring) for ring in nx.strongly_connected_components(graph) if len(ring) > 1]
    assert rings == []
