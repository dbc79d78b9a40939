"""Read the queue by campaign, by the beginning of an id, or by an SQL condition."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import select, text

from screening_db.calculations import DEPENDENCY_FAILED
from screening_db.database import Database, repeated_after_outage, run_select
from screening_db.database.read_only_sql import SQL_TIMEOUT_S
from screening_db.errors import DatabaseError, QueryTimeoutError
from screening_db.tables import CalculationRow, CampaignRow, CandidateRow, PlacementRow

ItemKey = tuple[str, str]  # item, level
# A string, a quoted name, or one other character: what a condition is read by.
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--|/\*|.", re.DOTALL)
# Each of these could hide where a string or the condition ends, on one database or the other.
_REFUSED = {"--": "a comment", "/*": "a comment", ";": "a semicolon", "'": "an open quote"} | {
    '"': "an open quote",
    "\\": "a backslash",
    "$": "a dollar sign",
    "`": "a backtick",
    "[": "a bracket",
    "]": "a bracket",
    "\0": "a NUL",
}
_MAX_LENGTH = 4000  # characters of a condition
_MAX_BYTES = 2**29  # some 400,000 items


@dataclass(frozen=True)
class QueueItem:
    """One line of the view ``verification_queue``; what only adslabs have is None elsewhere."""

    item: str
    kind: str
    level: str
    campaign: str
    state: str
    priority: float
    why: str
    bulk: str | None
    miller: str | None
    termination: str | None
    edit: str | None  # of the slab after it was cut
    adsorbate: str | None
    site: str | None
    energy_ev: float | None  # predicted
    sigma_ev: float | None
    label_ev: float | None
    attempts: int
    memory_class: int
    error_class: str
    error_message: str
    lease_until: float | None
    slab_id: str | None

    @property
    def key(self) -> ItemKey:
        """Return its key, by which commands name it."""
        return self.item, self.level


@dataclass(frozen=True)
class QueueCount:
    """How many calculations that a campaign queued, alone or with others, are in one state."""

    campaign: str
    level: str
    kind: str  # adslab, slab or gas
    state: str
    count: int


_COLUMNS = ", ".join(field.name for field in fields(QueueItem))
_ORDER = "ORDER BY priority DESC, kind DESC, item, level"
# Of a campaign are the adslabs that it queued, alone or with others, and what they need.
_OF_CAMPAIGN = """
    SELECT q.item, q.level FROM queue q WHERE q.campaign = :campaign
    UNION
    SELECT q.item, q.level FROM queue q
    JOIN campaign m ON m.name = :campaign
    JOIN stored_candidate c ON c.id = q.item
    JOIN stored_placement i ON i.campaign_key = m.key AND i.candidate_key = c.key
        AND i.state = 'queued'
    UNION
    SELECT n.needs, n.level FROM queue_need n
    JOIN campaign m ON m.name = :campaign
    JOIN stored_candidate c ON c.id = n.item
    JOIN stored_placement i ON i.campaign_key = m.key AND i.candidate_key = c.key
        AND i.state = 'queued'
"""
# What had an id that begins so in an older release, or in another writing.
_BY_ALIAS = """
    SELECT a.id FROM alias a WHERE a.kind IN ('candidate', 'slab')
    AND substr(a.alias, 1, :length) = :name
