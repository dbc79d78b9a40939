"""Find stored rows by id, by alias, or by the beginning of either.

A crystal, slab or candidate may have had another id: in an older release, or in another writing
that comparison found to be the same. Files of the lake keep the ids that they were written with.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, select, union
from sqlalchemy.orm import InstrumentedAttribute

from screening_db.database import Database, batches, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.tables import AliasKind, AliasRow, BulkRow, CandidateRow, SlabRow

_STORED: dict[AliasKind, InstrumentedAttribute[str]] = {
    "bulk": BulkRow.id,
    "slab": SlabRow.id,
    "candidate": CandidateRow.id,
}


@repeated_after_outage
def stored_ids(db: Database, kind: AliasKind, ids: Collection[str]) -> dict[str, str]:
    """Return by each id the one that it is stored by: itself where it is not an alias."""
    found = {name: name for name in ids}
    query = select(AliasRow.alias, AliasRow.id).where(AliasRow.kind == kind)
    with db.read() as session:
        for some in batches(sorted(found)):
            found.update(
                (alias, stored)
                for alias, stored in session.execute(query.where(AliasRow.alias.in_(some)))
            )
    return found


@repeated_after_outage
def find_stored_id(db: Database, kind: AliasKind, name: str) -> str:
    """Return the id of the one bulk, slab or candidate that a name means.

    Args:
        db: The database.
        kind: What is looked for.
        name: An id, an alias, or the beginning of ids of one of them. A whole id comes first.

    Returns:
        The id that it is stored by.

    Raises:
        DatabaseError: the name means nothing that is stored, or several.
    """
    column = _STORED[kind]
    query = union(
        select(column.label("shown"), column.label("stored")).where(*_begins(column, name)),
        select(AliasRow.alias, AliasRow.id).where(
            AliasRow.kind == kind, *_begins(AliasRow.alias, name)
        ),
    ).limit(100)
    with db.read() as session:
        found = session.execute(query) if name else ()
        rows: list[tuple[str, str]] = [(shown, stored) for shown, stored in found]
    ids = {stored for shown, stored in rows if shown == name} or {stored for _, stored in rows}
    if len(ids) == 1:
        return ids.pop()
    if not ids:
        raise DatabaseError(
            f"a {kind} is named by its id or the beginning of it; none in {db.where} begins with "
            f"{name!r}; see them with: sabatier sql 'select id from {kind} limit 20'"
        )
    raise DatabaseError(
        f"{name!r} is the beginning of {len(ids)} ids of a {kind} "
        f"({', '.join(sorted(ids)[0:3])}); give more of it"
    )


@repeated_after_outage
def aliases_by_id(db: Database, kind: AliasKind, ids: Collection[str]) -> dict[str, list[str]]:
    """Return the aliases of ``ids``; an id without one is left out."""
    found: dict[str, list[str]] = {}
    query = select(AliasRow.id, AliasRow.alias).where(AliasRow.kind == kind)
    with db.read() as session:
        for some in batches(sorted(ids)):
            rows = session.execute(query.where(AliasRow.id.in_(some)).order_by(AliasRow.alias))
            for stored, alias in rows:
                found.setdefault(stored, []).append(alias)
    return found


def _begins(
    column: InstrumentedAttribute[str], name: str
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the condition that an id begins so, with a range that its index is searched by."""
    return column.between(name, f"{name}zz"), column.startswith(name, autoescape=True)


@repeated_after_outage
def bulks_of_formula(db: Database, formula: str) -> Sequence[BulkRow]:
    """Return the stored bulks of a reduced formula, by id."""
    query = select(BulkRow).where(BulkRow.formula == formula).order_by(BulkRow.id)
    with db.read() as session:
        return list(session.scalars(query))
