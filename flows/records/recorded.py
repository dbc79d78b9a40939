"""What a campaign was recorded with: its file and its level, which may be gone from disk."""

import json
from pathlib import Path

from pydantic import ValidationError

from flows.config.campaign import Campaign, FileAdsorbate
from flows.errors import CampaignError
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queries.enumeration import find_level
from screening_db.tables.screening import CampaignRow
from tasks.acquisition import Prices
from tasks.acquisition.rank import Window
from tasks.enumeration.adsorbates import adsorbate, adsorbate_from_smiles
from tasks.levels import LevelOfTheory, level, level_from_record, shipped_levels


def recorded_campaign(row: CampaignRow) -> Campaign:
    """Return a campaign as it was recorded; its levels are names of the database.

    Raises:
        CampaignError: this release does not read it any more.
    """
    try:
        stated = json.loads(row.config)
        return Campaign.model_validate(stated.get("designed", stated))
    except (ValueError, AttributeError, ValidationError) as fault:
        raise CampaignError(
            f"campaign {row.name} was recorded by another release, and this one does not read it "
            f"({str(fault).splitlines()[0]}); screen it again under another name"
        ) from fault


def recorded_windows(campaign: Campaign) -> dict[str, Window]:
    """Return the target windows by the names that the database has of adsorbates."""
    names = {
        name: _stored_name(stated, name)
        for name, stated in zip(campaign.adsorbate_names(), campaign.adsorbates, strict=True)
    }
    return {names[name]: window for name, window in campaign.windows().items()}


def recorded_prices(campaign: Campaign) -> Prices | None:
    """Return the prices that triage counts; a table of the user's own was recorded whole."""
    return campaign.triage.prices.read(Path()) if campaign.triage.prices else None


def recorded_level(db: Database, name: str) -> LevelOfTheory:
    """Return a shipped level by name, or a user's own as it was recorded: its file may be gone.

    Raises:
        DatabaseError: the record is not there, or does not have its own hash any more.
    """
    if name in {shipped.name for shipped in shipped_levels()}:
        return level(name)
    row = find_level(db, name)
    if row is None:
        raise DatabaseError(f"no level {name} is recorded in {db.where}; screen a campaign with it")
    found = level_from_record(row.name, row.engine, row.functional, row.settings, row.reference)
    if found.level_hash != row.level_hash:
        raise DatabaseError(
            f"level {name} was recorded with hash {row.level_hash[:12]} and reads as "
            f"{found.level_hash[:12]}: it was changed, or this release computes it otherwise; "
            "screen again under another level name"
        )
    return found


def _stored_name(stated: object, name: str) -> str:
    """Return the name that an adsorbate is stored by: ``HCO`` may be ``CHO``."""
    if isinstance(stated, str):
        return adsorbate(stated).name
    if isinstance(stated, FileAdsorbate) or getattr(stated, "name", None):
        return name
    return adsorbate_from_smiles(name, tuple(getattr(stated, "binding", ()))).name
