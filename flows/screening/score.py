"""Score one chunk: plain Dask futures, then one file and one transaction.

What the checkpoint predicted before, for whichever campaign, goes along to the workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dask.distributed import Client

from flows.cluster.dask import results_as_completed
from flows.cluster.predictor_plugin import worker_predictor
from flows.display.progress import Advance
from flows.records.from_rows import stored_prediction
from flows.records.to_rows import (
    candidate_row,
    placement_items,
    prediction_row,
    prediction_table,
)
from flows.screening.chunks import Chunk, worker_groups
from model.contract import Prediction
from screening_db.database.engine import Database
from screening_db.queries.enumeration import predictions_of_pairs
from screening_db.records.enumeration import store_structures
from screening_db.records.lake import write_predictions
from screening_db.records.predictions import record_chunk
from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.placements import PlacementSpec
from tasks.enumeration.slabs import Slab
from tasks.prediction.predict import SlabScores, score_slabs
from tasks.structures.identity import pair_id


@dataclass(frozen=True)
class ScoringRequest:
    """What is done with each slab; it travels to the workers."""

    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    level: str
    checkpoint_sha256: str
    keep_per_pair: int


@dataclass(frozen=True)
class ResultStore:
    """Where a campaign's results go."""

    database: Database
    lake: Path
    campaign: str


def score_on_worker(
    slabs: Sequence[Slab], request: ScoringRequest, known: Mapping[str, Prediction]
) -> SlabScores:
    """Score ``slabs`` with the predictor that the worker has loaded."""
    return score_slabs(
        slabs,
        request.adsorbates,
        request.placements,
        level=request.level,
        keep_per_pair=request.keep_per_pair,
        predictor=worker_predictor(),
        known=known,
    )


def score_chunk(
    client: Client, chunk: Chunk, request: ScoringRequest, store: ResultStore, advance: Advance
) -> int:
    """Score and store ``chunk``, and return how many of its candidates were predicted before."""
    members = worker_groups(chunk)
    known = [_known(store.database, group, request) for group in members]
    futures = {
        client.submit(score_on_worker, group, request, known[number], pure=False): number
        for number, group in enumerate(members)
    }
    done: dict[int, SlabScores] = {}
    for future, scores in results_as_completed(client, futures):
        done[futures[future]] = scores
        advance(len(scores.candidates) + len(scores.refused))
    scores = _joined([done[number] for number in sorted(done)])
    _store(store, chunk.chunk_id, scores)
    before: set[str] = set().union(*known)
    return sum(c.candidate_id in before for c in scores.candidates)


def _known(
    database: Database, slabs: Sequence[Slab], request: ScoringRequest
) -> dict[str, Prediction]:
    """Return the stored predictions of what ``request`` places on ``slabs``, by candidate id."""
    pairs = [pair_id(slab.slab_id, a.name) for slab in slabs for a in request.adsorbates]
    rows = predictions_of_pairs(
        database, pairs, level=request.level, checkpoint_sha256=request.checkpoint_sha256
    )
    return {
        row.candidate_id: stored for row in rows if (stored := stored_prediction(row)) is not None
    }


def _joined(parts: Sequence[SlabScores]) -> SlabScores:
    return SlabScores(
        tuple(c for part in parts for c in part.candidates),
        tuple(r for part in parts for r in part.refused),
    )


def _store(store: ResultStore, chunk_id: str, scores: SlabScores) -> None:
    """Write the file first: a chunk that is done in the database has its file."""
    write_predictions(store.lake, store.campaign, chunk_id, prediction_table(scores.candidates))
    # Candidates that another campaign stored without a structure get theirs; new ones bring it.
    kept = {c.candidate_id: c.structure for c in scores.candidates if c.structure is not None}
    store_structures(store.database, kept)
    record_chunk(
        store.database,
        store.campaign,
        chunk_id,
        [candidate_row(c) for c in scores.candidates],
        [prediction_row(c.prediction) for c in scores.candidates],
        placement_items(store.campaign, scores),
    )
