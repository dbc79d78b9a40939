"""The profile of a batch system: how jobs are submitted to a cluster (YAML)."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from flows.config.yaml_model import YamlFileKind, YamlModel, load_yaml_model
from tasks.verification.engines.launch import LAUNCHER, shell_words
from tasks.verification.inputs.resources import COSTS, EngineCost, ResourceLimits

BatchSystem = Literal["local", "slurm"]
_SET_BY_SABATIER = frozenset(  # computed for every job from its atoms, k-points and spins
    (
        *("job-name", "output", "error", "nodes", "ntasks", "cpus-per-task", "mem", "time"),
        *("signal", "requeue", "no-requeue"),
    )
)


class BatchProfile(YamlModel):
    """How jobs are submitted to one cluster; a file states what differs from the defaults.

    ``setup`` are lines of shell before each job, ``options`` further options of ``sbatch`` by their
    long names. ``warning_s`` before its wall limit a job gets a signal to stop. ``folder`` keeps
    the inputs and results of jobs, and all nodes must see it.
    """

    jobs: int = Field(default=20, ge=1)  # in flight at once, those that still wait among them
    folder: Path | None = None  # without it jobs/ beside the database's Parquet files
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: dict[str, str | int | bool] = Field(default={})
    setup: list[str] = Field(default=[])
    launcher: str = LAUNCHER
    warning_s: Annotated[int, Field(ge=1)] = 120
    limits: ResourceLimits = ResourceLimits()

    @field_validator("limits", mode="before")
    @classmethod
    def _complete_engine_costs(cls, limits: Any) -> Any:
        """Fill in the shipped costs of an engine that states only some of them."""
        engines = limits.get("engines") if isinstance(limits, Mapping) else None
        if not isinstance(engines, Mapping):
            return limits
        complete = {
            name: {**asdict(COSTS.get(name, EngineCost())), **stated}
            if isinstance(stated, Mapping)
            else stated  # not a mapping: pydantic names it
            for name, stated in engines.items()
        }
        return {**limits, "engines": complete}

    @field_validator("launcher")
    @classmethod
    def _is_a_command(cls, launcher: str) -> str:
        if not shell_words(launcher, "launcher"):
            raise ValueError(
                f"launcher is the command before a program of several ranks, got {launcher!r}; "
                f"name one, or leave it out for {LAUNCHER!r}"
            )
        return launcher

    @field_validator("options")
    @classmethod
    def _leave_computed_ones_alone(cls, options: dict[str, Any]) -> dict[str, Any]:
        clash = sorted(name for name in options if name.replace("_", "-") in _SET_BY_SABATIER)
        if clash:
            raise ValueError(
                f"options must not set {', '.join(clash)}, which Sabatier computes for each job; "
                "write limits, setup, account or partition instead"
            )
        return options


_PROFILE_FILE = YamlFileKind(BatchProfile, "profile", "deployments/slurm.yaml")


def load_batch_profile(path: Path | None) -> BatchProfile:
    """Return the profile that a file states, or the defaults without a file.

    Raises:
        CampaignError: the file cannot be read as a profile.
    """
    return BatchProfile() if path is None else load_yaml_model(path, _PROFILE_FILE)
