"""Rows of a small campaign that fit each other, and databases that hold them.

Each builder takes the columns that a test changes as keywords. ``import stored_rows as make``, so
that a test reads ``make.slab("other", n_atoms=9)``.
"""

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select, update

from screening_db.database.engine import Database, open_database
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import (
    record_adsorbates,
    record_bulks,
    record_checkpoint,
    record_chunk,
    record_level,
    record_slabs,
)
from screening_db.tables.base import Base
from screening_db.tables.screening import (
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CandidateRow,
    CheckpointRow,
    LevelOfTheoryRow,
    PredictionRow,
    RankRow,
    SlabRow,
)
from screening_db.tables.verification import LabelRow, QueueRow

CHECKPOINT = "c" * 64
Columns = dict[str, Any]


def bulk(bulk_id: str = "bulk", formula: str = "CuPt") -> BulkRow:
    return BulkRow(id=bulk_id, formula=formula, source="L1_0", structure="{}")


def slab(slab_id: str = "slab", bulk_id: str | None = "bulk", **changed: Any) -> SlabRow:
    plane: Columns = {"miller_h": 1, "miller_k": -1, "miller_l": 0, "shift": 0.25, "side": "top"}
    stored: Columns = {"n_atoms": 12, "elements": ["Cu", "Pt"], "structure": "{}"}
    return SlabRow(id=slab_id, bulk_id=bulk_id, **plane | stored | changed)


def adsorbate(name: str = "OH", structure: str = "{}") -> AdsorbateRow:
    return AdsorbateRow(name=name, formula=name, structure=structure, binding=[0])


def level(name: str = "emt", level_hash: str = "e" * 64) -> LevelOfTheoryRow:
    stated: Columns = {"engine": "emt", "functional": "", "settings": {}, "reference": {}}
    return LevelOfTheoryRow(name=name, level_hash=level_hash, **stated)


def checkpoint(sha256: str = CHECKPOINT) -> CheckpointRow:
    return CheckpointRow(sha256=sha256, name="mini", kind="qe", card={})


def campaign(name: str = "first", **changed: Any) -> CampaignRow:
    file: Columns = {"config_sha256": "1" * 64, "config": "seed: 1\n", "seed": 1}
    run = {"level": "emt", "checkpoint_sha256": CHECKPOINT}
    return CampaignRow(name=name, **file | run | changed)


def candidate(
    candidate_id: str, pair_id: str = "pair", slab_id: str = "slab", **changed: Any
) -> CandidateRow:
    site = {"adsorbate": "OH", "site_kind": "bridge", "site": "bridge Cu-Pt"}
    recipe = {"recipe": {"atoms": [4, 7], "rotation_deg": 90.0}}
    return CandidateRow(
        id=candidate_id, pair_id=pair_id, slab_id=slab_id, **site | recipe | changed
    )


def prediction(
    candidate_id: str, energy_ev: float = -0.5, sigma_ev: float = 0.1, **changed: Any
) -> PredictionRow:
    found: Columns = {"candidate_id": candidate_id, "energy_ev": energy_ev, "sigma_ev": sigma_ev}
    heads: Columns = {"regression_ev": energy_ev, "token_ev": None, "in_domain": True}
    run = {"level": "emt", "checkpoint_sha256": CHECKPOINT}
    return PredictionRow(**found | heads | run | changed)


def placement(
    candidate_id: str, campaign: str = "first", state: Any = "predicted", reason: str = ""
) -> CampaignItemRow:
    """Return the state of a placement in its campaign."""
    return CampaignItemRow(
        campaign=campaign, stage="placement", item_id=candidate_id, state=state, reason=reason
    )


def label(candidate_id: str, energy_ev: float = -0.4, *, trainable: bool = True) -> LabelRow:
    return LabelRow(
        candidate_id=candidate_id,
        level="emt",
        energy_ev=energy_ev,
        e_adslab=-10.0,
        e_slab=-9.0,
        e_references={"H2": -6.9, "H2O": -12.8},
        converged=True,
        flags=[] if trainable else ["desorbed"],
        steps=12,
        fmax=0.03,
        structure="{}",
        trainable=trainable,
    )


def rank(
    candidate_id: str, position: int, pair_id: str | None = None, campaign: str = "first"
) -> RankRow:
    return RankRow(
        campaign=campaign,
        rank=position,
        rank_group=1,
        pair_id=pair_id or f"pair-{candidate_id[0]}",
        candidate_id=candidate_id,
        adsorbate="OH",
        energy_ev=-0.5,
        sigma_ev=0.1,
        probability=0.9,
    )


def queue_row(candidate_id: str, campaign: str = "first", **changed: Any) -> QueueRow:
    queued: Columns = {"level": "emt", "priority": 1.0, "why": "uncertain"}
    return QueueRow(candidate_id=candidate_id, campaign=campaign, **queued | changed)


def queue_rows(db: Database) -> list[QueueRow]:
    """Return the whole queue in the order in which it is claimed."""
    with db.read() as session:
        return list(
            session.scalars(select(QueueRow).order_by(QueueRow.priority.desc(), QueueRow.item))
        )


def record(db: Database, *rows: Base) -> None:
    """Store what candidates refer to, as flows store it; a bulk goes before its slabs."""
    for row in rows:
        match row:
            case BulkRow():
                record_bulks(db, [row])
            case SlabRow():
                record_slabs(db, [row])
            case AdsorbateRow():
                record_adsorbates(db, [row])
            case LevelOfTheoryRow():
                record_level(db, row)
            case CheckpointRow():
                record_checkpoint(db, row)
            case CampaignRow():
                record_campaign(db, row)
            case _:
                raise TypeError(f"record stores what candidates refer to, got {row}")


def fill(db: Database) -> None:
    """Store one bulk, slab, adsorbate, level, checkpoint and campaign."""
    record(db, bulk(), slab(), adsorbate(), level(), checkpoint(), campaign())


def store(
    db: Database,
    ids: Sequence[str],
    chunk: str = "chunk",
    campaign: str = "first",
    energy_ev: float = -0.5,
) -> None:
    """Store a chunk; a letter names the pair, and each number lies 0.1 eV lower."""
    record_chunk(
        db,
        campaign,
        chunk,
        [candidate(i, pair_id=f"pair-{i[0]}") for i in ids],
        [prediction(i, energy_ev - 0.1 * int(i[1:])) for i in ids],
        [placement(i, campaign) for i in ids],
    )


def end_leases(db: Database, ago_s: float = 1.0) -> None:
    """Let every lease have run out ``ago_s`` seconds ago."""
    with db.write() as session:
        session.execute(
            update(QueueRow)
            .where(QueueRow.state == "leased")
            .values(lease_until=time.time() - ago_s)
        )


@cache
def _new_file(*, is_filled: bool) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "screening.db"
        db = open_database(file)
        if is_filled:
            fill(db)
        db.close()
        return file.read_bytes()


def new_database(file: Path, *, is_filled: bool = False) -> Database:
    """Return a database in a new SQLite file: empty, or with what ``fill`` stores."""
    file.write_bytes(_new_file(is_filled=is_filled))
    return open_database(file)


def labels(db: Database, level: str) -> list[LabelRow]:
    """Return the labels of a level by candidate id."""
    query = select(LabelRow).where(LabelRow.level == level).order_by(LabelRow.candidate_id)
    with db.read() as session:
        return list(session.scalars(query))
