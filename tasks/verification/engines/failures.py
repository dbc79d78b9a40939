"""Kinds of failure of a calculation; the queue has a policy of retries for each."""

import re
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tasks.errors import UserError


class FailureKind(StrEnum):
    """Why a calculation gave no energy."""

    BAD_INPUT = "bad_input"  # the structure or the settings; never tried again
    MISSING_POTENTIAL = "missing_potential"  # no setup or pseudopotential of an element
    NOT_INSTALLED = "not_installed"  # the program or its settings are not on this machine
    SCF_NOT_CONVERGED = "scf_not_converged"  # the electrons, after every rung of the ladder
    IONS_NOT_CONVERGED = "ions_not_converged"  # a step limit
    OUT_OF_MEMORY = "out_of_memory"
    WALL_LIMIT = "wall_limit"  # stopped by the clock, to go on later
    NUMERICAL = "numerical"  # energies or forces that are not numbers, or absurd
    KILLED = "killed"  # a signal, or the work folder went away
    ENGINE = "engine"  # the program itself stopped, for a reason of its own


class Rung(StrEnum):
    """Ways to converge electrons, tried in this order; none changes the converged energy."""

    AS_STATED = "as stated"
    GENTLE_MIXING = "gentle mixing"  # and three times the steps
    SMEARED_START = "smeared start"  # ends at the level's own smearing


@dataclass(frozen=True)
class ScfTry:
    """One try at converging the electrons; ``kind`` is None where it worked."""

    rung: Rung
    kind: FailureKind | None = None
    message: str = ""

    def __str__(self) -> str:
        """Return the try as it is recorded."""
        return f"{self.rung}: {self.kind or 'converged'} {self.message}".strip()


class EngineError(UserError):
    """A calculation that gave no usable energy: its class of failure, and every try made."""

    def __init__(self, kind: FailureKind, message: str, tries: tuple[ScfTry, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.tries = tries

    def __reduce__(self) -> tuple[type["EngineError"], tuple[FailureKind, str, tuple[ScfTry, ...]]]:
        return EngineError, (self.kind, str(self), self.tries)  # workers send it pickled


_PATTERNS = (  # text of programs and batch systems; the first match counts
    (
        FailureKind.OUT_OF_MEMORY,
        r"out of memory|cannot allocate memory|bad_alloc|oom[-_ ]kill|insufficient virtual memory"
        r"|unable to allocate|memory allocation (failed|error)|not enough memory",
    ),
    (
        FailureKind.WALL_LIMIT,
        r"due to time limit|maximum cpu time exceeded|walltime|wall clock limit"
        r"|not requeued because: timed-out",
    ),
    (
        FailureKind.KILLED,  # a shell reports a signal as 128 plus its number
        r"sigkill|sigterm|signal (9|15)\b|killed by|returned an error: (137|143|-9|-15)\b",
    ),
)
_KILLING_SHELL_STATUS = (137, 143)  # 128 + SIGKILL, 128 + SIGTERM
_STATES = {  # of a job that ended and left no result, as Slurm calls them
    "TIMEOUT": FailureKind.WALL_LIMIT,
    "DEADLINE": FailureKind.WALL_LIMIT,
    "OUT_OF_MEMORY": FailureKind.OUT_OF_MEMORY,
    "BOOT_FAIL": FailureKind.KILLED,
    "CANCELLED": FailureKind.KILLED,
    "COMPLETED": FailureKind.KILLED,
    "FAILED": FailureKind.KILLED,
    "NODE_FAIL": FailureKind.KILLED,
    "PREEMPTED": FailureKind.KILLED,
    "REVOKED": FailureKind.KILLED,
}


def kind_of_state(state: str) -> FailureKind | None:
    """Return the failure of a batch job without result by its last state; None if it still runs.

    Slurm adds to some states who did it (``CANCELLED by 1000``) or a plus sign.
    """
    words = state.upper().split()
    return _STATES.get(words[0].rstrip("+")) if words else None


def kind_in_output(text: str) -> FailureKind | None:
    """Return the kind of failure that a program's output shows, or None."""
    for kind, pattern in _PATTERNS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return None


def kind_of(error: BaseException, output: str = "") -> FailureKind:
    """Return the kind of failure of an exception; ``output`` is the end of the program's."""
    if isinstance(error, EngineError):
        return error.kind
    if isinstance(error, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    shown = kind_in_output(f"{error} {output}")
    if shown is not None:
        return shown
    if isinstance(error, subprocess.CalledProcessError):
        killed = error.returncode < 0 or error.returncode in _KILLING_SHELL_STATUS
        return FailureKind.KILLED if killed else FailureKind.ENGINE
    if isinstance(error, FloatingPointError | ZeroDivisionError | OverflowError):
        return FailureKind.NUMERICAL
    return FailureKind.ENGINE


def last_lines(path: Path, lines: int = 12) -> str:
    """Return the last lines of a file in one line; empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " ".join(" ".join(text.splitlines()[-lines:]).split())