"""


@repeated_after_outage
def queue_items(db: Database, campaign: str | None = None) -> list[QueueItem]:
    """Return the queue of one campaign, or of all, in the order in which it is claimed."""
    query = f"SELECT {_COLUMNS} FROM verification_queue"
    if campaign is not None:
        query += f" WHERE (item, level) IN ({_OF_CAMPAIGN})"
    with db.read() as session:
        rows = session.execute(text(f"{query} {_ORDER}"), {"campaign": campaign or ""})
        return [QueueItem(**row) for row in rows.mappings()]


def waits_for_dependencies(db: Database, campaign: str) -> bool:
    """Tell whether adslabs of a campaign wait for a slab or molecule that is being computed."""
    waiting = _count(db, campaign, "state = 'waiting'")
    return waiting > 0 and _count(db, campaign, "state = 'leased' AND kind <> 'adslab'") > 0


def count_failed_dependencies(db: Database, campaign: str) -> int:
    """Return how many adslabs of a campaign failed because their slab or a molecule did."""
    return _count(db, campaign, f"state = 'failed' AND error_class = '{DEPENDENCY_FAILED}'")


def queue_items_where(
    db: Database, condition: str, timeout_s: float = SQL_TIMEOUT_S
) -> list[QueueItem]:
    """Return the items for which an SQL condition over ``verification_queue`` holds.

    The condition runs on a connection that the database lets read and nothing else.

    Args:
        db: The database.
        condition: One SQL expression.
        timeout_s: The seconds after which the query is stopped.

    Returns:
        The items, in the order of the queue.

    Raises:
        DatabaseError: it is not one expression, the database does not understand it, or it takes
            too long.
    """
    _require_expression(condition)
    try:
        found = run_select(
            db,
            f"SELECT {_COLUMNS} FROM verification_queue WHERE (\n{condition}\n) {_ORDER}",
            max_bytes=_MAX_BYTES,
            timeout_s=timeout_s,
        )
    except QueryTimeoutError:
        raise
    except DatabaseError as fault:
        raise DatabaseError(
            f"a condition is one SQL expression over the columns {_COLUMNS}; {condition!r} is not "
            f"understood: {fault}"
        ) from fault
    return [QueueItem(*row) for row in found.rows]


def queue_items_by_id(
    db: Database, names: Sequence[str], level: str | None = None
) -> list[QueueItem]:
    """Return the items whose ids begin with ``names``, at one level or at all.

    Raises:
        DatabaseError: a name fits no item, or several.
    """
    found: dict[ItemKey, QueueItem] = {}
    for name in names:
        found |= {item.key: item for item in _by_name(db, name, level)}
    return list(found.values())


@repeated_after_outage
def _count(db: Database, campaign: str, condition: str, level: str = "") -> int:
    query = text(
        f"SELECT count(*) FROM queue WHERE {condition} AND (item, level) IN ({_OF_CAMPAIGN})"
    )
    with db.read() as session:
        values = {"campaign": campaign} | ({"level": level} if level else {})
        return int(session.execute(query, values).scalar_one())


@repeated_after_outage
def _by_name(db: Database, name: str, level: str | None) -> list[QueueItem]:
    query = text(
        f"SELECT {_COLUMNS} FROM verification_queue "
        f"WHERE (item = :name OR substr(item, 1, :length) = :name OR item IN ({_BY_ALIAS})) "
        f"AND (level = :level OR :every) {_ORDER}"
    )
    values = {
        "name": name,
        "length": len(name),
        "level": level or "",
        "every": level is None,
    }
    with db.read() as session:
        items = [QueueItem(**row) for row in session.execute(query, values).mappings()]
    exact = [item for item in items if item.item == name]
    items = exact or items
    ids = sorted({item.item for item in items})
    at = f" at level {level}" if level else ""
    if not name or not ids:
        raise DatabaseError(
            f"an item is named by its id or the beginning of it; none{at} in {db.where} begins "
            f"with {name!r}; see: sabatier queue list"
        )
    if len(ids) > 1:
        raise DatabaseError(
            f"{name!r} is the beginning of {len(ids)} items ({', '.join(i[:16] for i in ids[:3])}"
            f"{', ...' if len(ids) > 3 else ''}); give more of the id, or --where for several"
        )
    return items


def _require_expression(condition: str) -> None:
    """Refuse a condition that would not stay inside the parentheses of the query."""
    if len(condition) > _MAX_LENGTH:
        raise _no_expression(
            f"{condition[:40]}...", f"it has {len(condition)} characters, {_MAX_LENGTH} are allowed"
        )
    depth = 0
    for symbol in _TOKENS.findall(condition):
        if symbol in _REFUSED:
            raise _no_expression(condition, f"it holds {_REFUSED[symbol]}")
        depth += (symbol == "(") - (symbol == ")")
        if depth < 0:
            break
    if depth:
        raise _no_expression(condition, "its parentheses do not pair")
    if not condition.strip():
        raise _no_expression(condition, "it is empty")


def _no_expression(condition: str, why: str) -> DatabaseError:
    return DatabaseError(
        f"a condition is one SQL expression such as \"energy_ev < -0.5 and bulk = 'Pt'\"; "
        f"{condition!r} is not: {why}"
    )


def queue_counts(db: Database, campaign: str | None = None) -> list[QueueCount]:
    """Return how many calculations are in each state, of one campaign or of all."""
    rows = db.query(
        "SELECT * FROM queue_status WHERE campaign = :campaign OR :every "
        "ORDER BY campaign, level, kind, state",
        campaign=campaign or "",
        every=campaign is None,
    )
    return [QueueCount(**row) for row in rows]


def waiting_adslabs(db: Database, campaign: str, level: str) -> int:
    """Return how many of a campaign's adslabs are in the queue of a level and have not ended."""
    ready = "kind = 'adslab' AND state IN ('queued', 'waiting', 'leased')"
    return _count(db, campaign, f"{ready} AND level = :level", level)


def leased_items(db: Database, campaign: str, level: str) -> int:
    """Return how many of a campaign's items at a level, of any kind, somebody computes."""
    return _count(db, campaign, "state = 'leased' AND level = :level", level)


@repeated_after_outage
def converged_since(db: Database, campaign: str, since: float) -> frozenset[str]:
    """Return the campaign's candidates whose calculation converged after ``since``.

    Times are seconds since 1970, UTC, of the database's clock.
    """
    query = (
        select(CandidateRow.id)
        .join(PlacementRow, PlacementRow.candidate_key == CandidateRow.key)
        .join(CampaignRow, CampaignRow.key == PlacementRow.campaign_key)
        .join(
            CalculationRow,
            (CalculationRow.item == CandidateRow.id)
            & (CalculationRow.level == CampaignRow.verified_at),
        )
        .where(
            CampaignRow.name == campaign,
            CalculationRow.state == "converged",
            CalculationRow.reported_at > since,
        )
    )
    with db.read() as session:
        return frozenset(session.scalars(query))
