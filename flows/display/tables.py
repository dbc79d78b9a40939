"""Print tables and lines: ranking, funnel, plan, designs, predictions, the rows of a query."""

import csv
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from model.contract import Prediction
from screening_db.database import Database, SelectResult
from screening_db.queries import (
    find_campaign,
    funnel_counts,
    refused_slabs,
    relaxing_work,
    top_candidates,
)
from tasks.reports.plan import CampaignPlan, RefusedGroup
from tasks.reports.report import (
    SlabRefusals,
    funnel_lines,
    slab_refusals,
    stage_totals,
    surface_name,
)

_UNKNOWN_WIDTH = 120  # columns of a table that is not printed to a terminal
_DESIGNS_SHOWN = 20
_REASONS_SHOWN = 20  # of a plan's refusals
_SOURCES_SHOWN = 5
_SOURCES_LENGTH = 100  # characters of their names, of which long ones are left out
_VALUES_SHOWN = 3  # of a rule that slabs broke
_Z90 = 1.645  # 90 % of a normal distribution lie within so many standard deviations


def show_candidates(db: Database, campaign: str, number: int) -> None:
    """Print pairs of a campaign by rank.

    Args:
        db: The database.
        campaign: The campaign's name.
        number: How many pairs are shown.
    """
    rows = top_candidates(db, campaign, number)
    stage = find_campaign(db, campaign)
    bases = [stage.relaxing_level] if stage.relaxed_with else []
    table = new_table(
        f"{campaign}: pairs by probability of lying in the target",
        ("rank", "surface", "adsorbate", "site", "energy (eV)", "P(target)", "group", "queue"),
        right={"rank", "energy (eV)", "P(target)", "group"},
    )
    for row in rows:
        table.add_row(
            str(row.rank),
            surface_name(row.bulk, row.miller, row.termination, row.edit),
            row.adsorbate,
            row.site,
            f"{row.energy_ev:+.2f} ± {row.sigma_ev:.2f}{'' if row.basis or not bases else ' *'}",
            f"{row.probability:.2f}",
            str(row.rank_group),
            row.queue_state or "",
        )
    print_table(table)
    if bases:
        print(f"energies start from those of {' and '.join(bases)}; * predicted without, unrelaxed")
    if any(row.termination for row in rows):
        print("a number after a surface tells its terminations apart: the cut, in plane spacings")
    for row in rows[:1]:
        verified = "" if row.label_level == row.level else f", verification at {row.label_level}"
        print(f"energies at {row.level}{verified}; pairs of one group cannot be told apart")


def show_funnel(db: Database, campaign: str) -> None:
    """Print how many items of each stage are in which state, with the commonest reasons.

    Args:
        db: The database.
        campaign: The campaign's name.
    """
    lines = funnel_lines((c.stage, c.state, c.reason, c.count) for c in funnel_counts(db, campaign))
    slabs = slab_refusals(refused_slabs(db, campaign))
    totals = stage_totals(lines)
    table = new_table(
        f"{campaign}: funnel",
        ("stage", "all", "state", "count", "why"),
        right={"all", "count"},
    )
    shown: set[str] = set()
    for line in lines:
        first = line.stage not in shown
        shown.add(line.stage)
        table.add_row(
            line.stage if first else "",
            f"{totals[line.stage]:,}" if first else "",
            line.state.replace("_", " "),
            f"{line.count:,}",
            "; ".join(
                _why(reason, count, slabs if line.stage == "slab" else {})
                for reason, count in line.reasons[:3]
            ),
        )
    print_table(table)
    if work := relaxing_work(db, campaign):
        print(
            f"relaxed at {work.level}: {work.placements:,} placements, {work.converged:,} without "
            f"a flag, {work.anomalous:,} with one, {duration(work.seconds)} of one worker"
        )


def _why(reason: str, count: int, slabs: Mapping[str, SlabRefusals]) -> str:
    """Return a reason and how often; of refused slabs with few values these, and the crystals."""
    refusals = slabs.get(reason, SlabRefusals(0, ()))
    if refusals.values and len(refusals.values) <= _VALUES_SHOWN:
        reason = f"{reason}: {', '.join(refusals.values)}"
    if not refusals.crystals:
        return f"{reason} ({count:,})"
    return f"{reason} ({_of(count, 'slab')} of {_of(refusals.crystals, 'crystal')})"


