"""Store other ids of bulks, slabs and candidates, by which they are found as by their own."""

from collections.abc import Mapping

from sqlalchemy import select, update

from screening_db.database import Database, batches, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.tables import AliasKind, AliasRow


@repeated_after_outage
def record_aliases(db: Database, kind: AliasKind, aliases: Mapping[str, str]) -> None:
    """Store the aliases of bulks, slabs or candidates; those that are there stay.

    An alias always leads to a stored id in one step: where the id is an alias of another itself,
    that other one is stored.

    Args:
        db: The database.
        kind: What the ids name.
        aliases: The id that something is stored by, by each other id that it has.

    Raises:
        DatabaseError: an alias is stored for another id.
    """
    with db.write() as session:
        leads: dict[str, str] = {}
        for some in batches(sorted({*aliases, *aliases.values()})):
            rows = session.execute(
                select(AliasRow.alias, AliasRow.id).where(
                    AliasRow.kind == kind, AliasRow.alias.in_(some)
                )
            )
            leads.update((alias, stored) for alias, stored in rows)
        new: dict[str, str] = {}
        for alias, named in sorted(aliases.items()):
            stored = leads.get(named, named)
            if leads.get(alias, stored) != stored:
                raise DatabaseError(
                    f"an alias names one {kind}; {alias[:12]} names {leads[alias][:12]} in "
                    f"{db.where}, got {stored[:12]}; compare the two and keep one of them"
                )
            if alias != stored:
                new[alias] = stored
        upsert(
            session,
            [AliasRow(kind=kind, alias=alias, id=stored) for alias, stored in new.items()],
            overwrite=False,
        )
        for alias, stored in new.items():  # what led to the alias leads on
            session.execute(
                update(AliasRow)
                .where(AliasRow.kind == kind, AliasRow.id == alias)
                .values(id=stored)
                .execution_options(synchronize_session=False)
            )
