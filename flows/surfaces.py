"""Cut every bulk of a campaign, count what can be placed, and record both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dask.distributed import Client

from flows.cluster import finished
from flows.resolve import Resolved
from flows.rows import (
    adsorbate_row,
    bulk_row,
    campaign_row,
    checkpoint_row,
    level_row,
    refused_items,
    slab_row,
)
from screening_db.engine import Database
from screening_db.record import (
    record_adsorbates,
    record_bulks,
    record_campaign,
    record_checkpoint,
    record_items,
    record_level,
    record_slabs,
)
from screening_db.tables import CampaignItemRow, Stage
from tasks.adsorbates import Adsorbate
from tasks.bulks import Bulk
from tasks.placements import PlacementSpec
from tasks.plan import BulkSurfaces, surfaces_of
from tasks.slabs import SlabSpec


@dataclass(frozen=True)
class CutOrder:
    """What is done with each bulk; it travels to the workers."""

    slabs: SlabSpec
    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    elements: frozenset[str]

    @classmethod
    def of(cls, resolved: Resolved) -> "CutOrder":
        """Return the order of a campaign."""
        campaign = resolved.campaign
        return cls(
            campaign.surfaces.spec(),
            resolved.adsorbates,
            campaign.placements.spec(campaign.seed),
            resolved.domain.elements,
        )


def cut(bulk: Bulk, order: CutOrder) -> BulkSurfaces:
    """Cut one bulk; this runs on a worker."""
    return surfaces_of(bulk, order.slabs, order.adsorbates, order.placements, order.elements)


def cut_here(resolved: Resolved) -> list[BulkSurfaces]:
    """Cut every bulk in this process."""
    order = CutOrder.of(resolved)
    return [cut(bulk, order) for bulk in resolved.bulks]


def cut_on(client: Client, resolved: Resolved) -> list[BulkSurfaces]:
    """Cut every bulk on the workers, one future each; the order is that of the bulks."""
    order = CutOrder.of(resolved)
    futures = [client.submit(cut, bulk, order, pure=False) for bulk in resolved.bulks]
    done = {}
    for _, surfaces in finished(client, futures):
        done[surfaces.bulk.bulk_id] = surfaces
    return [done[bulk.bulk_id] for bulk in resolved.bulks]


def record_start(db: Database, resolved: Resolved) -> None:
    """Store what a campaign names, before anything is placed.

    Raises:
        DatabaseError: the campaign's name was run with another configuration.
    """
    name = resolved.campaign.name
    record_level(db, level_row(resolved.level))
    record_checkpoint(db, checkpoint_row(resolved))
    record_campaign(db, campaign_row(resolved))
    record_adsorbates(db, [adsorbate_row(a) for a in resolved.adsorbates])
    record_bulks(db, [bulk_row(bulk) for bulk in resolved.bulks])
    used = _used(name, "adsorbate", (a.name for a in resolved.adsorbates))
    record_items(db, [*used, *refused_items(name, resolved.refused)])


def record_surfaces(db: Database, campaign: str, surfaces: Sequence[BulkSurfaces]) -> None:
    """Store the slabs and the one state of each bulk and slab."""
    slabs = [counted.slab for cut in surfaces for counted in cut.slabs]
    record_slabs(db, [slab_row(slab) for slab in slabs])
    items = _used(campaign, "slab", (slab.slab_id for slab in slabs))
    for cut in surfaces:
        items += refused_items(campaign, cut.refused)
        items += _bulk_state(campaign, cut)
    record_items(db, items)


def _bulk_state(campaign: str, cut: BulkSurfaces) -> list[CampaignItemRow]:
    if cut.slabs:
        return _used(campaign, "bulk", [cut.bulk.bulk_id])
    reasons = sorted({r.reason for r in cut.refused}) or ["no slab could be cut"]
    return [
        CampaignItemRow(
            campaign=campaign,
            stage="bulk",
            item_id=cut.bulk.bulk_id,
            state="refused",
            reason="no slab is left: " + "; ".join(reasons[:3]),
        )
    ]


def _used(campaign: str, stage: Stage, items: Iterable[str]) -> list[CampaignItemRow]:
    return [
        CampaignItemRow(campaign=campaign, stage=stage, item_id=item, state="used", reason="")
        for item in items
    ]
