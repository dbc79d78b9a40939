"""Every prediction as Parquet beside the database: one file for each chunk of a campaign.

A file is written under a hidden name and renamed when it is complete, so a reader sees a chunk in
full or not at all, and writing a chunk again replaces its file.
"""

import os
import shutil
import uuid
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from screening_db.errors import DatabaseError

SCHEMA = pa.schema(
    [
        pa.field("candidate_id", pa.string(), nullable=False),
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("slab_id", pa.string(), nullable=False),
        pa.field("adsorbate", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("checkpoint_sha256", pa.string(), nullable=False),
        pa.field("energy_ev", pa.float64(), nullable=False),
        pa.field("sigma_ev", pa.float64(), nullable=False),
        pa.field("regression_ev", pa.float64()),
        pa.field("token_ev", pa.float64()),
        pa.field("in_domain", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("basis", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)


def write_predictions(lake_dir: Path, campaign: str, chunk_id: str, table: pa.Table) -> Path:
    """Write the predictions of one chunk, whole or not at all.

    Args:
        lake_dir: Root folder of the prediction files.
        campaign: Campaign that the chunk belongs to.
        chunk_id: Chunk; a file that an earlier run wrote for it is replaced.
        table: Predictions (eV) with the columns of ``SCHEMA``.

    Returns:
        The file.

    Raises:
        DatabaseError: the columns are not those of ``SCHEMA``, or the disk is full.
    """
    checked = _checked(table)
    folder = _folder(lake_dir, campaign)
    target = folder / f"chunk-{quote(chunk_id, safe='')}.parquet"
    draft = folder / f".{target.name}.{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            pq.write_table(checked, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as fault:
        raise DatabaseError(
            f"the predictions of chunk {chunk_id} cannot be written to {target} "
            f"({fault.strerror or fault}); free some space or correct the folder, and run the same "
            "command again"
        ) from fault
    finally:
        draft.unlink(missing_ok=True)
    return target


def delete_lake(lake_dir: Path, campaign: str) -> None:
    """Delete the predictions of a campaign."""
    shutil.rmtree(_folder(lake_dir, campaign), ignore_errors=True)


def _folder(lake_dir: Path, campaign: str) -> Path:
    # Quoted, so that no name leads out of the lake.
    return Path(lake_dir) / "predictions" / f"campaign={quote(campaign, safe='')}"


def _checked(table: pa.Table) -> pa.Table:
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise DatabaseError(
            f"predictions in the lake have the columns {', '.join(SCHEMA.names)}; "
            f"{', '.join(missing)} are missing; give them all"
        )
    try:
        checked = table.select(SCHEMA.names).cast(SCHEMA)
        checked.validate(full=True)
    except (pa.ArrowException, ValueError) as fault:
        raise DatabaseError(
            f"predictions in the lake have fixed types, and these do not fit: {fault}; correct them"
        ) from fault
    return checked
