"""What a round of a campaign's loop is made of, each part as a Prefect task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.config.resolve import ResolvedCampaign
from flows.learning.fine_tuning import FineTuningResult, fine_tune_on_labels
from flows.learning.loop import Loop
from flows.learning.rescore import rescore
from flows.screening.flow import Runtime
from flows.verification.flow import BatchJobs, DaskWorkers, run_verification
from model.errors import SabatierError
from screening_db.database.engine import Database
from screening_db.queries.campaigns import find_campaign
from tasks.verification.engines import EngineLocations


@dataclass(frozen=True)
class CampaignLoopSteps:
    """The parts of one campaign's loop, and where they run."""

    db: Database
    resolved: ResolvedCampaign
    runtime: Runtime
    where: DaskWorkers | BatchJobs
    engine_locations: EngineLocations
    models: Path

    @property
    def name(self) -> str:
        """Return the campaign's name."""
        return self.resolved.campaign.name

    def verify(self, limit: int) -> None:
        """Verify up to ``limit`` queued candidates."""

        @task(name="verify", cache_policy=NO_CACHE)
        def verify_task(limit: int) -> str:
            campaign = find_campaign(self.db, self.name)
            counts = run_verification(
                self.db,
                campaign,
                limit=limit,
                engine=None,
                where=self.where,
                engine_locations=self.engine_locations,
            )
            return str(counts)

        if limit > 0:
            verify_task(limit)

    def fine_tune(self) -> FineTuningResult:
        """Fine-tune and judge; where there is too little to learn from, say so and go on."""

        @task(name="fine-tune", cache_policy=NO_CACHE, persist_result=False)
        def fine_tune_task() -> FineTuningResult:
            stated = self.resolved.campaign
            campaign = find_campaign(self.db, self.name)
            try:
                return fine_tune_on_labels(
                    self.db, campaign, stated.model, stated.learning, self.models
                )
            except SabatierError as fault:
                return FineTuningResult(campaign.checkpoint_sha256, 0, why=str(fault))

        return fine_tune_task()

    def rerank(self, calculations: int) -> None:
        """Predict what is stale, rank, and queue up to so many candidates for the next round."""

        @task(name="rank again", cache_policy=NO_CACHE)
        def rerank_task(calculations: int) -> int:
            return rescore(self.db, self.name, self.runtime, calculations=calculations).predicted

        rerank_task(calculations)


def loop_flow(loop: Loop, steps: CampaignLoopSteps) -> Callable[[str, int], str]:
    """Return a campaign's loop as a Prefect flow; what is done is known from the database."""

    @flow(name="loop", flow_run_name="{campaign}")
    def run(campaign: str, rounds: int) -> str:  # noqa: ARG001  what Prefect shows of the run
        return loop.run(steps)

    return run
