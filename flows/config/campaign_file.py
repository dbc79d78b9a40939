"""Read a campaign file; whatever is wrong with it becomes one line that names the place."""

from pathlib import Path

from flows.config.campaign import Campaign
from flows.config.yaml_model import KeyPath, YamlFileKind, load_yaml_model, parse_yaml_model


def load_campaign(path: Path) -> Campaign:
    """Return the campaign that the file at ``path`` states."""
    return load_yaml_model(path, _CAMPAIGN_FILE)


def parse_campaign(text: str, path: Path) -> Campaign:
    """Return the campaign that ``text`` states; ``path`` is named in errors."""
    return parse_yaml_model(text, path, _CAMPAIGN_FILE)


def _without_tag(place: KeyPath) -> KeyPath:
    """Return ``place`` without the tag that pydantic adds for the form of an adsorbate."""
    return place[:2] + place[3:] if place[:1] == ("adsorbates",) else place


_CAMPAIGN_FILE = YamlFileKind(Campaign, "campaign", "examples/laptop-emt.yaml", _without_tag)
