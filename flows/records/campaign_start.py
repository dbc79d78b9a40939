"""Store a campaign at its start: its parts, and the slabs that its bulks were cut into."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from flows.config.resolve import ResolvedCampaign
from flows.records.to_rows import (
    adsorbate_row,
    bulk_row,
    campaign_row,
    checkpoint_row,
    level_row,
    refused_items,
    slab_row,
    used_items,
)
from screening_db.database import Database
from screening_db.errors import DatabaseError
from screening_db.queries import slab_formulas, slabs_by_id
from screening_db.records.aliases import record_aliases
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import (
    record_adsorbates,
    record_bulks,
    record_checkpoint,
    record_items,
    record_level,
    record_slabs,
)
from screening_db.tables import CampaignItemRow
from tasks.enumeration import BulkSurfaces, Slab, miller_word
from tasks.errors import Refusal


def record_start(db: Database, resolved: ResolvedCampaign) -> None:
    """Store a campaign and its levels, adsorbates, checkpoint and bulks, before anything is placed.

    Rows that may be refused come before the campaign, so that no campaign is left half begun.

    Args:
        db: The database.
        resolved: The campaign with its levels, adsorbates, checkpoint and bulks.

    Raises:
        DatabaseError: the name of the campaign, its level or an adsorbate stands for something
            else in this database.
    """
    name = resolved.campaign.name
    relaxed_at = [resolved.relaxing.level] if resolved.relaxing else []
    for level in (resolved.level, resolved.verified_at, *relaxed_at):
        record_level(db, level_row(level))
    record_adsorbates(db, [adsorbate_row(a) for a in resolved.adsorbates])
    record_checkpoint(
        db,
        checkpoint_row(
            resolved.checkpoint_sha256,
            resolved.campaign.model,
            resolved.checkpoint,
            resolved.domain,
        ),
    )
    record_campaign(db, campaign_row(resolved))
    record_bulks(db, [bulk_row(bulk) for bulk in resolved.bulks])
    used = used_items(name, "adsorbate", (a.name for a in resolved.adsorbates))
    aliases = {other: bulk.bulk_id for bulk in resolved.bulks for other in bulk.other_ids}
    record_aliases(db, "bulk", aliases)
    record_items(db, [*used, *refused_items(name, resolved.refused)])


def record_surfaces(
    db: Database,
    campaign: str,
    surfaces: Sequence[BulkSurfaces],
    notes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Store the slabs and the one state of each bulk and slab.

    Args:
        db: The database.
        campaign: The campaign's name.
        surfaces: The slabs, and the refused ones.
        notes: What the funnel says of slabs that are used, by id.

    Raises:
        DatabaseError: a slab from a file or of a random alloy, whose Miller index is not that of
            its own cell, is stored with another one or another formula.
    """
    slabs = [counted.slab for cut in surfaces for counted in cut.slabs]
    stated = [cut for cut in surfaces if cut.bulk is None or cut.bulk.parent is not None]
    _require_same_texts(db, [counted.slab for cut in stated for counted in cut.slabs])
    record_slabs(db, [slab_row(slab) for slab in slabs])
    items = used_items(campaign, "slab", (slab.slab_id for slab in slabs))
    for item in items:
        item.reason = notes.get(item.item_id, "")
    for cut in surfaces:
        items += refused_items(campaign, cut.refused)
        items += _bulk_state(campaign, cut)
    record_items(db, items)


def _require_same_texts(db: Database, slabs: Sequence[Slab]) -> None:
    """Refuse a slab whose texts would differ from those that it was predicted with."""
    stored = slabs_by_id(db, [slab.slab_id for slab in slabs])
    formulas = slab_formulas(db, stored.values())
    for slab in slabs:
        row = stored.get(slab.slab_id)
        if row is None:
            continue
        before = formulas[row.id], (row.miller_h, row.miller_k, row.miller_l)
        if before != (slab.bulk_formula, slab.miller):
            raise DatabaseError(
                f"a slab has one formula and Miller index: {slab.slab_id[:12]} is stored as "
                f"{before[0]} {miller_word(before[1])}, the campaign says {slab.bulk_formula} "
                f"{miller_word(slab.miller)}; state miller and bulk as there, or use another "
                "database"
            )


def _bulk_state(campaign: str, cut: BulkSurfaces) -> list[CampaignItemRow]:
    if cut.bulk is None:
        return []
    if cut.slabs:
        return used_items(campaign, "bulk", [cut.bulk.bulk_id])
    reasons = sorted({r.reason for r in cut.refused}) or ["no slab could be cut"]
    reason = "no slab is left: " + "; ".join(reasons[:3])
    return refused_items(campaign, [Refusal(cut.bulk.bulk_id, "bulk", reason)])
