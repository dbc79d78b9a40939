"""Print what became of the rows of an import."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from flows.display.tables import new_table, print_table, show_lines

_ROWS_SHOWN = 20
_MEANING = {
    "stored": "labels that are trained on",
    "flagged": "kept, not trained on",
    "known": "imported before, unchanged",
    "duplicate": "same placement, same energy",
    "contradicted": "same placement, another energy: both are kept, imported ones not trained on",
    "reference": "gas molecules and clean slabs",
    "refused": "no label",
}


class ImportedRow(Protocol):
    """What became of one row of a source."""

    @property
    def row(self) -> str:
        """Return where it stands."""

    @property
    def state(self) -> str:
        """Return what became of it."""

    @property
    def reason(self) -> str:
        """Return why, as ``rule: values``."""


def show_import(
    rows: Sequence[ImportedRow],
    states: Sequence[str],
    level: str,
    where: str,
    passed_over: Sequence[str],
) -> None:
    """Print the funnel of an import, the commonest reasons, and the first rows with theirs.

    Args:
        rows: Every row of the sources.
        states: The states in the order that they are counted in.
        level: The level of theory that they were imported at.
        where: The database.
        passed_over: Files that hold no row.
    """
    counts = Counter(row.state for row in rows)
    table = new_table(f"labels at {level}", ("rows", "count", "which"), right={"count"})
    for state in states:
        if counts[state]:
            table.add_row(state, str(counts[state]), _MEANING[state])
    table.add_row("all", str(len(rows)), "")
    print_table(table)
    named = [row for row in rows if row.state in ("flagged", "contradicted", "refused")]
    rules = Counter((row.state, row.reason.partition(":")[0]) for row in named)
    for (state, rule), count in rules.most_common():
        print(f"{count} {state}: {rule}")
    for row in named[:_ROWS_SHOWN]:
        print(f"  {row.row}: {row.reason}")
    if len(named) > _ROWS_SHOWN:
        print(f"  and {len(named) - _ROWS_SHOWN} more: --report FILE.csv names all")
    if passed_over:
        print(f"{len(passed_over)} files hold no row, such as {', '.join(passed_over[:3])}")
    if counts["stored"]:
        show_lines("they are learnt with: sabatier fine-tune CAMPAIGN", f"database     {where}")
