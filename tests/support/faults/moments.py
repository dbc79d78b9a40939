"""Moments at which a campaign is disturbed, drawn from a seed and found by watching its database.

A moment is a count that a query has to reach, and a delay after it: nothing rests on how fast a
machine is. Counts are drawn between those that an undisturbed run had before and after a command.
"""

import random
import signal
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Target = Literal["group", "command", "worker", "server"]
LAKE_FILES = "lake files"
_SINCE_START = "start"  # a count that is reached at once


@dataclass(frozen=True)
class Phase:
    """A part of the script: the command it belongs to, the count to watch, the delay after it.

    ``is_end`` waits for the last count that the command reaches, not for any of them.
    """

    name: str
    command: str
    counted: str
    delay_s: float
    weight: float
    is_end: bool = False


# Scoring, recording, promotion and re-scoring have the largest weights.
PHASES = (
    Phase("starting", "screen", _SINCE_START, 1.5, 1),
    Phase("scoring", "screen", "chunks", 0.15, 4),
    Phase("recording", "screen", LAKE_FILES, 0.02, 4),
    Phase("ranking", "screen", "chunks", 0.15, 2, is_end=True),
    Phase("verifying", "verify", "verified", 0.4, 2),
    Phase("promoting", "promote", _SINCE_START, 0.15, 3),
    Phase("starting again", "rescore", _SINCE_START, 1.5, 1),
    Phase("recording again", "rescore", LAKE_FILES, 0.02, 3, is_end=True),
    Phase("ranking again", "rescore", "predictions", 0.15, 3, is_end=True),
    Phase("round begins", "loop", "rounds", 1.5, 2, is_end=True),
    Phase("round verifies", "loop", "verified", 0.4, 2),
    Phase("round ends", "loop", "verified", 0.5, 2, is_end=True),
    Phase("rolling back", "rollback", _SINCE_START, 0.15, 2),
)
QUERIES: Mapping[str, str] = {
    "chunks": "SELECT count(*) FROM chunk",
    "predictions": "SELECT count(*) FROM stored_prediction",
    "verified": "SELECT count(*) FROM queue WHERE state IN ('converged', 'anomalous', 'failed')",
    "rounds": "SELECT count(*) FROM round",
}
Counts = Mapping[str, int]


@dataclass(frozen=True)
class Disturbance:
    """What is done to which processes, once a count of a command is reached and a delay is over."""

    phase: Phase
    count: int
    delay_s: float
    target: Target
    number: int  # of the signal
    pause_s: float  # until the command is given again, or the server started

    @property
    def is_at_start(self) -> bool:
        """Return whether it is due as soon as its command has started."""
        return self.phase.counted == _SINCE_START

    def __str__(self) -> str:
        """Return it in a few words, as the tally holds it."""
        at = self.phase.name
        if self.phase.counted != _SINCE_START:
            at += f" ({self.phase.counted} {self.count})"
        done = "stop" if self.target == "server" else signal.Signals(self.number).name
        return f"{at} +{1000 * self.delay_s:.0f} ms {done} {self.target}"


def draw_disturbances(
    seed: int, counts: Sequence[tuple[str, Counts]], *, with_server: bool
) -> list[Disturbance]:
    """Return one to four disturbances, in the order of the script's commands.

    Args:
        seed: Equal seeds draw equal disturbances.
        counts: Each command of the script with the counts after it in an undisturbed run; the
            first one holds those before the script.
        with_server: Whether a database server may be stopped too.
    """
    rng = random.Random(seed)
    names = [name for name, _ in counts]
    drawn = rng.choices(PHASES, [phase.weight for phase in PHASES], k=rng.randint(1, 4))
    made = [_draw(rng, phase, counts, with_server=with_server) for phase in drawn]
    return sorted(made, key=lambda one: (names.index(one.phase.command), one.count, one.delay_s))


def _draw(
    rng: random.Random, phase: Phase, counts: Sequence[tuple[str, Counts]], *, with_server: bool
) -> Disturbance:
    index = [name for name, _ in counts].index(phase.command)
    before, after = counts[index - 1][1], counts[index][1]
    low, high = before.get(phase.counted, 0), after.get(phase.counted, 0)
    count = high if phase.is_end or low >= high else rng.randint(low + 1, high)
    targets: list[tuple[Target, float]] = [("group", 4), ("command", 3)]
    if phase.command not in ("promote", "rollback"):  # these start none
        targets.append(("worker", 2))
    if with_server:
        targets.append(("server", 3))
    (target,) = rng.choices([t for t, _ in targets], [w for _, w in targets])
    if target == "worker":
        number = signal.SIGKILL
    else:
        (number,) = rng.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [6, 2, 2])
    return Disturbance(
        phase, count, rng.uniform(0, phase.delay_s), target, number, rng.choice([0.0, 0.0, 0.5])
    )


class Watch:
    """Reads counts of a database while a command runs; ``close`` it before another one starts.

    Where there is no database yet, or none that answers, every count is 0.
    """

    def __init__(self, address: str, lake: Path) -> None:
        self._address, self._lake = address, lake
        self._connection: Any = None

    def counts(self) -> dict[str, int]:
        """Return every count."""
        return {name: self.count(name) for name in (*QUERIES, LAKE_FILES)}

    def count(self, name: str) -> int:
        """Return one count."""
        if name == _SINCE_START:
            return 1
        if name == LAKE_FILES:
            return sum(1 for _ in self._lake.rglob("chunk-*.parquet"))
        try:
            self._connection = self._connection or self._connect()
            return int(self._connection.execute(QUERIES[name]).fetchone()[0])
        except self._errors():
            self.close()
            return 0

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(*self._errors()):
            if self._connection is not None:
                self._connection.close()
        self._connection = None

    @property
    def _is_file(self) -> bool:
        return "://" not in self._address

    def _errors(self) -> tuple[type[Exception], ...]:
        if self._is_file:
            return (sqlite3.Error,)
        import psycopg  # only where a server is used

        return (psycopg.Error,)

    def _connect(self) -> Any:
        if self._is_file:
            return sqlite3.connect(f"file:{self._address}?mode=ro", uri=True, timeout=0)
        import psycopg

        return psycopg.connect(self._address, autocommit=True, connect_timeout=2)
