"""Print the outcome of the rows of an import, and how well models meet labels."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from flows.display.tables import new_table, print_table, show_lines
from tasks.reports.fit import Interval, SourceFit

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
    """The outcome of one row of a source."""

    @property
    def row(self) -> str:
        """Return where it stands."""

    @property
    def state(self) -> str:
        """Return the outcome as a word."""

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


_COLUMNS = (
    *("source", "labels", "MAE", "bias", "MAE after offsets", "within 0.1 eV"),
    *("rank correlation", "90 % intervals hold"),
)


def show_fit(
    campaign: str,
    level: str,
    labels: int,
    imported: int,
    fits: Sequence[SourceFit],
    sentences: Sequence[str],
) -> None:
    """Print a line for each source, its 90 % intervals in brackets, and notes on them.

    Args:
        campaign: The campaign's name.
        level: The level of theory of its labels.
        labels: How many there are.
        imported: How many of them were computed elsewhere.
        fits: The comparisons, in order.
        sentences: Which to trust, and what was left out.
    """
    table = new_table(
        f"{campaign}: energies beside {labels} labels at {level}, {imported} imported (eV)",
        _COLUMNS,
        right=set(_COLUMNS[1:]),
    )
    for fit in fits:
        table.add_row(
            fit.name,
            str(fit.labels),
            _number(fit.mae, "{:.3f}"),
            _number(fit.bias, "{:+.3f}"),
            _number(fit.mae_after_offset, "{:.3f}"),
            _number(fit.within, "{:.0%}"),
            _number(fit.spearman, "{:.2f}"),
            _number(fit.coverage_90, "{:.0%}"),
        )
    print_table(table)
    for fit in fits:
        if fit.note:
            print(f"{fit.name}: {fit.note}")
    show_lines(*sentences)


def _number(found: Interval, form: str) -> str:
    if not math.isfinite(found.value):
        return "-"
    value, lower, upper = (form.format(v) for v in (found.value, found.lower, found.upper))
    return f"{value} [{lower}, {upper}]" if math.isfinite(found.lower) else value
