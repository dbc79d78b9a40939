"""The campaign file that a campaign was recorded with: the file itself may be gone."""

import json
from pathlib import Path

from pydantic import ValidationError

from flows.config.campaign import Campaign, FileAdsorbate
from flows.errors import CampaignError
from screening_db.tables.screening import CampaignRow
from tasks.acquisition import Prices
from tasks.acquisition.rank import Window
from tasks.enumeration.adsorbates import adsorbate, adsorbate_from_smiles


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


def _stored_name(stated: object, name: str) -> str:
    """Return what an adsorbate is stored as: ``HCO`` may be ``CHO``."""
    if isinstance(stated, str):
        return adsorbate(stated).name
    if isinstance(stated, FileAdsorbate) or getattr(stated, "name", None):
        return name
    return adsorbate_from_smiles(name, tuple(getattr(stated, "binding", ()))).name
