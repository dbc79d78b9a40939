"""Fine-tune the serving checkpoint on labels; the result serves only if the gate accepts it.

A fine-tuning is named by its inputs (parent, training set, recipe), so a killed one goes on in its
folder, and a finished one is not begun again. Its checkpoint, the verdict and the promotion are
stored in that order: whenever a run is killed, one checkpoint serves, and the next call finishes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from flows.config.campaign import Learning
from flows.records.checkpoints import (
    LocatedCheckpoint,
    record_outside_checkpoint,
    serving_checkpoint,
)
from flows.records.folders import models_folder
from flows.records.from_rows import recorded_level
from flows.records.to_rows import tuned_checkpoint_row
from model.checkpoint import Checkpoint, open_checkpoint, stated_bond_rule
from model.contract import LevelEnergy
from model.data.kept_rows import held_out_pairs
from model.errors import ModelError
from model.files import lock_folder
from model.fine_tuning.fine_tune import fine_tune
from model.fine_tuning.gate import GateVerdict, judge_candidate
from model.training.recipes import TuneRecipe
from screening_db.database import Database
from screening_db.learning.fine_tunings import (
    FineTuningSpec,
    end_fine_tuning,
    fine_tunings,
    record_fine_tuning,
)
from screening_db.learning.labels import training_labels
from screening_db.learning.serving import promote
from screening_db.queries import relaxed_labels
from screening_db.tables import CampaignRow, FineTuningRow
from tasks.errors import UserError
from tasks.prediction.checkpoint_domain import checkpoint_domain
from tasks.training_data.from_labels import TrainingSet, training_rows


@dataclass(frozen=True)
class FineTuningResult:
    """The outcome of a fine-tuning: the verdict with its numbers, and the serving checkpoint.

    ``verdict`` is None where nothing was trained; ``why`` then gives the reason.
    """

    serving: str  # SHA-256
    labels: int
    method: str = ""
    verdict: GateVerdict | None = None
    why: str = ""
    imported: tuple[str, ...] = ()  # where those of the labels that others computed are from

    @property
    def accepted(self) -> bool:
        """Return whether the gate let the candidate serve."""
        return self.verdict is not None and self.verdict.accepted


@dataclass(frozen=True)
class FineTuningInputs:
    """All that a fine-tuning reads: equal inputs are one fine-tuning."""

    campaign: CampaignRow
    model: str
    parent: LocatedCheckpoint
    labels: TrainingSet
    recipe: TuneRecipe

    @property
    def tuning(self) -> FineTuningSpec:
        """Return the content that names it; equal ones are one fine-tuning."""
        return FineTuningSpec(
            campaign=self.campaign.name,
            model=self.model,
            parent_sha256=self.parent.sha256,
            training_set=self.labels.dataset_id,
            level=self.campaign.verified_at,
            method=json.dumps(asdict(self.recipe), sort_keys=True),
        )


def fine_tune_on_labels(
    db: Database, campaign: CampaignRow, model: str, learning: Learning, models: Path
) -> FineTuningResult:
    """Fine-tune the serving checkpoint of ``model`` on the clean labels of a level, and judge it.

    Args:
        db: The database with the labels.
        campaign: The campaign whose level is learnt.
        model: The model's name, as campaigns write it.
        learning: The method and its share of replay.
        models: The folder in which checkpoints are kept; each fine-tuning gets one of its own.

    Returns:
        The verdict and the serving checkpoint; work of an earlier call is not repeated.

    Raises:
        UserError, ModelError: there is nothing to learn from, or the checkpoint cannot be tuned;
            nothing was begun.
    """
    require_one_level(campaign)
    parent = serving_checkpoint(db, model)
    record_outside_checkpoint(db, model, parent)
    labels = campaign_training_set(db, campaign, parent)
    recipe = TuneRecipe(
        method=learning.method, replay_share=learning.replay, seed=campaign.seed + 1
    )
    inputs = FineTuningInputs(campaign, model, parent, labels, recipe)
    result = run_fine_tuning(db, inputs, models / inputs.tuning.id[:16])
    return replace(result, imported=labels.imported)


def run_fine_tuning(
    db: Database,
    inputs: FineTuningInputs,
    folder: Path,
    *,
    train: Callable[..., Checkpoint] = fine_tune,
    judge: Callable[..., GateVerdict] = judge_candidate,
) -> FineTuningResult:
    """Train, judge and promote; work of an earlier call is not repeated.

    Args:
        db: The database.
        inputs: The parent, the labels and the recipe.
        folder: Where the training keeps its state and leaves its checkpoint.
        train: Makes the candidate checkpoint; called as ``fine_tune``.
        judge: Compares the candidate with its parent; called as ``judge_candidate``.

    Returns:
        The verdict and the serving checkpoint.

    Raises:
        ModelError: the training failed; it is recorded so and may be tried again.
        MachineError: another process trains in the folder, or a process of the training was killed.
    """
    if trained_on(inputs.parent, inputs.labels):
        return _earlier_result(db, inputs)
    with lock_folder(folder, "a fine-tuning"):  # another campaign may learn the same labels
        return _recorded_and_promoted(db, inputs, folder, train, judge)


def _recorded_and_promoted(
    db: Database,
    inputs: FineTuningInputs,
    folder: Path,
    train: Callable[..., Checkpoint],
    judge: Callable[..., GateVerdict],
) -> FineTuningResult:
    row = record_fine_tuning(db, inputs.tuning, n_labels=inputs.labels.n_labels, folder=str(folder))
    if row.state == "running":
        row = _train_and_judge(db, inputs, row, folder, train, judge)
    if row.state != "accepted" or row.checkpoint_sha256 is None:
        return _recorded_result(row, inputs.parent.sha256)
    parent, candidate = inputs.parent.sha256, row.checkpoint_sha256
    promote(db, inputs.model, candidate, "gate", row.report, expected=parent)
    return _recorded_result(row, candidate)


def require_one_level(campaign: CampaignRow) -> None:
    """Refuse to teach a level with the labels of another.

    Raises:
        UserError: the campaign is verified at another level than it is predicted at.
    """
    if campaign.verified_at != campaign.level:
        raise UserError(
            f"a model learns the level it predicts at; campaign {campaign.name} predicts at "
            f"{campaign.level} and its labels are of {campaign.verified_at}; verify at "
            f"{campaign.level}, or train a model at {campaign.verified_at} and name it in the "
            "campaign"
        )


def campaign_training_set(
    db: Database, campaign: CampaignRow, parent: LocatedCheckpoint
) -> TrainingSet:
    """Return every label of the campaign's level that may be trained on, of all campaigns."""
    level = recorded_level(db, campaign.verified_at)
    found = training_labels(db, level.name, level.level_hash)
    checkpoint = open_checkpoint(parent.location)
    held_out = held_out_pairs(checkpoint)
    rule = stated_bond_rule(checkpoint)
    ids = [label.candidate_id for label in found.taken]
    energies = _energies(db, checkpoint_domain(parent.location).potentials, ids)
    return training_rows(found, level.level_hash, rule, held_out=held_out, energies=energies)


