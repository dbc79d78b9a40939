"""The learning loop of a campaign: verify, fine-tune, judge, score again, round after round.

A row of the database holds the costs, hits and errors of each round. Every part can be run alone
and again, so a loop that was killed goes on in the round and the part where it stopped. The reason
to end follows from stored rows: the same command once more adds nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.cluster.prefect_record import PrefectRecord
from flows.config.resolve import ResolvedCampaign
from flows.learning.fine_tuning import FineTuningResult, fine_tune_on_labels
from flows.learning.round_metrics import (
    calculations_since,
    round_ends,
    verification_numbers,
    with_verdict,
)
from flows.screening.flow import Runtime
from flows.screening.ranking.rescore import rescore
from flows.verification.flow import BatchJobs, DaskWorkers, run_verification
from model.errors import ModelError
from screening_db.database import Database
from screening_db.learning.rounds import begin_round, end_round, rounds, update_round
from screening_db.learning.stale import model_of_campaign
from screening_db.queries import find_campaign
from screening_db.queue.view import waiting_adslabs
from screening_db.tables import RoundRow
from tasks.acquisition.rank import Window
from tasks.acquisition.triage import RoundOutcome, stop_reason
from tasks.errors import UserError
from tasks.verification.engines import EngineLocations


class LoopSteps(Protocol):
    """The parts of a round; each stores its results and may be run again."""

    def verify(self, limit: int) -> None:
        """Verify up to ``limit`` queued candidates."""
        ...

    def fine_tune(self) -> FineTuningResult:
        """Fine-tune the serving checkpoint, and let the candidate serve if the gate does."""
        ...

    def rerank(self, calculations: int) -> None:
        """Predict stale candidates again, rank, and queue up to so many for the next round."""
        ...


@dataclass(frozen=True)
class Loop:
    """The limits of a campaign's loop: rounds and calculations in all, and patience.

    ``budget`` and ``per_round`` count adslabs that are calculated; ``on_round_end`` is called with
    each round.
    """

    db: Database
    campaign: str
    windows: Mapping[str, Window]
    rounds: int
    budget: int
    per_round: int
    patience: int
    on_round_end: Callable[[RoundRow], None]

    def run(self, steps: LoopSteps) -> str:
        """Run the rounds that are left; return why the last one was the last."""
        recorded = rounds(self.db, self.campaign)
        while not (why := self._why_over(recorded)):
            self._round(steps)
            recorded = rounds(self.db, self.campaign)
            self.on_round_end(recorded[-1])
        return why

    def _round(self, steps: LoopSteps) -> None:
        before = [row for row in rounds(self.db, self.campaign) if row.state == "finished"]
        left = self.budget - _calculations(round_ends(before))
        row = begin_round(
            self.db,
            self.campaign,
            budget=min(self.per_round, left),
            checkpoint_before=find_campaign(self.db, self.campaign).checkpoint_sha256,
        )
        steps.verify(int(row.budget) - calculations_since(self.db, before, self.campaign))
        numbers = verification_numbers(self.db, before, row, self.windows)
        update_round(self.db, self.campaign, row.number, numbers)
        tuning = steps.fine_tune()
        steps.rerank(min(self.per_round, left - int(numbers.spent)))
        numbers = with_verdict(row, numbers, tuning)
        why = self._why_stop(round_ends([*before, numbers]))
        end_round(self.db, self.campaign, row.number, numbers, stopped=why)

    def _why_over(self, recorded: Sequence[RoundRow]) -> str:
        """Return why no round is begun or continued, or an empty text."""
        begins = not recorded or recorded[-1].state == "running"
        return "" if begins else self._why_stop(round_ends(recorded))

    def _why_stop(self, ends: Sequence[RoundOutcome]) -> str:
        if len(ends) >= self.rounds:
            return f"{len(ends)} rounds are done"
        return stop_reason(
            ends,
            budget_left=self.budget - _calculations(ends),
            waiting=self._waiting(),
            patience=self.patience,
        )

    def _waiting(self) -> int:
        level = find_campaign(self.db, self.campaign).verified_at
        return waiting_adslabs(self.db, self.campaign, level)


def _calculations(ends: Sequence[RoundOutcome]) -> int:
    return sum(end.calculations for end in ends)


@dataclass(frozen=True)
class CampaignLoopSteps:
    """The parts of one campaign's loop as tasks in Prefect's record, and where they run."""

    db: Database
    resolved: ResolvedCampaign
    runtime: Runtime
    where: DaskWorkers | BatchJobs
    engine_locations: EngineLocations
    models: Path
    record: PrefectRecord

    @property
    def name(self) -> str:
        """Return the campaign's name."""
        return self.resolved.campaign.name

    def verify(self, limit: int) -> None:
        """Verify up to ``limit`` queued candidates."""

        def verify(limit: int) -> str:
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
            self.record.task(verify, name="verify")(limit)

    def fine_tune(self) -> FineTuningResult:
        """Fine-tune and judge; where there is too little to learn from, say so and go on."""

        def fine_tune() -> FineTuningResult:
            stated = self.resolved.campaign
            campaign = find_campaign(self.db, self.name)
            try:
                model = model_of_campaign(self.db, self.name)
                return fine_tune_on_labels(self.db, campaign, model, stated.learning, self.models)
            # faults of the machine and of the database end the loop: they hold for the next round
            except (UserError, ModelError) as fault:
                return FineTuningResult(campaign.checkpoint_sha256, 0, why=str(fault))

        return self.record.task(fine_tune, name="fine-tune")()

    def rerank(self, calculations: int) -> None:
        """Predict stale candidates again, rank, and queue up to so many for the next round."""

        def rerank(calculations: int) -> int:
            return rescore(self.db, self.name, self.runtime, calculations=calculations).predicted

        self.record.task(rerank, name="rank again")(calculations)


def loop_flow(loop: Loop, steps: CampaignLoopSteps) -> Callable[[str, int], str]:
    """Return a campaign's loop as a flow in Prefect's record; the database knows what is done."""

    def run(campaign: str, rounds: int) -> str:  # noqa: ARG001  what Prefect shows of the run
        return loop.run(steps)

    return steps.record.flow(run, name="loop", run_name="{campaign}")
