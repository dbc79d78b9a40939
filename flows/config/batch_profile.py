"""What a batch system is asked for: the profile of a cluster (YAML) and what the command adds."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flows.errors import CampaignError
from tasks.verification.engines.launch import LAUNCHER
from tasks.verification.inputs.resources import COSTS, EngineCost, ResourceLimits

BatchSystem = Literal["local", "slurm"]
_OURS = frozenset(  # stated by us for every job, each from what it needs
    (
        *("job-name", "output", "error", "nodes", "ntasks", "cpus-per-task", "mem", "time"),
        *("signal", "requeue", "no-requeue"),
    )
)


class BatchProfile(BaseModel):
    """How jobs are submitted at one place; a file states what differs.

    ``setup`` are lines of shell before each job, ``options`` further options of ``sbatch`` by their
    long names. ``warning_s`` before its wall limit a job is told to stop. ``folder`` keeps what
    jobs are given and what they find, and has to be seen by all nodes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: int = Field(default=20, ge=1)  # in flight at once, those that still wait among them
    folder: Path | None = None  # without it jobs/ beside the database's Parquet files
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: dict[str, str | int | bool] = {}
    setup: list[str] = []
    launcher: str = LAUNCHER
    warning_s: Annotated[int, Field(ge=1)] = 120
    limits: ResourceLimits = ResourceLimits()

    @field_validator("limits", mode="before")
    @classmethod
    def _engines_differ(cls, limits: Any) -> Any:
        """Let an engine state what differs from its shipped costs."""
        engines = limits.get("engines") if isinstance(limits, Mapping) else None
        if not isinstance(engines, Mapping):
            return limits
        told = {name: _over(name, cost) for name, cost in engines.items()}
        return {**limits, "engines": told}

    @field_validator("options")
    @classmethod
    def _are_not_ours(cls, options: dict[str, Any]) -> dict[str, Any]:
        clash = sorted(name for name in options if name.replace("_", "-") in _OURS)
        if clash:
            raise ValueError(
                f"options must not be {', '.join(clash)}, which each job states by what it needs; "
                "write limits, setup, account or partition instead"
            )
        return options


def load_batch_profile(path: Path | None) -> BatchProfile:
    """Return the profile that a file states, or the one that states nothing.

    Raises:
        CampaignError: the file cannot be read as a profile.
    """
    if path is None:
        return BatchProfile()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise CampaignError(
            f"profile {path} cannot be read ({fault}); copy deployments/slurm.yaml and change it"
        ) from None
    try:
        return BatchProfile.model_validate({} if data is None else data)
    except ValidationError as invalid:
        error = invalid.errors()[0]
        place = ".".join(str(part) for part in error["loc"]) or "the file"
        raise CampaignError(
            f"profile {path}: {place}: {error['msg'].removeprefix('Value error, ')}; got "
            f"{error['input']!r}; correct it there"
        ) from None


def _over(engine: str, changes: Any) -> Any:
    if not isinstance(changes, Mapping):
        return changes
    return {**asdict(COSTS.get(engine, EngineCost())), **changes}