def show_plan(name: str, plan: CampaignPlan, workers: int) -> None:
    """Print exact counts, and estimates with the rates they rest on where a slab is left."""
    print(
        f"{name}: {plan.bulks:,} bulks, {plan.slabs:,} slabs, {plan.pairs:,} pairs, "
        f"{plan.placements:,} placements"
    )
    for group in plan.refused[:_REASONS_SHOWN]:
        print(f"  refused {_refused_items(group)}: {group.reason}")
    if more := plan.refused[_REASONS_SHOWN:]:
        count = sum(group.count for group in more)
        print(f"  and {count:,} more, for {len(more):,} other reasons")
    if not plan.slabs:
        return
    print(
        f"about {duration(plan.seconds)} with {workers} workers at "
        f"{plan.rate_per_core_s:g} placements/s each, "
        f"{max(1.0, plan.disk_bytes / 1e6):.0f} MB on disk"
    )


def _refused_items(group: RefusedGroup) -> str:
    """Return how many were refused and which: ``40 slabs of 3 crystals (Cu3Pt, Fe, TiO2)``."""
    lengths = accumulate(len(source) for source in group.sources[:_SOURCES_SHOWN])
    shown = max(1, sum(length <= _SOURCES_LENGTH for length in lengths))
    names = ", ".join(group.sources[:shown])
    more = len(group.sources) - shown
    if more > 0:
        names += f" and {more:,} more"
    if group.stage == "slab":
        return f"{_of(group.count, 'slab')} of {_of(len(group.sources), 'crystal')} ({names})"
    if group.count == 1:
        return f"{group.stage} {names}"
    return f"{_of(group.count, group.stage)} ({names})"


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def show_selected(selected: SelectResult) -> None:
    """Print an answer: a table on a terminal, comma-separated values into a pipe."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(selected.columns)
        writer.writerows(selected.rows)
    else:
        table = new_table(None, selected.columns)
        for row in selected.rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        print_table(table)
    if selected.more:
        print(f"first {len(selected.rows)} rows; more with --limit", file=sys.stderr)


class PlainTable(Table):
    """A table that shows stored texts as they are: none moves the cursor or is read as markup."""

    def add_row(self, *cells: str) -> None:  # type: ignore[override]  # texts alone
        """Add a row of texts."""
        super().add_row(*(Text(printable(cell)) for cell in cells))


def printable(text: str) -> str:
    """Return a text with its control characters written as codes, but for the ends of lines."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def new_table(
    title: str | None, columns: Sequence[str], right: set[str] | None = None
) -> PlainTable:
    """Return an empty table; columns in ``right`` hold numbers."""
    shown = None if title is None else Text(printable(title))
    table = PlainTable(title=shown, title_justify="left", header_style="bold")
    for name in columns:
        justify: Literal["left", "right"] = "right" if right and name in right else "left"
        table.add_column(Text(printable(name)), justify=justify)
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or as a page where there is none."""
    Console(width=None if sys.stdout.isatty() else _UNKNOWN_WIDTH).print(table)


def show_lines(*lines: str) -> None:
    """Print lines at once, also into a pipe whose reader waits for them."""
    print("\n".join(lines), flush=True)


def duration(seconds: float) -> str:
    """Return a time in the unit that fits: seconds, minutes, hours or days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_designs(title: str, rows: Sequence[Sequence[str]], summary: Sequence[str]) -> None:
    """Print the first of ``rows`` under the title, and the lines of the summary."""
    columns = ("surface", "energy (eV)", "off target", "in domain", "file")
    table = new_table(title, columns, right={"off target"})
    for row in rows[:_DESIGNS_SHOWN]:
        table.add_row(*row)
    print_table(table)
    show_lines(*summary)


def show_predictions(predictions: Sequence[Prediction]) -> None:
    """Print one line for each level, and name anything outside its training set."""
    width = max(len(p.level) for p in predictions)
    print(f"{'level of theory':<{max(width, 15)}}  energy eV  sigma   90 % interval    heads")
    for p in predictions:
        reach = _Z90 * p.sigma_ev
        print(
            f"{p.level:<{max(width, 15)}}  {p.energy_ev:>+9.2f}  {p.sigma_ev:>5.2f}  "
            f"{p.energy_ev - reach:>+6.2f} .. {p.energy_ev + reach:>+5.2f}  "
            f"{p.regression_ev:+.2f} {p.token_ev:+.2f}"
            + ("" if p.in_domain else f"  outside: {p.reason}")
        )
