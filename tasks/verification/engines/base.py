"""The protocol of all engines, and the functions that they share.

An engine turns a level of theory and a structure into an ASE calculator, and what goes wrong into a
class of failure. It reads no environment: its ``location`` says where its program and potentials
are.
"""

import gzip
import hashlib
import re
import shlex
import shutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from tasks.levels import Calculation, LevelOfTheory
from tasks.verification.engines.failures import EngineError, FailureKind, Rung, kind_of

LADDER = (Rung.AS_STATED, Rung.GENTLE_MIXING, Rung.SMEARED_START)
_MESSAGE_LIMIT = 400
_HEAD_CHARACTERS = 20_000  # of an output: where programs say their names
_LAUNCHERS = frozenset({"mpirun", "mpiexec", "srun", "env", "nice"})
_WITHOUT = "or take it out of the command, which then runs on one core"
_LAUNCHERS_FROM = {
    "mpirun": f"apt-get install openmpi-bin, {_WITHOUT}",
    "mpiexec": f"apt-get install openmpi-bin, {_WITHOUT}",
    "srun": f"it comes with Slurm: run the command on that cluster, {_WITHOUT}",
}


@dataclass(frozen=True)
class EngineLocation:
    """Where an engine is on this machine; empty is the program's own default.

    ``potentials`` is a folder, or the one file of a model. ``work`` is where calculations keep
    their steps until they have ended well; without it they work in a temporary folder.
    """

    command: str = ""
    potentials: str = ""
    work: str = ""


@dataclass(frozen=True)
class CalculationJob:
    """One calculation: a structure at a level, in a folder, on a rung of the SCF ladder.

    ``atoms`` are prepared for the engine and carry the magnetic moments that they start from.
    """

    atoms: Atoms
    level: LevelOfTheory
    folder: Path
    rung: Rung = Rung.AS_STATED

    @property
    def calculation(self) -> Calculation:
        """Return the settings that the level states."""
        return self.level.require_calculation()


@dataclass(frozen=True)
class Engine(ABC):
    """A program behind ASE's calculator interface."""

    location: EngineLocation = EngineLocation()

    name: ClassVar[str]  # as a level of theory writes it
    ladder: ClassVar[tuple[Rung, ...]] = LADDER
    functionals: ClassVar[frozenset[str]]
    version_after_run: ClassVar[bool] = False  # True: only its output holds the version
    computes_crystals: ClassVar[bool] = True  # False: it has energies of adslabs alone
    repeats_relaxations: ClassVar[bool] = True  # False: an end at the step limit is its result
    extrapolates: ClassVar[bool] = True  # False: ``energy`` is the free energy under another name
    outputs: ClassVar[tuple[str, ...]] = ()  # text files that it writes, most useful first

    @property
    def command(self) -> str:
        """Return the command that starts its program; nothing where that runs in this process."""
        return ""

    @abstractmethod
    def missing(self) -> str:
        """Return how to make it run here, such as what to install; empty where it can run."""

    @abstractmethod
    def version(self) -> str:
        """Return the program's version; empty where only a calculation's output holds it."""

    @abstractmethod
    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements with potentials at a level, from the files where they are seen."""

    @abstractmethod
    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator for one structure at one level; k-points and spins follow from it."""

    @abstractmethod
    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse a level that this engine cannot compute as it is written."""

    def version_in_output(self, folder: Path) -> str:
        """Return the version that the files of a calculation state, or an empty text."""
        return ""

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of each element's potential, where its file can be seen."""
        return {}

    def check_potentials(self, level: LevelOfTheory, symbols: Iterable[str]) -> None:
        """Refuse potentials whose own header names other ones than the level."""
        return  # most potential files do not state their functional

    def prepared(self, atoms: Atoms) -> Atoms:
        """Return the atoms with the periodicity that this engine needs; the rest stays."""
        return atoms

    def electrons_converged(self, calculator: Calculator, folder: Path) -> bool:
        """Return whether the electrons of the last energy converged; most engines raise instead."""
        return True

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return an exception of the program as a failure with its class."""
        return failure_of(self, error)


def failure_of(engine: Engine, error: Exception, output: str = "") -> EngineError:
    """Return the failure of an exception, classified by its type and the program's ``output``."""
    text = " ".join(f"{error} {output}".split())[:_MESSAGE_LIMIT]
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return EngineError(kind_of(error, output), f"{engine.name} stopped: {message}")


def program_missing(command: str, install: str) -> str:
    """Return how to come by a command's program or its launcher, where one is not found."""
    first, *others = shlex.split(command) or ["its program"]
    if shutil.which(first) is None:
        return f"{first} is not found: {_LAUNCHERS_FROM.get(Path(first).name, install)}"
    if Path(first).name in _LAUNCHERS and not any(map(shutil.which, others)):
        return f"{others[-1] if others else 'its program'} is not found: {install}"
    return ""


def version_in(path: Path, pattern: str) -> str:
    """Return the first group of ``pattern`` in the first lines of a text, or nothing."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD_CHARACTERS)
    except OSError:
        return ""
    match = re.search(pattern, head)
    return match[1] if match else ""


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, unpacked.

    Raises:
        EngineError: the file cannot be read.
    """
    try:
        state = path.stat()
        return _sha256(path, state.st_mtime_ns, state.st_size)
    except (OSError, EOFError, zlib.error) as error:
        raise EngineError(
            FailureKind.MISSING_POTENTIAL,
            f"potential file {path} cannot be read ({error}); mend its permissions or install it "
            "again",
        ) from error


@lru_cache(maxsize=256)
def _sha256(path: Path, changed_ns: int, size: int) -> str:  # a file that changed is read again
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return hashlib.sha256(data).hexdigest()
