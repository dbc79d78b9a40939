"""Commands that show the verification queue, and those that change its items."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.options import DatabaseOption, database_to_read, opened_database

if TYPE_CHECKING:
    from screening_db.database.engine import Database
    from screening_db.queue.commands import CommandResult
    from screening_db.queue.view import ItemKey

    Change = Callable[[Database, list[ItemKey]], CommandResult]


class QueueGroup(TyperGroup):
    """Reads ``sabatier queue NAME`` as ``sabatier queue list NAME``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` before a campaign's name."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["list", *args]
        return super().parse_args(ctx, args)


queue_app = typer.Typer(
    cls=QueueGroup,
    no_args_is_help=True,
    help="Look at the verification queue and change it; queue NAME is short for queue list NAME.",
)

Items = Annotated[
    list[str] | None, typer.Argument(help="Ids of candidates, slabs, or the beginning of them.")
]
Where = Annotated[
    str | None,
    typer.Option(help="Or all for which this holds: \"energy_ev < -0.5 and bulk = 'Pt'\"."),
]
Timeout = Annotated[float, typer.Option(help="Stop looking for these after this many seconds.")]
Level = Annotated[str | None, typer.Option(help="At this level of theory; else at all.")]


@queue_app.command("list")
def list_items(
    campaign: Annotated[str | None, typer.Argument(help="The campaign's name; else all.")] = None,
    where: Where = None,
    timeout: Timeout = 60,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many.")] = 20,
    database: DatabaseOption = None,
) -> None:
    """Count the calculations in each state and show the first in line."""
    from flows.display.queue import show_queue
    from screening_db.calculations.steps import running_steps
    from screening_db.queries.campaigns import find_campaign
    from screening_db.queue.view import queue_items, queue_items_where

    with exit_cleanly_on_signal("the query was stopped"), database_to_read(database) as db:
        if campaign is not None:
            find_campaign(db, campaign)
        items = queue_items(db, campaign)
        if where is not None:
            chosen = {item.key for item in queue_items_where(db, where, timeout)}
            items = [item for item in items if item.key in chosen]
        show_queue(campaign or "all campaigns", items, number, running_steps(db))


@queue_app.command()
def show(
    item: Annotated[str, typer.Argument(help="An id or the beginning of it.")],
    level: Level = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the kept files and structures to this folder.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Show one calculation with every attempt: inputs, results, host, time and engine."""
    from flows.display.queue import show_queue_item, write_attempts
    from screening_db.queue.view import queue_items_by_id

    with database_to_read(database) as db:
        for found in queue_items_by_id(db, [item], level):
            show_queue_item(db, found)
            if out is not None:
                write_attempts(db, found, out)


@queue_app.command()
def retry(
    items: Items = None,
    where: Where = None,
    timeout: Timeout = 60,
    level: Level = None,
    database: DatabaseOption = None,
) -> None:
    """Put failed, cancelled and unconverged calculations back, with all attempts allowed again."""
    from screening_db.queue.commands import retry as change

    _carry_out("retried", change, _Chosen(items, where, timeout, level), database)


@queue_app.command()
def hold(
    items: Items = None,
    where: Where = None,
    timeout: Timeout = 60,
    level: Level = None,
    database: DatabaseOption = None,
) -> None:
    """Keep calculations from being begun until they are released."""
    from screening_db.queue.commands import hold as change

    _carry_out("held", change, _Chosen(items, where, timeout, level), database)


@queue_app.command()
def release(
    items: Items = None,
    where: Where = None,
    timeout: Timeout = 60,
    level: Level = None,
    database: DatabaseOption = None,
) -> None:
    """Let calculations go on that were held."""
    from screening_db.queue.commands import release_held as change

    _carry_out("released", change, _Chosen(items, where, timeout, level), database)


@queue_app.command()
def cancel(
    items: Items = None,
    where: Where = None,
    timeout: Timeout = 60,
    level: Level = None,
    database: DatabaseOption = None,
) -> None:
    """Take calculations out of the queue; the result of one that runs is refused."""
    from screening_db.queue.commands import cancel as change

    _carry_out("cancelled", change, _Chosen(items, where, timeout, level), database)


@queue_app.command(context_settings={"ignore_unknown_options": True})  # -3 is a priority
def priority(
    items: Items = None,
    *,
    value: Annotated[float, typer.Argument(metavar="N", help="The larger goes first.")],
    where: Where = None,
    timeout: Timeout = 60,
    level: Level = None,
    database: DatabaseOption = None,
) -> None:
    """Give calculations another priority, N; their dependencies get it too."""
    from screening_db.queue.commands import set_priority

    def change(db: "Database", keys: "list[ItemKey]") -> "CommandResult":
        return set_priority(db, keys, value)

    chosen = _Chosen(items, where, timeout, level)
    _carry_out(f"given priority {value:g}", change, chosen, database)


@dataclass(frozen=True)
class _Chosen:
    """Items as a person names them: by ids or by a condition, one of the two."""

    items: list[str] | None
    where: str | None
    timeout_s: float
    level: str | None

    def keys(self, db: "Database") -> "list[ItemKey]":
        """Return the items, at least one."""
        from flows.errors import CampaignError
        from screening_db.queue.view import queue_items_by_id, queue_items_where

        if bool(self.items) == (self.where is not None):
            raise CampaignError(
                "name items by id or by --where, one of the two; see: sabatier queue list"
            )
        if self.items:
            return [item.key for item in queue_items_by_id(db, self.items, self.level)]
        found = queue_items_where(db, self.where or "", self.timeout_s)
        keys = [item.key for item in found if self.level in (None, item.level)]
        if not keys:
            raise CampaignError(
                f"name at least one item; the condition {self.where!r} holds for none"
                f"{f' at level {self.level}' if self.level else ''}; try it with: sabatier queue "
                "list --where"
            )
        return keys


def _carry_out(done: str, change: "Change", chosen: _Chosen, database: str | None) -> None:
    from flows.display.queue import show_changed_items

    with opened_database(database) as db:
        with exit_cleanly_on_signal("the query was stopped; nothing was changed"):
            keys = chosen.keys(db)
        show_changed_items(db, done, change(db, keys))
