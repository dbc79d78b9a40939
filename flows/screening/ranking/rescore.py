"""Predict stale candidates that matter with the serving checkpoint, and rank by it.

Predictions are stored chunk by chunk, and only missing ones are made: a killed run goes on. The
ranking, the states, the queue and the campaign's checkpoint change in one transaction at the end;
until then the campaign is unchanged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dask.distributed import Client

from flows.cluster.dask import dask_client
from flows.cluster.predictor_plugin import PredictorPlugin, worker_predictor
from flows.cluster.prefect_record import PrefectRecord
from flows.cluster.prefect_server import control_plane
from flows.cluster.workers import device_for
from flows.display.progress import progress_bar
from flows.errors import CampaignError
from flows.records.checkpoints import (
    LocatedCheckpoint,
    record_outside_checkpoint,
    serving_checkpoint,
)
from flows.records.folders import lake_folder
from flows.records.from_rows import stored_adsorbates, stored_slabs
from flows.screening.flow import Runtime
from flows.screening.ranking.rerank import rerank_campaign
from flows.screening.scoring import (
    GROUP_PLACEMENTS,
    ResultStore,
    fill_groups,
    run_on_workers,
    store_predictions,
)
from screening_db.database import Database
from screening_db.learning.stale import model_of_campaign, require_finished, stale_predictions
from screening_db.queries import find_campaign
from screening_db.tables import CampaignRow
from tasks.enumeration import Adsorbate
from tasks.prediction.checkpoint_domain import checkpoint_domain
from tasks.prediction.predict import (
    ScoredCandidate,
    StoredCandidate,
    StoredSlab,
    predict_again,
)
from tasks.structures.identity import content_id

CHUNK_PLACEMENTS = 1000


@dataclass(frozen=True)
class RescoringResult:
    """The result of a re-scoring: how much was predicted, and the checkpoint of the ranking."""

    campaign: str
    predicted: int
    before_sha256: str
    checkpoint_sha256: str
    ranked: bool  # anew; False where nothing was stale


@dataclass(frozen=True)
class RescoringRequest:
    """Adsorbates and level, which all predictions of a run share; it travels to the workers."""

    adsorbates: dict[str, Adsorbate]
    level: str


@dataclass
class Rescoring:
    """One run: the placements to predict again, the checkpoint, and where results go."""

    database: Database
    lake: Path
    campaign: CampaignRow
    checkpoint: LocatedCheckpoint
    chunks: dict[str, tuple[StoredSlab, ...]]

    @property
    def store(self) -> ResultStore:
        """Return where the predictions go."""
        return ResultStore(self.database, self.lake, self.campaign.name)

    @property
    def placements(self) -> int:
        """How many placements are predicted."""
        return sum(len(slab.candidates) for slabs in self.chunks.values() for slab in slabs)


def rescoring_chunks(
    slabs: Sequence[StoredSlab], checkpoint: LocatedCheckpoint, size: int
) -> dict[str, tuple[StoredSlab, ...]]:
    """Return chunks of about ``size`` placements by their ids, slabs in the order of theirs."""
    chunks = {}
    for members in fill_groups(slabs, size, _placements):
        told = [_told(c) for slab in members for c in slab.candidates]
        chunks[content_id("again", checkpoint.sha256, *told)] = members
    return chunks


def _told(candidate: StoredCandidate) -> str:
    """Return what a prediction of a candidate depends on; without a relaxation its id alone."""
    if not candidate.energies_ev and not candidate.dropped:
        return candidate.candidate_id
    return f"{candidate.candidate_id} {dict(candidate.energies_ev)} {candidate.dropped}"


def predict_on_cluster(run: Rescoring, runtime: Runtime) -> None:
    """Predict and store every chunk of ``run`` in one Prefect flow, on Dask workers."""
    device = device_for(runtime.cluster)
    plugin = PredictorPlugin(run.checkpoint.location, run.checkpoint.sha256, device)
    with (
        control_plane(runtime.prefect) as plane,  # starts while the workers do
        dask_client(runtime.cluster, device, plugin) as client,
        plane.connected() as record,
    ):
        rescoring_flow(run, client, record)(run.campaign.name, run.checkpoint.sha256)


def rescoring_flow(
    run: Rescoring, client: Client, record: PrefectRecord
) -> Callable[[str, str], None]:
    """Return the predictions of ``run`` as a flow in Prefect's record, a task run for each chunk.

    Args:
        run: The chunks, the checkpoint and where predictions go.
        client: Workers that load the checkpoint.
        record: Prefect's record of the run.

    Returns:
        A flow that takes the names of the campaign and the checkpoint, for Prefect to show.
    """
    adsorbates = stored_adsorbates(
        run.database,
        {c.adsorbate for slabs in run.chunks.values() for s in slabs for c in s.candidates},
    )
    request = RescoringRequest(adsorbates, run.campaign.level)

    def predict_stale(campaign: str, checkpoint: str) -> None:  # noqa: ARG001  Prefect shows it
        with progress_bar(campaign, run.placements, 0, "placements") as advance:

            def predict_chunk(chunk_id: str) -> None:
                groups = fill_groups(run.chunks[chunk_id], GROUP_PLACEMENTS, _placements)
                calls = [(group, request) for group in groups]
                parts = run_on_workers(client, predict_on_worker, calls, len, advance)
                store_predictions(run.store, chunk_id, [one for part in parts for one in part])

            predict_task = record.task(
                predict_chunk, name="predict again", run_name="chunk {chunk_id:.12}"
            )
            for chunk_id in run.chunks:
                predict_task(chunk_id)

    return record.flow(predict_stale, name="rescore", run_name="{campaign} again")


def predict_on_worker(
    slabs: Sequence[StoredSlab], request: RescoringRequest
) -> tuple[ScoredCandidate, ...]:
    """Predict with the predictor that the worker has loaded."""
    return predict_again(
        slabs, request.adsorbates, level=request.level, predictor=worker_predictor()
    )


def _placements(slab: StoredSlab) -> int:
    return len(slab.candidates)


def rescore(
    db: Database,
    campaign: str,
    runtime: Runtime,
    *,
    calculations: int | None = None,
    chunk_placements: int = CHUNK_PLACEMENTS,
    predict: Callable[[Rescoring, Runtime], None] = predict_on_cluster,
) -> RescoringResult:
    """Predict stale candidates with the serving checkpoint, and rank the campaign by it.

    Args:
        db: The database.
        campaign: The name of a finished campaign.
        runtime: The workers and the Prefect server.
        calculations: How many adslabs wait for verification afterwards, instead of as many
            as the budget leaves; the campaign is then ranked again even where nothing is stale.
        chunk_placements: About how many placements one task run predicts.
        predict: Predicts and stores every chunk.

    Returns:
        How much was predicted, and by which checkpoint the campaign is ranked.

    Raises:
        CampaignError: the serving checkpoint is not where it was, or does not know the level.
        DatabaseError: the campaign is unknown or not finished.
    """
    row = find_campaign(db, campaign)
    require_finished(db, row)
    model = model_of_campaign(db, campaign)
    checkpoint = serving_checkpoint(db, model)
    record_outside_checkpoint(db, model, checkpoint)  # a new release may have embedded another one
    _require_level(checkpoint, row)
    stale = stale_predictions(db, campaign, checkpoint.sha256)
    if stale:
        predict_stale(db, row, checkpoint, stale, runtime, chunk_placements, predict)
    ranked = bool(stale) or row.checkpoint_sha256 != checkpoint.sha256 or calculations is not None
    if ranked:
        rerank_campaign(db, row, checkpoint.sha256, calculations=calculations)
    return RescoringResult(campaign, len(stale), row.checkpoint_sha256, checkpoint.sha256, ranked)


def predict_stale(
    db: Database,
    row: CampaignRow,
    checkpoint: LocatedCheckpoint,
    candidate_ids: Sequence[str],
    runtime: Runtime,
    chunk_placements: int = CHUNK_PLACEMENTS,
    predict: Callable[[Rescoring, Runtime], None] = predict_on_cluster,
) -> None:
    """Predict candidates of a campaign with a checkpoint, and store the predictions.

    Args:
        db: The database.
        row: The campaign.
        checkpoint: It gets the relaxed energies of the levels that it starts from, where the
            database has them.
        candidate_ids: The candidates.
        runtime: The workers and the Prefect server.
        chunk_placements: About how many placements one task run predicts.
        predict: Predicts and stores every chunk.
    """
    potentials = checkpoint_domain(checkpoint.location).potentials
    slabs = stored_slabs(db, candidate_ids, potentials)
    chunks = rescoring_chunks(slabs, checkpoint, chunk_placements)
    predict(Rescoring(db, lake_folder(db), row, checkpoint, chunks), runtime)


def _require_level(checkpoint: LocatedCheckpoint, row: CampaignRow) -> None:
    levels = checkpoint_domain(checkpoint.location).domain.levels
    if row.level not in levels:
        raise CampaignError(
            f"checkpoint {checkpoint.sha256[:12]} answers at {', '.join(sorted(levels))}; campaign "
            f"{row.name} is of level {row.level}; serve a checkpoint that knows this level"
        )
