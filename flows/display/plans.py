"""Print plans: how two of them differ, and the lattice constants of their bulks."""

from collections.abc import Sequence
from pathlib import Path

from flows.display.tables import new_table, print_table
from tasks.errors import Refusal
from tasks.reports.plan import IdDifference

_NAMED = 10  # of what is new or gone; the rest is counted


def show_differences(lines: Sequence[IdDifference], name: str, other: str) -> None:
    """Print how many of everything are new, gone and unchanged in a plan since another."""
    numbers = ("new", "gone", "unchanged")
    table = new_table(f"{name} since {other}", ("", *numbers), right=set(numbers))
    for line in lines:
        counts = (len(line.new), len(line.gone), line.unchanged)
        table.add_row(line.what, *(f"{count:,}" for count in counts))
    print_table(table)
    for line in lines:
        if line.what in ("bulks", "adsorbates"):  # people know these by name
            _say_names(f"new {line.what}", line.new)
            _say_names(f"gone {line.what}", line.gone)


def _say_names(what: str, names: Sequence[str]) -> None:
    if names:
        more = len(names) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        print(f"{what}: {', '.join(names[:_NAMED])}{rest}")


def show_lattice_constants(
    level: str, crystals: Sequence[tuple[str, float, float, Path]], refused: Sequence[Refusal]
) -> None:
    """Print lattice constants of conventional cells, and how far they were strained before.

    Args:
        level: The level's name.
        crystals: Formula, lattice constant before (Å), stretch to the level's own, and file.
        refused: The bulks that have none, with reasons.
    """
    table = new_table(
        f"lattice constants at {level}",
        ("bulk", "a before (Å)", "a (Å)", "strain before (%)", "file"),
        right={"a before (Å)", "a (Å)", "strain before (%)"},
    )
    for formula, a_ang, stretch, file in crystals:
        table.add_row(
            formula,
            f"{a_ang:.3f}",
            f"{a_ang * stretch:.3f}",
            f"{100 * (1 / stretch - 1):+.2f}",
            str(file),
        )
    print_table(table)
    for item in refused:
        print(f"  refused {item.stage} {item.item}: {item.reason}")
