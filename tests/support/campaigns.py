"""Campaigns from text, as a campaign file states them, and their predictions in the lake."""

from pathlib import Path

import pandas as pd

from flows.config.campaign import CAMPAIGN_FILE, Campaign
from flows.config.yaml_model import parse_yaml_model


def parse_campaign(text: str, path: Path) -> Campaign:
    """Return the campaign that ``text`` states; ``path`` is named in errors."""
    return parse_yaml_model(text, path, CAMPAIGN_FILE)


def read_predictions(lake_dir: Path, campaign: str) -> pd.DataFrame:
    """Return the predictions of a campaign by candidate and checkpoint."""
    frame = pd.read_parquet(lake_dir / "predictions" / f"campaign={campaign}", partitioning=None)
    return frame.sort_values(["candidate_id", "checkpoint_sha256"], ignore_index=True)
