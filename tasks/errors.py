"""Faults of a request: errors that stop a run, and refusals that do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from model.errors import SabatierError

RefusalStage = Literal["bulk", "slab", "placement", "element", "adsorbate", "pair"]


class UserError(SabatierError):
    """A request that cannot be met; the message states the rule, the value and the way out."""


def nearest_names(name: str, known: Sequence[str], number: int = 4) -> str:
    """Return how many names there are and those most like ``name``, as a part of a message."""
    by_lower = {each.lower(): each for each in reversed(known)}
    found = get_close_matches(name.lower(), list(by_lower), n=number, cutoff=0.4)
    near = [by_lower[each] for each in found] or list(known[:number])
    return f"the nearest of {len(known)} names are {', '.join(near)}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@dataclass(frozen=True)
class Refusal:
    """One item left out, and why; the rest goes on and the funnel counts it.

    The reason of a slab or placement is ``rule: values``; what is before the colon can be counted.
    """

    item: str
    stage: RefusalStage
    reason: str
