"""What documents name is there: the rooms of the README and its drawing, tests of faults."""

import re
import runpy

import pytest
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
DRAW_ROOMS = runpy.run_path(str(REPOSITORY / "docs" / "draw_rooms.py"))


def tree() -> dict[str, list[str]]:
    """Return the rooms that the README lists for each package, in its order."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```") if part.startswith("\nflows/"))
    rooms: dict[str, list[str]] = {}
    for line in block.strip().splitlines():
        if package := re.match(r"(\w+)/", line):
            listed = rooms.setdefault(package.group(1), [])
        else:
            listed.append(line.split()[0])
    return rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_lists_the_rooms_in_the_order_of_their_layers(package: str) -> None:
    assert tree()[package] == DRAW_ROOMS["rooms"]()[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_with_code_is_on_the_tree(package: str) -> None:
    folders = {path.parent.name for path in (REPOSITORY / package).glob("*/*.py")}
    assert folders == set(tree()[package])


def test_the_drawing_is_up_to_date() -> None:
    drawn = (REPOSITORY / "docs" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == DRAW_ROOMS["draw"](), "run: python docs/draw_rooms.py"


def test_each_fault_that_is_described_names_tests_that_are_there() -> None:
    rows = [
        row
        for row in (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
        if row.startswith("| ") and not row.startswith("| what happens")
    ]
    assert len(rows) > 30
    for row in rows:
        last = row.rstrip(" |").rpartition("|")[2]
        named = re.findall(r"`([\w/]+\.py)`", last)
        assert named or last.strip() == "the same", row
        assert all((REPOSITORY / path).exists() or "/" not in path for path in named), row
