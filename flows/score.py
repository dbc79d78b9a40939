"""Score one chunk: plain Dask futures, then one file and one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dask.distributed import Client

from flows.chunks import Chunk, groups
from flows.cluster import finished
from flows.predictor import worker_predictor
from flows.progress import Advance
from flows.rows import (
    candidate_row,
    placement_items,
    prediction_of,
    prediction_row,
    prediction_table,
)
from model.contract import Prediction
from screening_db.engine import Database
from screening_db.known_predictions import predictions_of_pairs
from screening_db.lake import write_predictions
from screening_db.record import record_chunk, store_structures
from tasks.adsorbates import Adsorbate
from tasks.identity import pair_id
from tasks.placements import PlacementSpec
from tasks.predict import Scores, score_slabs
from tasks.slabs import Slab


@dataclass(frozen=True)
class ScoreOrder:
    """What is done with each slab; it travels to the workers."""

    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    level: str
    keep_per_pair: int
    checkpoint_sha256: str


@dataclass(frozen=True)
class Store:
    """Where a campaign's results go."""

    database: Database
    lake: Path
    campaign: str


Known = Mapping[str, Prediction]  # by candidate id


@dataclass(frozen=True)
class ScoredChunk:
    """How many candidates a chunk holds, and how many of them were predicted before."""

    candidates: int
    known: int


def score_on_worker(slabs: Sequence[Slab], order: ScoreOrder, known: Known) -> Scores:
    """Score ``slabs`` with the predictor that the worker has loaded."""
    return score_slabs(
        slabs,
        order.adsorbates,
        order.placements,
        level=order.level,
        keep_per_pair=order.keep_per_pair,
        predictor=worker_predictor(),
        known=known,
    )


def score_chunk(
    client: Client, chunk: Chunk, order: ScoreOrder, store: Store, advance: Advance
) -> ScoredChunk:
    """Score and store ``chunk``; what the checkpoint predicted before is taken as it is stored."""
    known = known_on_slabs(store.database, chunk, order)
    futures = {
        client.submit(score_on_worker, group, order, _known_of(group, known), pure=False): number
        for number, group in enumerate(groups(chunk))
    }
    done: dict[int, Scores] = {}
    for future, scores in finished(client, futures):
        done[futures[future]] = scores
        advance(len(scores.candidates) + len(scores.refused))
    scores = _joined([done[number] for number in sorted(done)])
    stored = {candidate_id for slab in known.values() for candidate_id in slab}
    _store(store, chunk.chunk_id, scores, stored)
    reused = sum(c.candidate_id in stored for c in scores.candidates)
    return ScoredChunk(len(scores.candidates), reused)


def known_on_slabs(db: Database, chunk: Chunk, order: ScoreOrder) -> dict[str, Known]:
    """Return what is predicted already of the chunk's pairs, by slab id."""
    pairs = [pair_id(s.slab.slab_id, a.name) for s in chunk.slabs for a in order.adsorbates]
    found = predictions_of_pairs(
        db, pairs, checkpoint_sha256=order.checkpoint_sha256, level=order.level
    )
    return {
        slab_id: {row.candidate_id: prediction_of(row) for row in rows}
        for slab_id, rows in found.items()
    }


def _known_of(slabs: Sequence[Slab], known: Mapping[str, Known]) -> Known:
    return {key: said for slab in slabs for key, said in known.get(slab.slab_id, {}).items()}


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        tuple(c for part in parts for c in part.candidates),
        tuple(r for part in parts for r in part.refused),
    )


def _store(store: Store, chunk_id: str, scores: Scores, stored: Collection[str]) -> None:
    """Write the file first: a chunk that is done in the database has its file.

    Predictions of candidates in ``stored`` are in the database; the file has all.
    """
    write_predictions(store.lake, store.campaign, chunk_id, prediction_table(scores.candidates))
    # Candidates that another campaign stored without a structure get theirs; new ones bring it.
    kept = {c.candidate_id: c.structure for c in scores.candidates if c.structure is not None}
    store_structures(store.database, kept)
    record_chunk(
        store.database,
        store.campaign,
        chunk_id,
        [candidate_row(c) for c in scores.candidates],
        [prediction_row(c.prediction) for c in scores.candidates if c.candidate_id not in stored],
        placement_items(store.campaign, scores),
    )
