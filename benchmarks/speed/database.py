"""Fill a screening database, and time and weigh it at this release's schema and the former one.

    python benchmarks/speed/database.py 1000000 --database screening.db

Stores so many placements of one campaign as a screening does, in chunks of 1,000, with a prediction
each and a rank for each pair of 25. Prints rows stored a second of CPU, bytes a placement, and the
milliseconds of the usual queries; then the same after the way back to revision 0005, and the
seconds of both ways.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from screening_db.database.engine import Database, open_database
from screening_db.database.schema import migrate
from screening_db.records.campaigns import record_campaign
from screening_db.records.ranking import record_ranks
from screening_db.records.screening import (
    record_adsorbates,
    record_bulks,
    record_checkpoint,
    record_chunk,
    record_level,
    record_slabs,
)
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

CAMPAIGN = "alloys-2026"
LEVEL = "beef-vdw-ch4"
CHECKPOINT = hashlib.sha256(b"checkpoint").hexdigest()
CHUNK, PER_PAIR, PAIRS_PER_SLAB, SLABS_PER_BULK = 1_000, 25, 10, 20
RECIPE = {
    "atoms": [41, 44, 47],
    "axis": [0.0, 0.0, 1.0],
    "height": 1.8432,
    "position": [3.8213, 2.2063, 16.3349],
    "rotation_deg": 120.0,
    "seed": 0,
}
QUERIES = {
    "top 100": "SELECT * FROM ranked_candidates WHERE campaign = :c ORDER BY rank LIMIT 100",
    "funnel": "SELECT * FROM funnel WHERE campaign = :c",
    "minima": "SELECT count(*) FROM pair_minimum WHERE campaign = :c",
    "one id": "SELECT * FROM prediction WHERE candidate_id = :one",
}

Result = TypeVar("Result")


def main() -> None:
    """Fill, measure, go back, measure, go up again."""
    parser = argparse.ArgumentParser(description="Time and weigh the database.")
    parser.add_argument("placements", type=int, help="How many are stored.")
    parser.add_argument("--database", default="screening.db", help="A file that is not there.")
    parser.add_argument("--fill-only", action="store_true", help="Stay at the schema as it is.")
    stated = parser.parse_args()
    db = open_database(stated.database)
    _, spent_s = timed(lambda: fill(db, stated.placements), time.process_time)
    print(f"stored {stated.placements / spent_s:,.0f} placements a second of CPU")
    report(db, stated.placements)
    if not stated.fill_only:
        _, down_s = timed(lambda: migrate(db.engine, db.where, "0005"))
        report(db, stated.placements)
        _, up_s = timed(lambda: migrate(db.engine, db.where))
        print(f"down to 0005 in {down_s:.1f} s, up again in {up_s:.1f} s")
        report(db, stated.placements)
    db.close()


def timed(
    work: Callable[[], Result], clock: Callable[[], float] = time.perf_counter
) -> tuple[Result, float]:
    """Return the result of ``work`` and the seconds that it took."""
    began = clock()
    result = work()
    return result, clock() - began


def hashed(*parts: object) -> str:
    """Return an id as placements have it."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def fill(db: Database, n: int) -> None:
    """Store ``n`` placements and the ranks of their pairs."""
    start(db, n)
    for chunk, first in enumerate(range(0, n, CHUNK)):
        numbers = range(first, min(first + CHUNK, n))
        candidates = [candidate(number) for number in numbers]
        record_chunk(
            db,
            CAMPAIGN,
            str(chunk),
            candidates,
            [prediction(row.id, number) for row, number in zip(candidates, numbers, strict=True)],
            [
                CampaignItemRow(
                    campaign=CAMPAIGN, stage="placement", item_id=row.id, state="predicted"
                )
                for row in candidates
            ],
        )
    record_ranks(db, CAMPAIGN, list(ranks(n)))


