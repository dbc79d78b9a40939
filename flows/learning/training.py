"""Train a checkpoint from a recipe and a training table (Parquet).

A recipe is a preset or a YAML file, in which single settings may be changed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

import model
from flows.errors import CampaignError
from flows.learning.train_difference import SECTION, train_from_table
from model.checkpoint import Checkpoint
from model.data.domain import domain_of
from model.encoders.registry import encoder_from_json
from model.errors import ModelError, shortened
from model.files import lock_folder
from model.network.language.configuration import LanguageConfig
from model.training.assemble import assemble_checkpoint
from model.training.baseline import train_baseline
from model.training.run import STAGES, TrainingPlan, prepare_training, split_table, train_members
from model.training.trainer import Report
from tasks.yaml_text import YamlError, read_yaml, read_yaml_text

T = TypeVar("T")
logger = logging.getLogger(__name__)

PRESETS = Path(model.__file__).parent / "presets"


class TrainingFile(BaseModel):
    """A recipe file; ``encoder``, ``language`` and stages take their classes' fields.

    The stages that are named run, in the order in which they stand here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    report_fold: int = Field(ge=0, le=4)  # never trained on
    held_out_by: Literal["pair", "surface"] = "pair"  # surface: as folds that split surfaces
    members: int = Field(default=1, ge=1, le=8)
    processes: int = Field(default=1, ge=1)
    crop_radius_ang: float | None = Field(default=6.0, gt=0)
    fusion: str = "pooled"
    text_facts: bool = True
    encoder: dict[str, Any]
    encoder_weights: Path | None = None  # pretrained: .pt as published, or .safetensors
    encoder_frozen: bool = False  # it never learns, and runs once for each structure
    encoder_cache: Path | None = None  # folder in which a frozen encoder's features stay
    language: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict)  # draws of a set in an epoch
    texts: Path | None = None  # unlabelled texts for the stage read, one a line
    read: dict[str, Any] | None = None
    encode: dict[str, Any] | None = None
    align: dict[str, Any] | None = None
    joint: dict[str, Any] | None = None
    instruct: dict[str, Any] | None = None


def train(
    recipe: str | Path,
    table: Path | None,
    folder: Path,
    *,
    until: str = "",
    changes: Sequence[str] = (),
    report: Report = logger.info,
) -> list[Checkpoint]:
    """Train QE-Catalytic and the baseline on one table, or go on where an earlier run stopped.

    A recipe with a part ``difference`` makes one checkpoint of that kind instead.

    Args:
        recipe: The name of a preset, or a file.
        table: The training table, a Parquet file; None for a difference that is assumed.
        folder: Where stages keep their state and checkpoints are left.
        until: The last stage to run, by default all; the others wait for the next call.
        changes: Values that replace the recipe's, as ``name=value``.
        report: Gets a line of JSON for each epoch, in the process that trains.

    Returns:
        The finished checkpoints: ``folder/baseline`` and, once every stage has ended,
        ``folder/checkpoint``.

    Raises:
        CampaignError: the recipe is not valid, or has no stage ``until``.
        ModelError: the table cannot be trained on.
        MachineError: another process trains in the folder, or a process of the training was killed.
    """
    recipe_file = find_recipe(recipe)
    values = read_values(recipe_file, changes)
    if isinstance(values, dict) and SECTION in values:
        if until:
            raise CampaignError(f"a difference has no stages, got until {until!r}; leave it out")
        return [train_from_table(values, recipe_file, table, folder)]
    if table is None:
        raise CampaignError(f"{recipe_file} learns from a training table; name it with --table")
    settings = read_recipe(recipe_file, changes)
    plan = training_plan(settings, recipe_file, table, folder)
    if until and until not in (names := [STAGES[type(stage)] for stage in plan.stages]):
        raise CampaignError(f"{recipe_file} has the stages {', '.join(names)}, got {until!r}")
    with lock_folder(folder, "a training"):
        return _trained(plan, settings, until, report)


def _trained(
    plan: TrainingPlan, settings: TrainingFile, until: str, report: Report
) -> list[Checkpoint]:
    prepare_training(plan)
    seen, held_out, _ = split_table(plan)
    domain = domain_of([*seen, *held_out])
    seed = plan.stages[0].seed
    baseline = train_baseline(seen, held_out, domain, plan.folder / "baseline", seed=seed)
    train_members(
        plan,
        members=settings.members,
        processes=settings.processes,
        until=until,
        report=report,
    )
    if until and until != STAGES[type(plan.stages[-1])]:
        return [baseline]
    return [baseline, assemble_checkpoint(plan, members=settings.members)]