def _energies(
    db: Database, potentials: Mapping[str, str], candidate_ids: Sequence[str]
) -> dict[str, list[LevelEnergy]] | None:
    """Return what a checkpoint's potentials relaxed candidates to, those that all of them have."""
    if not potentials:
        return None
    labels = relaxed_labels(db, potentials, candidate_ids)
    return {
        item: [LevelEnergy(row.level, row.level_hash, row.energy_ev) for row in rows.values()]
        for item, rows in labels.items()
        if len(rows) == len(potentials) and all(row.trainable for row in rows.values())
    }


def trained_on(parent: LocatedCheckpoint, labels: TrainingSet) -> bool:
    """Return whether a checkpoint was fine-tuned on this very training set."""
    card = open_checkpoint(parent.location).read_json("card.json")
    return bool(card.get("dataset") == labels.dataset_id)


def _earlier_result(db: Database, inputs: FineTuningInputs) -> FineTuningResult:
    """Return the result of the fine-tuning whose checkpoint serves already."""
    parent, labels = inputs.parent, inputs.labels
    for row in fine_tunings(db, model=inputs.model):
        if row.checkpoint_sha256 == parent.sha256 and row.training_set == labels.dataset_id:
            return _recorded_result(row, parent.sha256)
    why = "the serving checkpoint was fine-tuned on these labels before"
    return FineTuningResult(parent.sha256, labels.n_labels, why=why)


def _recorded_result(row: FineTuningRow, serving: str) -> FineTuningResult:
    verdict = GateVerdict.from_json(row.report)
    return FineTuningResult(serving, row.n_labels, json.loads(row.method)["method"], verdict)


def _train_and_judge(
    db: Database,
    inputs: FineTuningInputs,
    row: FineTuningRow,
    folder: Path,
    train: Callable[..., Checkpoint],
    judge: Callable[..., GateVerdict],
) -> FineTuningRow:
    location, rows, recipe = inputs.parent.location, inputs.labels.rows, inputs.recipe
    level = inputs.campaign.verified_at
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        candidate = train(location, rows, folder, recipe, device=device)
        verdict = judge(
            location,
            candidate.folder,
            rows,
            level,
            seed=recipe.seed,
            before=_verdict_on(db, inputs),
            device=device,
        )
    except ModelError as fault:
        end_fine_tuning(db, row.id, "failed", error=str(fault))
        raise
    end_fine_tuning(
        db,
        row.id,
        "accepted" if verdict.accepted else "rejected",
        checkpoint=tuned_checkpoint_row(
            candidate, inputs.model, inputs.parent.sha256, models_folder(db)
        ),
        report=verdict.to_json(),
    )
    return next(ended for ended in fine_tunings(db, model=inputs.model) if ended.id == row.id)


def _verdict_on(db: Database, inputs: FineTuningInputs) -> GateVerdict | None:
    """Return the verdict by which the parent came to serve, None where it was never fine-tuned."""
    for row in fine_tunings(db, model=inputs.model):
        if row.checkpoint_sha256 == inputs.parent.sha256:
            return GateVerdict.from_json(row.report)
    return None
