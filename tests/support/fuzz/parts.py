"""The parts of a run, what each came to, and the file that keeps it."""

import csv
import subprocess
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support.fuzz.commands import drawn
from support.fuzz.targets import FuzzTargets
from support.fuzz.watch import Tally, try_input
from support.paths import REPOSITORY

FIELDS = (
    *("kind", "seed", "part", "inputs", "refused", "answered", "failed"),
    *("slowest_s", "most_mb", "revision"),
)
PART = 250
WHOLE = 10_000


def parts(kinds: dict[str, int], inputs: int) -> Iterator[tuple[str, int, int]]:
    """Yield kind, number and size of each part of a run of so many inputs."""
    for kind, share in kinds.items():
        left, part = round(share * inputs / WHOLE), 0
        while left > 0:
            yield kind, part, min(PART, left)
            left, part = left - PART, part + 1


def run_part(targets: FuzzTargets, kind: str, seed: int, size: int) -> Tally:
    """Return what the inputs of one part came to."""
    tally, chosen = Tally(), targets.kinds[kind]
    own = zlib.crc32(f"{kind} {seed}".encode())
    for content in drawn(chosen.inputs, 1, own):
        try_input(Tally(), lambda content=content: chosen.act(content), "")  # type: ignore[misc]
        # It is tried again below: what it makes the product import is not its own time.
    while tally.inputs < size:  # a strategy with few values gives each once
        for content in drawn(chosen.inputs, size - tally.inputs, own):
            try_input(tally, lambda content=content: chosen.act(content), repr(content))  # type: ignore[misc]
        own += 1
    return tally


def done_parts(file: Path) -> set[tuple[str, str, str, str]]:
    """Return kind, seed, number and size of the parts that a file has and that did not fail."""
    if not file.exists():
        return set()
    with file.open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["failed"] == "0"]
    return {(row["kind"], row["seed"], row["part"], row["inputs"]) for row in rows}


def append(file: Path, kind: str, seed: int, part: int, tally: Tally) -> None:
    """Add the row of one part, with the revision of the code that it was tried on."""
    is_new = not file.exists()
    with file.open("a", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        if is_new:
            writer.writerow(FIELDS)
        counts = (tally.inputs, tally.refused, tally.answered, len(tally.failures))
        measured = (f"{tally.slowest_s:.1f}", f"{tally.most_mb:.0f}", revision())
        writer.writerow((kind, seed, part, *counts, *measured))


@cache
def revision() -> str:
    """Return the commit of the code, or nothing outside a checkout."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  whichever git the user has
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()
