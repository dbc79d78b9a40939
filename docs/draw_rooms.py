"""Draw the packages and their rooms from the layers contracts: ``rooms.svg``.

python docs/draw_rooms.py
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DRAWING = HERE / "rooms.svg"
WIDTH, MARGIN, GAP = 1000, 20, 10
CELL_HEIGHT, TITLE = 34, 30
# What a package does, and its colours: the box, its rooms.
PACKAGES = {
    "flows": ("wires: reads settings, calls tasks, writes rows", "#e8f0fe", "#c6dafc"),
    "tasks": ("decides: enumerates, predicts, ranks, verifies", "#e6f4ea", "#b7e1c4"),
    "model": ("learns: texts and graphs in, energies out", "#fef7e0", "#fde293"),
    "screening_db": ("remembers: tables, queue, Parquet lake", "#fce8e6", "#f6bdb8"),
}


@dataclass(frozen=True)
class Box:
    """A package on the drawing, in pixels; ``columns`` rooms stand side by side."""

    package: str
    x: int
    y: int
    width: int
    columns: int


def rooms() -> dict[str, list[str]]:
    """Return the rooms of each package that have a folder, in the order of their layers."""
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    found = {}
    for contract in pyproject["tool"]["importlinter"]["contracts"]:
        for package in contract.get("containers", []):
            names = [name for layer in contract["layers"] for name in re.findall(r"\w+", layer)]
            found[package] = [name for name in names if (HERE.parent / package / name).is_dir()]
    return found


def height(box: Box, names: list[str]) -> int:
    """Return how high the box of a package is."""
    return TITLE + -(-len(names) // box.columns) * (CELL_HEIGHT + GAP) + GAP // 2


def text(x: float, y: float, words: str, style: str) -> str:
    """Return one line of text."""
    return f'<text x="{x:g}" y="{y:g}" {style}>{words}</text>'


def package_lines(box: Box, names: list[str]) -> list[str]:
    """Return the SVG of a package: its box, its title, its rooms in the order of their layers."""
    purpose, pale, strong = PACKAGES[box.package]
    lines = [
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{height(box, names)}" rx="8" '
        f'fill="{pale}" stroke="{strong}"/>',
        text(
            box.x + GAP,
            box.y + 20,
            f'<tspan font-weight="bold">{box.package}</tspan>  {purpose}',
            'font-size="13" xml:space="preserve"',
        ),
    ]
    step = (box.width - GAP) / box.columns
    for index, name in enumerate(names):
        row, column = divmod(index, box.columns)
        x, y = box.x + GAP + column * step, box.y + TITLE + row * (CELL_HEIGHT + GAP)
        wide = step - GAP
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{CELL_HEIGHT}" rx="4" '
            f'fill="{strong}"/>'
        )
        middle = 'font-size="12" text-anchor="middle"'
        lines.append(text(x + wide / 2, y + 21, name, middle))
    return lines


def arrow(x: int, top: int, bottom: int) -> str:
    """Return an arrow that points down."""
    return (
        f'<path d="M{x} {top + 3}V{bottom - 10}" stroke="#555" stroke-width="2"/>'
        f'<path d="M{x - 5} {bottom - 11}h10l-5 8z" fill="#555"/>'
    )


def draw() -> str:
    """Return the drawing: who stands higher, or further left in a package, imports the others."""
    names = rooms()
    inner, between = WIDTH - 2 * MARGIN, 34
    half = (inner - MARGIN) // 2
    flows = Box("flows", MARGIN, MARGIN, inner, 9)
    tasks = Box("tasks", MARGIN, flows.y + height(flows, names["flows"]) + between, inner, 9)
    low = tasks.y + height(tasks, names["tasks"]) + between
    model = Box("model", MARGIN, low, half, 3)
    database = Box("screening_db", MARGIN + half + MARGIN, low, half, 3)
    lines = [
        line
        for box in (flows, tasks, model, database)
        for line in package_lines(box, names[box.package])
    ]
    lines += [
        arrow(WIDTH // 2, tasks.y - between, tasks.y),
        arrow(model.x + half // 2, low - between, low),
        arrow(database.x + half // 2, low - between, low),
    ]
    foot = low + max(height(box, names[box.package]) for box in (model, database)) + 26
    lines.append(
        text(
            MARGIN,
            foot,
            "Imports go down, and from left to right within a package, never back. "
            "model and screening_db share only the root of exceptions.",
            'font-size="12" fill="#555"',
        )
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {foot + 16}" '
            'font-family="Helvetica, Arial, sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            *lines,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    DRAWING.write_text(draw(), encoding="utf-8")
