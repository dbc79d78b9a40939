"""Where fine-tuning and the loop are plugged into what is deployed: here and nowhere else.

What learns lives in ``flows.learn`` and ``flows.loop``; it is found when a run begins, so that a
deployment can be registered by a release, or a process, that does not have it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.errors import CampaignError
from screening_db.engine import Database


@dataclass(frozen=True)
class Tuned:
    """When a campaign was last fine-tuned, and which fine-tuning that was."""

    id: str
    at: float  # seconds since 1970, UTC, of its start


def fine_tune(campaign: str, database: str | None) -> Any:
    """Fine-tune the campaign's model on its labels; the same as the command."""
    return _begin("flows.learn", "start_fine_tuning")(campaign, database)


def loop(file: Path, rounds: int, budget: int | None, database: str | None) -> Any:
    """Run rounds of the loop; the same as the command."""
    return _begin("flows.loop", "start_loop")(file, rounds, budget, database)


def last_fine_tuning(db: Database, campaign: str) -> Tuned | None:
    """Return the campaign's last fine-tuning, whatever came of it, or None before the first."""
    if find_spec("screening_db.fine_tunings") is None:
        return None
    found = import_module("screening_db.fine_tunings").fine_tunings(db, campaign=campaign)
    return Tuned(found[-1].id, found[-1].started_at) if found else None


def refusal(outcome: object) -> str:
    """Return why a gate refused, from what ``fine_tune`` or ``loop`` returned; else nothing."""
    verdict = getattr(outcome, "verdict", outcome)
    if getattr(verdict, "accepted", None) is not False:
        return ""
    return "; ".join(getattr(verdict, "reasons", ())) or "no reason was given"


def _begin(module: str, name: str) -> Callable[..., Any]:
    if find_spec(module) is None or not hasattr(import_module(module), name):
        raise CampaignError(f"this release cannot learn: {module}.{name} is missing; update it")
    begin: Callable[..., Any] = getattr(import_module(module), name)
    return begin
