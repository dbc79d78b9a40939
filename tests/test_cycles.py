"""No module needs itself by way of others, imports within functions and for types included."""

import ast
from pathlib import Path

import networkx as nx
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
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            for name in node.names:
                within = f"{node.module}.{name.name}"
                target = within if within in modules else node.module
                if target in modules and target != module:
                    graph.add_edge(module, target)
    return graph


def test_no_module_needs_itself() -> None:
    graph = import_graph()
    assert graph.number_of_edges() > 500
    rings = [sorted(ring) for ring in nx.strongly_connected_components(graph) if len(ring) > 1]
    assert rings == []
