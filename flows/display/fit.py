"""Print how well sources of energies meet labels."""

import math
from collections.abc import Sequence

from flows.display.tables import new_table, print_table
from tasks.reports.fit import Interval, SourceFit

_COLUMNS = (
    *("source", "labels", "MAE", "bias", "MAE after offsets", "within 0.1 eV"),
    *("rank correlation", "90 % intervals hold"),
)


def show_fit(
    campaign: str, level: str, labels: int, imported: int, fits: Sequence[SourceFit]
) -> None:
    """Print a line for each source, its 90 % intervals in brackets, and notes on them.

    Args:
        campaign: The campaign's name.
        level: The level of theory of its labels.
        labels: How many there are.
        imported: How many of them were computed elsewhere.
        fits: The comparisons, in order.
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


def _number(found: Interval, form: str) -> str:
    if not math.isfinite(found.value):
        return "-"
    value, lower, upper = (form.format(v) for v in (found.value, found.lower, found.upper))
    return f"{value} [{lower}, {upper}]"
