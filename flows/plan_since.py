"""Show what a campaign file adds to another one, or to a campaign that is stored."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.campaign import Campaign
from flows.campaign_file import load_campaign
from flows.engine_places import read_places
from flows.errors import CampaignError
from flows.places import existing_database
from flows.recorded_level import recorded_level
from flows.resolve import Resolved, resolve
from flows.settings import Settings
from flows.show import duration, new_table, print_table
from flows.surfaces import CutOrder, cut
from screening_db.engine import Database
from screening_db.stored_campaign import StoredCampaign, stored_campaign
from screening_db.tables import BulkRow
from tasks.adsorbates import Adsorbate
from tasks.bulks import Bulk
from tasks.plan import BulkSurfaces, seconds_for
from tasks.plan_difference import Offer, difference
from tasks.structures import structure_from_text
from tasks.verify.engines import computable_elements


def show_since(
    resolved: Resolved,
    surfaces: Sequence[BulkSurfaces],
    since: str,
    settings: Settings,
    *,
    workers: int,
    database: str | None,
) -> None:
    """Print what is new, gone and unchanged since ``since``, a campaign file or a stored name."""
    found = difference(_offer(resolved, surfaces), _other(since, settings, database))
    table = new_table(
        f"{resolved.campaign.name} since {since}",
        ("", "new", "gone", "unchanged"),
        right={"new", "gone", "unchanged"},
    )
    for change in found.changes:
        row = (change.new, change.gone, change.unchanged)
        table.add_row(change.what, *(f"{count:,}" for count in row))
    print_table(table)
    if not found.same_model:
        print("level or checkpoint differ: nothing is taken over, all is predicted anew")
    time = duration(seconds_for(found.to_predict, resolved.campaign.model, workers))
    print(
        f"{found.to_predict:,} placements to predict, about {time} with {workers} workers, where "
        "the other campaign is in the same database"
    )


def _offer(resolved: Resolved, surfaces: Sequence[BulkSurfaces]) -> Offer:
    campaign = resolved.campaign
    return Offer(
        tuple(surfaces),
        resolved.adsorbates,
        campaign.placements.spec(campaign.seed),
        resolved.level.level_hash,
        resolved.checkpoint_sha256,
    )


def _other(since: str, settings: Settings, database: str | None) -> Offer:
    """Return what the other campaign offers; a name that is no file is a stored campaign's."""
    file = Path(since)
    if file.suffix in {".yaml", ".yml"} or file.is_file():
        campaign = load_campaign(file)
        resolved = resolve(campaign, file.parent, settings.mp_api_key, read_places())
        order = CutOrder.of(resolved)
        return _offer(resolved, [cut(bulk, order) for bulk in resolved.bulks])
    db = existing_database(settings, database)
    try:
        return _stored_offer(db, stored_campaign(db, since))
    finally:
        db.close()


def _stored_offer(db: Database, stored: StoredCampaign) -> Offer:
    """Cut the stored bulks again, by the rules that the campaign was run with."""
    row = stored.row
    campaign = _configuration(stored)
    level, verified_at = recorded_level(db, row.level), recorded_level(db, row.verified_at)
    adsorbates = tuple(
        Adsorbate(a.name, a.formula, structure_from_text(a.structure), tuple(a.binding))
        for a in stored.adsorbates
    )
    known = frozenset(stored.checkpoint.card["elements"][row.level])
    order = CutOrder(
        campaign.surfaces.spec(),
        adsorbates,
        campaign.placements.spec(campaign.seed),
        known & computable_elements(verified_at, read_places()),
    )
    bulks = [
        Bulk(b.id, b.formula, b.source, structure_from_text(b.structure)) for b in stored.bulks
    ]
    return Offer(
        tuple(cut(bulk, order) for bulk in bulks),
        adsorbates,
        order.placements,
        level.level_hash,
        row.checkpoint_sha256,
    )


def _bulk(row: BulkRow) -> Bulk:
    return Bulk(row.id, row.formula, row.source, structure_from_text(row.structure))


def _configuration(stored: StoredCampaign) -> Campaign:
    try:
        return Campaign.model_validate(json.loads(stored.row.config))
    except ValidationError:
        raise CampaignError(
            f"campaign {stored.row.name} was stored with a configuration that this release does "
            "not read; give its campaign file to --since"
        ) from None