def start(db: Database, n: int) -> None:
    """Store what placements refer to."""
    planes = range(-(-n // (PER_PAIR * PAIRS_PER_SLAB)))
    slabs = [slab(plane) for plane in planes]
    bulks = dict.fromkeys(str(row.bulk_id) for row in slabs)
    crystal = {"formula": "Cu3Pt", "source": "L1_2", "structure": "{}"}
    record_bulks(db, [BulkRow(id=bulk_id, **crystal) for bulk_id in bulks])
    record_slabs(db, slabs)
    record_adsorbates(db, [AdsorbateRow(name="OH", formula="OH", structure="{}", binding=[0])])
    record_level(
        db,
        LevelOfTheoryRow(
            name=LEVEL,
            level_hash=hashed("level"),
            engine="qe",
            functional="beef-vdw",
            settings={},
            reference={},
        ),
    )
    record_checkpoint(db, CheckpointRow(sha256=CHECKPOINT, name="mini", kind="qe", card={}))
    record_campaign(
        db,
        CampaignRow(
            name=CAMPAIGN,
            config_sha256="",
            config="",
            level=LEVEL,
            checkpoint_sha256=CHECKPOINT,
            seed=0,
        ),
    )


def slab(plane: int) -> SlabRow:
    """Return one of the slabs of a bulk."""
    return SlabRow(
        id=hashed("slab", plane),
        bulk_id=hashed("bulk", plane // SLABS_PER_BULK),
        miller_h=plane,
        miller_k=1,
        miller_l=1,
        shift=0.25,
        side="top",
        n_atoms=48,
        elements=["Cu", "Pt"],
        structure="{}",
    )


def candidate(number: int) -> CandidateRow:
    """Return a placement; the placements of a pair follow each other."""
    pair = number // PER_PAIR
    return CandidateRow(
        id=hashed("candidate", number),
        pair_id=hashed("pair", pair),
        slab_id=hashed("slab", pair // PAIRS_PER_SLAB),
        adsorbate="OH",
        site_kind="hollow",
        site="hollow Cu-Cu-Pt",
        recipe=RECIPE,
    )


def prediction(candidate_id: str, number: int) -> PredictionRow:
    """Return an energy (eV) that differs from placement to placement."""
    energy_ev = -2.0 + (number * 7919 % 100_003) / 25_000
    return PredictionRow(
        candidate_id=candidate_id,
        checkpoint_sha256=CHECKPOINT,
        level=LEVEL,
        energy_ev=energy_ev,
        sigma_ev=0.1,
        regression_ev=energy_ev - 0.01,
        token_ev=energy_ev + 0.01,
        in_domain=True,
    )


def ranks(n: int) -> Iterator[RankRow]:
    """Yield the rank of each pair, by its first placement."""
    for pair in range(-(-n // PER_PAIR)):
        yield RankRow(
            campaign=CAMPAIGN,
            rank=pair + 1,
            rank_group=pair // 10,
            pair_id=hashed("pair", pair),
            candidate_id=hashed("candidate", pair * PER_PAIR),
            adsorbate="OH",
            energy_ev=-1.0,
            sigma_ev=0.1,
            probability=0.5,
        )


def report(db: Database, n: int) -> None:
    """Print the size of the database in use, and the best of five times of each query."""
    values = {"c": CAMPAIGN, "one": hashed("candidate", n // 2)}
    size = (
        "(page_count - freelist_count) * page_size AS size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        if db.is_sqlite
        else "pg_database_size(current_database()) AS size"
    )
    weight = db.query(f"SELECT {size}")[0]["size"]
    times = {
        name: min(timed(partial(db.query, query, **values))[1] for _ in range(5))
        for name, query in QUERIES.items()
    }
    listed = ", ".join(f"{name} {1e3 * spent_s:.1f} ms" for name, spent_s in times.items())
    print(f"{weight / n:.0f} bytes a placement; {listed}", flush=True)


if __name__ == "__main__":
    main()