def training_plan(settings: TrainingFile, file: Path, table: Path, folder: Path) -> TrainingPlan:
    """Return the training that a recipe states, on this machine's GPU or else its CPU.

    Args:
        settings: The recipe's content.
        file: The recipe's file, for messages.
        table: The training table, a Parquet file; None for a difference that is assumed.
        folder: Where stages keep their state.

    Returns:
        The plan, with stages in the order in which they run.

    Raises:
        CampaignError: the recipe names no stage, or an unknown or invalid field.
    """
    stages = tuple(
        _build(kind, values, file, name)
        for kind, name in STAGES.items()
        if (values := getattr(settings, name)) is not None
    )
    if not stages:
        raise CampaignError(f"{file} names no stage; name at least one of {_stage_names()}")
    return TrainingPlan(
        table=table,
        folder=folder,
        encoder=_encoder(settings.encoder, file),
        stages=stages,
        report_fold=settings.report_fold,
        language=_build(LanguageConfig, settings.language, file, "language"),
        fusion=settings.fusion,
        text_facts=settings.text_facts,
        held_out_by=settings.held_out_by,
        crop_radius_ang=settings.crop_radius_ang,
        device="cuda" if torch.cuda.is_available() else "cpu",
        weights=settings.weights,
        texts=settings.texts,
        encoder_weights=settings.encoder_weights,
        encoder_frozen=settings.encoder_frozen,
        encoder_cache=settings.encoder_cache,
    )


def _stage_names() -> str:
    return ", ".join(STAGES.values())


def _encoder(values: dict[str, Any], file: Path) -> Any:
    try:
        return encoder_from_json(values)
    except ModelError as error:
        raise CampaignError(f"{file}: encoder: {error}") from None


def read_recipe(file: Path, changes: Sequence[str] = ()) -> TrainingFile:
    """Return the content of a recipe file, with ``changes`` made."""
    try:
        return TrainingFile.model_validate(read_values(file, changes))
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        valid = ", ".join(TrainingFile.model_fields)
        raise CampaignError(f"{file}: {field}: {first['msg']}; keys are {valid}") from None


def _build(kind: type[T], values: dict[str, Any], file: Path, field: str) -> T:
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := [name for name in values if name not in known]:
        raise CampaignError(
            f"{file}: {field}: there is no {unknown[0]!r}; fields are {', '.join(known)}"
        )
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CampaignError(
            f"{file}: {field}.{key}: {first['msg']}, got {shortened(repr(first['input']))}; change "
            "it there"
        ) from None
    except ModelError as error:
        raise CampaignError(f"{file}: {field}: {error}") from None


def preset_names() -> list[str]:
    """Return the names of the presets in the wheel."""
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def find_recipe(name_or_file: str | Path) -> Path:
    """Return the recipe file of a preset, or the file itself.

    Raises:
        CampaignError: it is neither.
    """
    preset = PRESETS / f"{name_or_file}.yaml"
    if str(name_or_file) in preset_names():
        return preset
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise CampaignError(
        f"a recipe is a preset ({', '.join(preset_names())}) or a file, got {name_or_file}"
    )


def read_values(file: Path, changes: Sequence[str] = ()) -> Any:
    """Return the content of a recipe file, with ``changes`` such as ``language.layers=4`` made.

    Raises:
        CampaignError: the file cannot be read, or a change is none.
    """
    try:
        _, values = read_yaml(read_yaml_text(file))
    except YamlError as error:
        raise CampaignError(error.at(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"recipe file {file} cannot be read: {error}") from None
    for change in changes:
        _change(values, change)
    return values


def _change(values: Any, change: str) -> None:
    """Set one value in place; parts that are missing on the way to it are made."""
    path, equals, text = change.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last or not all(parents):
        raise CampaignError(f"a change reads like language.layers=4, got {change!r}")
    for name in parents:
        if isinstance(values, dict) and values.get(name) is None:
            values[name] = {}
        values = values.get(name) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        parent = ".".join(parents) or "the recipe"
        raise CampaignError(f"{parent} has no parts to set, got {change!r}")
    try:
        _, values[last] = read_yaml(text)
    except YamlError:
        raise CampaignError(f"the value of a change must be YAML, got {change!r}") from None
