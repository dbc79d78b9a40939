"""Compare a campaign file with an earlier campaign: what is new, and how long it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import load_campaign
from flows.config.engines import read_engine_locations
from flows.config.resolve import ResolvedCampaign, resolve_campaign
from flows.config.settings import Settings
from flows.display.plans import show_differences
from flows.display.tables import duration, show_lines
from flows.errors import CampaignError
from flows.records.locations import readable_database
from flows.screening.surfaces import cut_bulks_locally
from screening_db.errors import DatabaseError
from screening_db.queries import find_campaign, stored_contents
from tasks.enumeration import BulkSurfaces
from tasks.reports.plan import (
    CampaignContents,
    compare_plans,
    estimated_seconds,
    pair_ids,
    placement_ids,
)


@dataclass(frozen=True)
class EarlierCampaign:
    """The earlier campaign: a file, or a name in the database that the command line gives."""

    other: str
    database: str | None = None

    @property
    def is_file(self) -> bool:
        """Tell a file from the name of a stored campaign."""
        path = Path(self.other)
        return path.suffix in (".yaml", ".yml") or path.is_file()


def show_comparison(
    earlier: EarlierCampaign,
    resolved: ResolvedCampaign,
    surfaces: Sequence[BulkSurfaces],
    settings: Settings,
    workers: int,
) -> None:
    """Print how a campaign differs from an earlier one, and how long its new placements take.

    Args:
        earlier: The other campaign, a file or stored.
        resolved: The campaign, resolved.
        surfaces: Its bulks, cut.
        settings: The settings, which may name the database of a stored campaign.
        workers: How many processes would predict.
    """
    campaign = resolved.campaign
    read = _of_file if earlier.is_file else _of_stored
    old = read(earlier, resolved, settings)
    found = compare_plans(campaign_contents(resolved, surfaces, answered=False), old)
    show_differences(found.lines, campaign.name, earlier.other)
    seconds = estimated_seconds(
        found.to_predict, model=campaign.model, workers=workers, known=found.known
    )
    show_lines(
        f"{found.to_predict:,} placements to predict, {found.known:,} known from {earlier.other}: "
        f"about {duration(seconds)} with {workers} workers"
    )
    if old.placements and not old.answered:
        show_lines(
            f"{earlier.other} is of another level or checkpoint than {resolved.level.name} "
            f"{resolved.checkpoint_sha256[:12]}: nothing that it predicted is used again"
        )


def campaign_contents(
    resolved: ResolvedCampaign, surfaces: Sequence[BulkSurfaces], *, answered: bool
) -> CampaignContents:
    """Return the items of a campaign file; with ``answered`` all of them count as screened."""
    campaign = resolved.campaign
    cut = {s.slab.slab_id: s for surface in surfaces for s in surface.slabs}
    slabs, names = frozenset(cut), frozenset(a.name for a in resolved.adsorbates)
    spec = campaign.placements.spec(campaign.seed)
    placements = placement_ids(cut.values(), resolved.adsorbates, spec)
    return CampaignContents(
        {b.bulk_id: b.formula for b in resolved.bulks},
        names,
        slabs,
        pair_ids(slabs, names),
        placements,
        placements if answered else frozenset(),
    )


def _of_file(
    earlier: EarlierCampaign, resolved: ResolvedCampaign, settings: Settings
) -> CampaignContents:
    """Return the items of the other file."""
    path = Path(earlier.other)
    other = resolve_campaign(
        load_campaign(path), path.parent, settings.mp_api_key, read_engine_locations()
    )
    same = (other.level.level_hash, other.checkpoint_sha256) == (
        resolved.level.level_hash,
        resolved.checkpoint_sha256,
    )
    return campaign_contents(other, cut_bulks_locally(other), answered=same)


def _of_stored(
    earlier: EarlierCampaign, resolved: ResolvedCampaign, settings: Settings
) -> CampaignContents:
    """Return the items of a stored campaign, as far as it was run."""
    try:
        db = readable_database(settings, earlier.database, stated=resolved.campaign.database)
    except DatabaseError as fault:
        raise CampaignError(
            f"--since is a campaign file or the name of a stored campaign, got {earlier.other!r}: "
            f"there is no such file, and {fault}"
        ) from fault
    try:
        find_campaign(db, earlier.other)
        stored = stored_contents(
            db,
            earlier.other,
            level=resolved.level.name,
            checkpoint_sha256=resolved.checkpoint_sha256,
        )
    finally:
        db.close()
    return CampaignContents(
        stored.bulks,
        stored.adsorbates,
        stored.slabs,
        pair_ids(stored.slabs, stored.adsorbates),
        stored.placements,
        stored.processed,
    )
