"""Train a checkpoint from a recipe file (YAML) and a training table (Parquet)."""

from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import CampaignError
from model.baseline import train_baseline
from model.checkpoint import Checkpoint
from model.domain import domain_of
from model.equiformer_v2.config import EquiformerV2Config
from model.fit import Plan, fit
from model.rows import read_rows, split
from model.training import Recipe

T = TypeVar("T")


class TrainingFile(BaseModel):
    """What a recipe file states; ``encoder`` and ``recipe`` take the fields of their classes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    report_fold: int = Field(ge=0, le=4)  # never trained on
    members: int = Field(default=1, ge=1, le=8)
    processes: int = Field(default=1, ge=1)
    crop_radius_ang: float = Field(default=6.0, gt=0)
    encoder: dict[str, Any]
    recipe: dict[str, Any]
    weights: dict[str, float] = Field(default_factory=dict)  # draws of a set in an epoch


def train(recipe_file: Path, table: Path, folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """Train QE-Catalytic and the baseline on one table, or go on where an earlier run stopped.

    Returns the two checkpoints: ``folder/checkpoint`` and ``folder/baseline``.
    """
    settings = _read(recipe_file)
    plan = Plan(
        table=table,
        folder=folder,
        encoder=_build(EquiformerV2Config, settings.encoder, recipe_file, "encoder"),
        recipe=_build(Recipe, settings.recipe, recipe_file, "recipe"),
        crop_radius_ang=settings.crop_radius_ang,
        device="cuda" if torch.cuda.is_available() else "cpu",
        report_fold=settings.report_fold,
        weights=settings.weights,
    )
    rows = read_rows(table)
    seen, held_out, _ = split(rows, report_fold=plan.report_fold)
    domain = domain_of([*seen, *held_out])
    baseline = train_baseline(seen, held_out, domain, folder / "baseline", seed=plan.recipe.seed)
    return fit(plan, members=settings.members, processes=settings.processes), baseline


def _read(file: Path) -> TrainingFile:
    try:
        return TrainingFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CampaignError(f"recipe file {file} cannot be read: {error}") from None
    except ValidationError as invalid:
        first = invalid.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        valid = ", ".join(TrainingFile.model_fields)
        raise CampaignError(f"{file}: {place}: {first['msg']}; keys are {valid}") from None


def _build(kind: type[T], values: dict[str, Any], file: Path, place: str) -> T:
    try:
        return kind(**values)
    except TypeError as error:
        raise CampaignError(
            f"{file}: {place}: {str(error).partition(' ')[2]}; fields are "
            f"{', '.join(kind.__dataclass_fields__)}"  # type: ignore[attr-defined]
        ) from None
