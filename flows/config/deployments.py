"""A deployments file: which campaigns run where and when, and which webhook is notified.

Paths are relative to the file; times are of ``timezone``.
"""

from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationInfo, field_validator, model_validator

from flows.config.yaml_model import YamlFileKind, YamlModel, load_yaml_model

Event = Literal["finished", "failed", "refused"]
EVENTS: tuple[Event, ...] = get_args(Event)


class Pool(YamlModel):
    """The work pool whose workers run the campaigns, made where it is not there yet.

    ``runs`` is how many runs it takes at once. ``folder`` is where runs in containers see the
    folder of the deployments file, ``variables`` are job variables of Prefect's pools.
    """

    name: str = Field(default="sabatier", pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$", max_length=80)
    type: Literal["process", "docker", "kubernetes"] = "process"
    image: str | None = None
    folder: str | None = None
    runs: int | None = Field(default=None, ge=1)
    variables: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _is_possible(self) -> "Pool":
        needs = {"image": self.image, "folder": self.folder}
        if self.type == "process":
            given = [name for name, value in needs.items() if value is not None]
            if given:
                raise ValueError(
                    f"a process pool runs on the machine of its worker, got {' and '.join(given)}; "
                    "leave it out, or choose type docker or kubernetes"
                )
        elif missing := [name for name, value in needs.items() if value is None]:
            raise ValueError(
                f"a {self.type} pool runs an image that sees the campaign files in a folder of its "
                f"own, {' and '.join(missing)} is missing; give pool.image and pool.folder"
            )
        return self


class Scheduled(YamlModel):
    """When something runs: by cron, every so many seconds, or by hand alone."""

    cron: str | None = None
    every_s: float | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_one_schedule(self) -> "Scheduled":
        if self.cron is not None and self.every_s is not None:
            raise ValueError(
                f"one schedule each, got cron {self.cron!r} and every_s {self.every_s:g}; "
                "remove one of them"
            )
        return self

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        from prefect.schedules import Cron  # Prefect decides what it can read

        if value is not None:
            try:
                Cron(value)
            except ValueError:
                raise ValueError(
                    f"cron has five fields (minute hour day month weekday), got {value!r}; "
                    'write "0 2 * * *" for two o\'clock every night'
                ) from None
        return value


class ScreenSchedule(Scheduled):
    """Screen the campaign, or go on where it was stopped."""


class VerifySchedule(Scheduled):
    """Drain the campaign's queue; as ``sabatier verify`` with the options of these names."""

    limit: int | None = Field(default=None, ge=1)
    on: Literal["dask", "local", "slurm"] | None = None
    workers: int | None = Field(default=None, ge=1)
    jobs: int | None = Field(default=None, ge=1)
    profile: str | None = None


class LoopSchedule(Scheduled):
    """Screen, verify, fine-tune, judge and re-score in rounds, up to a budget of calculations."""

    rounds: int = Field(default=3, ge=1)
    budget: int | None = Field(default=None, ge=1)


class DeployedCampaign(YamlModel):
    """One campaign file and its flows.

    ``fine_tune_after`` so many new labels that may be trained on the model is fine-tuned; they are
    counted every ``count_labels_s``.
    """

    file: str
    database: str | None = None
    screen: ScreenSchedule | None = None
    verify: VerifySchedule | None = None
    loop: LoopSchedule | None = None
    fine_tune_after: int | None = Field(default=None, ge=1)
    count_labels_s: float = Field(default=600.0, ge=1)

    @model_validator(mode="after")
    def _does_something(self) -> "DeployedCampaign":
        if not any((self.screen, self.verify, self.loop, self.fine_tune_after)):
            raise ValueError(
                f"a campaign is deployed to do something, {self.file} does nothing; "
                "give screen, verify, loop or fine_tune_after"
            )
        return self


class Concurrency(YamlModel):
    """How many runs of a kind may go on at once, over all campaigns; of one campaign it is one."""

    verifications: int = Field(default=1, ge=1)


class Deployments(YamlModel):
    """All that one file deploys."""

    pool: Pool = Pool()
    timezone: str = "UTC"
    concurrency: Concurrency = Concurrency()
    webhook_insecure: bool = False  # consents to http:// and to addresses of private networks
    webhook: str | None = None
    notify: list[Event] = Field(default=list(EVENTS))
    campaigns: list[DeployedCampaign] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"a timezone is named as in the IANA database, got {value!r}; "
                "write UTC or Europe/Berlin"
            ) from None
        return value

    @field_validator("webhook", mode="before")
    @classmethod
    def _is_an_address(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what nothing can be sent to; its path may be a secret and is not shown."""
        schemes = {"https", "http"} if info.data.get("webhook_insecure") else {"https"}
        parts = urlsplit(value) if isinstance(value, str) else None
        if value is None or (parts and parts.scheme in schemes and parts.hostname):
            return value
        what = f"{parts.scheme}://" if parts and parts.scheme else "something else"
        raise ValueError(
            f"a webhook is an https:// address, got {what}; correct it or leave it out (http://, "
            "and addresses of a private network, need webhook_insecure: true)"
        )


DEPLOYMENTS_FILE = YamlFileKind(Deployments, "deployments", "deployments/local.yaml")


def load_deployments(path: Path) -> Deployments:
    """Return the content of the deployments file at ``path``."""
    return load_yaml_model(path, DEPLOYMENTS_FILE)
