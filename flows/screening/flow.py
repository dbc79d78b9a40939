"""The screening flow: bulks to a filled verification queue, one Prefect task run for each chunk."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dask.distributed import Client

from flows.cluster.dask import dask_client, results_as_completed
from flows.cluster.predictor_plugin import PredictorPlugin
from flows.cluster.prefect_record import PrefectRecord
from flows.cluster.prefect_server import ControlPlane, control_plane
from flows.cluster.workers import ClusterPlan, device_for
from flows.config.resolve import ResolvedCampaign
from flows.display.progress import progress_bar
from flows.display.tables import show_lines
from flows.records.campaign_start import record_surfaces
from flows.screening.ranking.triage import ExpectedCounts, finish_campaign
from flows.screening.scoring import (
    Chunk,
    ResultStore,
    ScoringRequest,
    make_chunks,
    score_chunk,
)
from flows.screening.surfaces import SlabRequest, count_own_slab, cut_bulk
from screening_db.database import Database
from screening_db.records.screening import done_chunks
from tasks.enumeration import BulkSurfaces

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """Where a run's control plane and workers are."""

    cluster: ClusterPlan
    prefect: str | ControlPlane | None = (
        None  # an address, or the server of the run around this one
    )


@dataclass
class Screening:
    """One run of a campaign: its chunks and workers, and where results go."""

    resolved: ResolvedCampaign
    store: ResultStore
    client: Client
    chunks: list[Chunk] = field(default_factory=list)
    surfaces: list[BulkSurfaces] = field(default_factory=list)

    def cut(self) -> None:
        """Cut the bulks, store the slabs and split them into chunks."""
        campaign = self.resolved.campaign
        self.surfaces = cut_bulks(self.client, self.resolved)
        notes = {own.slab.slab_id: own.note for own in self.resolved.own_slabs}
        record_surfaces(self.store.database, campaign.name, self.surfaces, notes)
        self.chunks = make_chunks(
            [s for surface in self.surfaces for s in surface.slabs],
            size=campaign.cluster.chunk_placements,
            work=self.resolved.scoring_id,
        )

    def missing(self) -> list[Chunk]:
        """Return the chunks that no earlier run stored."""
        done = done_chunks(self.store.database, self.store.campaign)
        return [chunk for chunk in self.chunks if chunk.chunk_id not in done]

    def request(self) -> ScoringRequest:
        """Return the request that is the same for each slab."""
        campaign = self.resolved.campaign
        return ScoringRequest(
            self.resolved.adsorbates,
            campaign.placements.spec(campaign.seed),
            campaign.level,
            self.resolved.checkpoint_sha256,
            campaign.stored_per_pair(),
        )

    def finish(self) -> None:
        """Rank, triage and fill the queue."""
        resolved = self.resolved
        expected = expected_items(resolved, self.surfaces, self.chunks)
        finish_campaign(
            self.store.database, resolved.campaign, resolved.windows, expected, resolved.prices
        )


def expected_items(
    resolved: ResolvedCampaign, surfaces: Sequence[BulkSurfaces], chunks: Sequence[Chunk]
) -> ExpectedCounts:
    """Return how many items of each stage a campaign has, from what was enumerated."""
    bulks = {b.bulk_id for b in resolved.bulks}
    bulks |= {r.item for r in resolved.refused if r.stage == "bulk"}
    slabs = {s.slab.slab_id for surface in surfaces for s in surface.slabs}
    slabs |= {r.item for r in resolved.refused if r.stage == "slab"}
    slabs |= {r.item for surface in surfaces for r in surface.refused if r.stage == "slab"}
    return ExpectedCounts(len(bulks), len(slabs), sum(chunk.placements for chunk in chunks))


def cut_bulks(client: Client, resolved: ResolvedCampaign) -> list[BulkSurfaces]:
    """Cut every bulk and read every slab on the workers; the order is that of the campaign."""
    request = SlabRequest.of(resolved)
    futures = [
        *(client.submit(cut_bulk, bulk, request, pure=False) for bulk in resolved.bulks),
        *(client.submit(count_own_slab, o.slab, request, pure=False) for o in resolved.own_slabs),
    ]
    done = {future.key: surfaces for future, surfaces in results_as_completed(client, futures)}
    return [done[future.key] for future in futures]


def run_screening(
    resolved: ResolvedCampaign, database: Database, lake: Path, runtime: Runtime
) -> None:
    """Run the rest of a campaign whose start is recorded.

    Args:
        resolved: The campaign, resolved.
        database: The database; chunks that it holds are not scored again.
        lake: The folder of Parquet files with every prediction.
        runtime: The workers and the Prefect server.
    """
    name = resolved.campaign.name
    store = ResultStore(database, lake, name)
    device = device_for(runtime.cluster)
    plugin = PredictorPlugin(resolved.checkpoint, resolved.checkpoint_sha256, device)
    with (
        control_plane(runtime.prefect) as plane,  # starts while the workers do
        dask_client(runtime.cluster, device, plugin) as client,
        plane.connected() as record,
    ):
        screening_flow(Screening(resolved, store, client), record)(
            name, resolved.level.name, resolved.checkpoint_sha256
        )


def screening_flow(screening: Screening, record: PrefectRecord) -> Callable[[str, str, str], None]:
    """Return ``screening`` as a flow in Prefect's record.

    Prefect sees names and hashes; structures, the client and the database stay here. The chunk
    table says which chunks are done, so Prefect caches nothing and may lose its history.
    """

    def cut() -> None:
        screening.cut()

    def finish() -> None:
        screening.finish()

    def screen(campaign: str, level: str, checkpoint: str) -> None:  # noqa: ARG001  Prefect shows them
        record.task(cut, name="cut surfaces")()
        _score_missing(screening, record)
        record.task(finish, name="finish")()

    return record.flow(screen, name="screen", run_name="{campaign}")


def _score_missing(screening: Screening, record: PrefectRecord) -> None:
    missing = {chunk.chunk_id: chunk for chunk in screening.missing()}
    request = screening.request()
    total = sum(chunk.placements for chunk in screening.chunks)
    left = sum(chunk.placements for chunk in missing.values())
    logger.info("%d placements in %d chunks are left of %d", left, len(missing), total)
    with progress_bar(screening.store.campaign, total, total - left, "placements") as advance:

        def score(chunk_id: str) -> int:
            chunk = missing[chunk_id]
            known = score_chunk(screening.client, chunk, request, screening.store, advance)
            logger.info("chunk %.12s: %d placements", chunk_id, chunk.placements)
            return known

        score_task = record.task(score, name="score chunk", run_name="chunk {chunk_id:.12}")
        known = sum(map(score_task, missing))
    if known:
        show_lines(f"{known:,} placements were predicted before: these predictions are used again")
