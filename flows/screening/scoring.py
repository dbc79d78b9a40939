"""Score placements chunk by chunk on Dask workers; store each as one file and one transaction.

Campaigns, re-scorings and designs all pass here. What a checkpoint predicted before, for whichever
campaign, goes along to the workers and is not predicted again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from model.contract import Prediction
from screening_db.database import Database
from screening_db.queries import predictions_of_pairs
from screening_db.records.lake import write_predictions
from screening_db.records.screening import record_chunk, record_predictions, store_structures
from tasks.enumeration import Adsorbate, CountedSlab, PlacementSpec
from tasks.prediction.predict import ScoredCandidate, SlabScores, score_slabs
from tasks.structures.identity import content_id, pair_id

T = TypeVar("T")
R = TypeVar("R")
GROUP_PLACEMENTS = 200  # one Dask future: a few seconds, so that a lost worker costs little


@dataclass(frozen=True)
class Chunk:
    """Slabs whose placements are scored by one task run and stored in one transaction."""

    chunk_id: str
    slabs: tuple[CountedSlab, ...]

    @property
    def placements(self) -> int:
        """How many placements the chunk holds."""
        return sum(s.placements for s in self.slabs)


def make_chunks(slabs: Sequence[CountedSlab], *, size: int, work: str) -> list[Chunk]:
    """Return chunks of about ``size`` placements, slabs in the order of their ids.

    ``work`` stands for all that is done with a slab (adsorbates, placements, level, checkpoint):
    with the slab ids it is the chunk's id.
    """
    unique = {s.slab.slab_id: s for s in slabs if s.placements}
    ordered = [unique[key] for key in sorted(unique)]
    return [
        Chunk(content_id("chunk", work, *(s.slab.slab_id for s in members)), tuple(members))
        for members in fill_groups(ordered, size, lambda slab: slab.placements)
    ]


@dataclass(frozen=True)
class ScoringRequest:
    """How each slab is scored; it travels to the workers."""

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


def fill_groups(
    slabs: Sequence[T], size: int, placements: Callable[[T], int]
) -> Iterator[tuple[T, ...]]:
    """Yield runs of ``slabs`` that each reach ``size`` placements, the last one perhaps not."""
    members: list[T] = []
    count = 0
    for slab in slabs:
        members.append(slab)
        count += placements(slab)
        if count >= size:
            yield tuple(members)
            members, count = [], 0
    if members:
        yield tuple(members)


def run_on_workers(
    client: Client,
    function: Callable[..., R],
    calls: Sequence[tuple[Any, ...]],
    placements: Callable[[R], int],
    advance: Advance,
) -> list[R]:
    """Call a function on the workers, one plain future each.

    Args:
        client: The cluster.
        function: The function that is called there.
        calls: The arguments of each call.
        placements: How many placements a result stands for.
        advance: Called with that number as each result comes.

    Returns:
        The results in the order of ``calls``, whichever came first.
    """
    futures = {
        client.submit(function, *arguments, pure=False): number
        for number, arguments in enumerate(calls)
    }
    done: dict[int, R] = {}
    for future, result in results_as_completed(client, futures):
        done[futures[future]] = result
        advance(placements(result))
    return [done[number] for number in range(len(calls))]


def score_on_worker(
    slabs: Sequence[CountedSlab], request: ScoringRequest, known: Mapping[str, Prediction]
) -> SlabScores:
    """Score ``slabs`` with the predictor that the worker has loaded."""
    return score_slabs(
        [counted.slab for counted in slabs],
        request.adsorbates,
        request.placements,
        level=request.level,
        keep_per_pair=request.keep_per_pair,
        predictor=worker_predictor(),
        known=known,
        left_out={counted.slab.slab_id: counted.left_out for counted in slabs},
    )


def score_chunk(
    client: Client, chunk: Chunk, request: ScoringRequest, store: ResultStore, advance: Advance
) -> int:
    """Score and store a chunk.

    Args:
        client: The cluster.
        chunk: The slabs.
        request: The adsorbates, their placements, and how they are predicted.
        store: Where the results go.
        advance: Called with the number of placements that are done.

    Returns:
        How many of the chunk's candidates were predicted before.
    """
    groups = list(fill_groups(chunk.slabs, GROUP_PLACEMENTS, lambda slab: slab.placements))
    known = [_known(store.database, group, request) for group in groups]
    calls = [(group, request, before) for group, before in zip(groups, known, strict=True)]
    parts = run_on_workers(
        client,
        score_on_worker,
        calls,
        lambda scores: len(scores.candidates) + len(scores.refused),
        advance,
    )
    scores = SlabScores(
        tuple(c for part in parts for c in part.candidates),
        tuple(r for part in parts for r in part.refused),
    )
    store_scores(store, chunk.chunk_id, scores)
    before: set[str] = set().union(*known)
    return sum(c.candidate_id in before for c in scores.candidates)


def store_scores(store: ResultStore, chunk_id: str, scores: SlabScores) -> None:
    """Store new candidates with their predictions and states, and mark the chunk as done."""
    _write_candidates(store, chunk_id, scores.candidates)
    record_chunk(
        store.database,
        store.campaign,
        chunk_id,
        [candidate_row(c) for c in scores.candidates],
        [prediction_row(c.prediction) for c in scores.candidates],
        placement_items(store.campaign, scores),
    )


def store_predictions(store: ResultStore, chunk_id: str, scored: Sequence[ScoredCandidate]) -> None:
    """Store new predictions of candidates that the campaign has."""
    _write_candidates(store, chunk_id, scored)
    record_predictions(store.database, [prediction_row(c.prediction) for c in scored])


def _write_candidates(store: ResultStore, chunk_id: str, scored: Sequence[ScoredCandidate]) -> None:
    """Write the file before the rows: every prediction in the database is in the lake."""
    write_predictions(store.lake, store.campaign, chunk_id, prediction_table(scored))
    # Candidates that another campaign stored without a structure get theirs; new ones bring it.
    kept = {c.candidate_id: c.structure for c in scored if c.structure is not None}
    store_structures(store.database, kept)


def _known(
    database: Database, slabs: Sequence[CountedSlab], request: ScoringRequest
) -> dict[str, Prediction]:
    """Return stored predictions of placements of ``request`` on ``slabs``, by candidate id."""
    pairs = [pair_id(each.slab.slab_id, a.name) for each in slabs for a in request.adsorbates]
    rows = predictions_of_pairs(
        database, pairs, level=request.level, checkpoint_sha256=request.checkpoint_sha256
    )
    return {
        row.candidate_id: stored
        for row in rows
        # what another campaign's relaxing stage found is no prediction of an unrelaxed placement
        if not row.basis and (stored := stored_prediction(row)) is not None
    }
