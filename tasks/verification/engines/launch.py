"""Start an engine's program on MPI ranks, and give ranks and libraries their threads.

An engine that runs inside the worker's own process has no command and is not changed.
"""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from tasks.levels import LevelOfTheory
from tasks.verification.engines.base import EngineLocation
from tasks.verification.engines.registry import EngineLocations, located_engine

LAUNCHER = "mpirun -n {ranks}"
_MPI = frozenset({"mpirun", "mpiexec", "srun"})
# Each library reads its own variable, once, when it is loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def shell_words(command: str, name: str) -> list[str]:
    """Return the words of a command as a shell splits it.

    Args:
        command: A program with its arguments; it may be empty.
        name: Where it was read, for the message.

    Raises:
        ValueError: a quotation does not end.
    """
    try:
        return shlex.split(command)
    except ValueError as fault:
        raise ValueError(
            f"{name} is a command that a shell can split into words, got {command!r} ({fault}); "
            "close its quotation"
        ) from None


def with_ranks(
    locations: EngineLocations | None, level: LevelOfTheory, ranks: int, launcher: str = LAUNCHER
) -> EngineLocations:
    """Return the locations with the program of the level's engine on ``ranks`` ranks.

    ``{ranks}`` in a command is filled in; a command that names a launcher already is not changed;
    a serial calculation starts the program without a launcher.
    """
    locations = locations or {}
    command = located_engine(level, locations).command
    words = shlex.split(command)
    if "{ranks}" in command:
        command = command.replace("{ranks}", str(ranks))
    elif ranks > 1 and words and not any(Path(word).name in _MPI for word in words):
        command = f"{launcher.replace('{ranks}', str(ranks))} {command}"
    else:
        return locations
    location = locations.get(level.engine, EngineLocation())
    return {**locations, level.engine: replace(location, command=command)}


def missing_launcher(
    level: LevelOfTheory, locations: EngineLocations | None, launcher: str = LAUNCHER
) -> str:
    """Return the program by which ``with_ranks`` starts several ranks, where it is not found here.

    That is nothing for an engine inside the worker's process, and for a command that names a
    launcher of its own, which the engine itself looks for.
    """
    words = shlex.split(located_engine(level, locations).command)
    own = any(Path(word).name in _MPI or "{ranks}" in word for word in words)
    program, *_ = shlex.split(launcher)
    return program if words and not own and shutil.which(program) is None else ""


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that numerical libraries take their number of threads from.

    Without it every process takes all cores of the machine for itself.
    """
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))
