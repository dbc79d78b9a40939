"""Print generated designs: a table of the valid ones, and how many were not valid."""

from collections.abc import Sequence

from flows.display.tables import new_table, print_table, show_lines

_SHOWN = 20


def show_designs(title: str, rows: Sequence[Sequence[str]], summary: Sequence[str]) -> None:
    """Print the first of ``rows`` under the title, and the lines of the summary."""
    columns = ("surface", "energy (eV)", "off target", "in domain", "file")
    table = new_table(title, columns, right={"off target"})
    for row in rows[:_SHOWN]:
        table.add_row(*row)
    print_table(table)
    show_lines(*summary)
