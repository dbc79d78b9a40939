"""Campaigns from text, as a campaign file states them."""

from pathlib import Path

from flows.config.campaign import CAMPAIGN_FILE, Campaign
from flows.config.yaml_model import parse_yaml_model


def parse_campaign(text: str, path: Path) -> Campaign:
    """Return the campaign that ``text`` states; ``path`` is named in errors."""
    return parse_yaml_model(text, path, CAMPAIGN_FILE)
