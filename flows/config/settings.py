"""Settings from environment variables, read once by a command and passed down as values."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.errors import CampaignError
from screening_db.database import DATABASE_WAIT_S

DEFAULT_DATABASE = Path("runs") / "screening.db"


class Settings(BaseSettings):
    """Environment variables that begin with ``SABATIER_``; a campaign file goes before them."""

    model_config = SettingsConfigDict(env_prefix="SABATIER_", extra="ignore", frozen=True)

    database: str | None = None  # path or URL; without it runs/screening.db
    database_wait_s: float = Field(default=DATABASE_WAIT_S, ge=0)  # for a server that went away
    prefect_api_url: str | None = None  # a running Prefect server; without it one is embedded
    webhook: str | None = None  # notified of the ends of deployed runs
    webhook_insecure: bool = False  # consents to http:// and to addresses of private networks
    cluster: str | None = None  # tls:// address of a running Dask scheduler
    cluster_ca: Path | None = None  # of its authority; these three are PEM files
    cluster_certificate: Path | None = None
    cluster_key: Path | None = None
    cluster_insecure: bool = False  # consents to a scheduler without certificates
    workers: int | None = Field(default=None, ge=1)
    on: Literal["dask", "local", "slurm"] = "dask"  # where verification computes
    jobs: int | None = Field(default=None, ge=1)  # in flight at once, of a batch system
    profile: Path | None = None  # of the batch system: a YAML file
    memory_class: int | None = Field(default=None, ge=0)  # the largest that this machine takes
    cuda_visible_devices: str | None = Field(
        default=None, validation_alias="CUDA_VISIBLE_DEVICES"
    )  # as CUDA names it; empty hides every GPU
    mp_api_key: str | None = Field(
        default=None, validation_alias="MP_API_KEY"
    )  # as mp-api names it


def read_settings() -> Settings:
    """Return the settings of the environment.

    Raises:
        CampaignError: a variable has a value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        error = invalid.errors()[0]
        name = "SABATIER_" + "_".join(str(part) for part in error["loc"]).upper()
        raise CampaignError(
            f"environment variable {name}: {error['msg']}, got {error['input']!r}; "
            "correct it or unset it"
        ) from None
