"""All exceptions that Sabatier raises for a user have one root."""

import ast

from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
OTHERS = {
    "SabatierError": "it is the root",
    "FunnelError": "a fault of the program, which is to end in a traceback",
}


def exceptions() -> dict[str, str]:
    """Return the first base of each exception class of the packages."""
    return {
        node.name: node.bases[0].id
        for package in PACKAGES
        for file in sorted((REPOSITORY / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and node.name.endswith("Error")
        and isinstance(node.bases[0], ast.Name)
    }


def test_an_exception_has_the_common_root() -> None:
    bases = exceptions()
    assert {"UserError", "ModelError", "DatabaseError", "CampaignError"} <= set(bases)
    for name in bases.keys() - OTHERS.keys():
        base = name
        while base in bases and base != "SabatierError":
            base = bases[base]
        assert base == "SabatierError", name
