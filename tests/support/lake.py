"""The Parquet files of predictions, read as a user reads them."""

from pathlib import Path

import pandas as pd


def read_predictions(lake_dir: Path, campaign: str) -> pd.DataFrame:
    """Return the predictions of a campaign by candidate and checkpoint."""
    frame = pd.read_parquet(lake_dir / "predictions" / f"campaign={campaign}", partitioning=None)
    return frame.sort_values(["candidate_id", "checkpoint_sha256"], ignore_index=True)
