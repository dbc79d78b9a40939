"""The one protocol behind which every engine stands, and what engines share.

An engine turns a level of theory and a structure into an ASE calculator, and what goes wrong into a
class of failure. It reads no environment: where its program and potentials lie is told to it.
"""

import gzip
import hashlib
import re
import shlex
import shutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from tasks.errors import UserError
from tasks.levels.calculation import Calculation
from tasks.levels.theory import LevelOfTheory
from tasks.verification.engines.failures import EngineError, FailureKind, Rung, kind_of

LADDER = (Rung.AS_STATED, Rung.GENTLE_MIXING, Rung.SMEARED_START)
_MESSAGE_LIMIT = 400
_HEAD_CHARACTERS = 20_000  # of an output: where programs say their names
DFT_SETTINGS = (
    *("basis", "kpoints", "smearing", "scf", "gas_vacuum_ang", "potentials", "spin", "dipole"),
    *("dispersion", "keywords"),
)
_DFT_PARTS = ("basis", "kpoints", "smearing", "scf", "gas_vacuum_ang")
_LAUNCHERS = frozenset({"mpirun", "mpiexec", "srun", "env", "nice"})


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
        """Return what the level states."""
        return self.level.require_calculation()


@dataclass(frozen=True)
class Engine(ABC):
    """A program behind ASE's calculator interface."""

    location: EngineLocation = EngineLocation()

    name: ClassVar[str]  # as a level of theory writes it
    ladder: ClassVar[tuple[Rung, ...]] = LADDER
    functionals: ClassVar[frozenset[str]]
    version_after_run: ClassVar[bool] = False  # True: what a calculation leaves tells the version
    computes_crystals: ClassVar[bool] = True  # False: it answers for what it was told of alone
    extrapolates: ClassVar[bool] = True  # False: ``energy`` is the free energy under another name
    outputs: ClassVar[tuple[str, ...]] = ()  # texts that it leaves, the most telling first

    @property
    def command(self) -> str:
        """Return the command that starts its program; nothing where that runs in this process."""
        return ""

    @abstractmethod
    def missing(self) -> str:
        """Return what to install or set before it can run here, or nothing."""

    @abstractmethod
    def version(self) -> str:
        """Return the program's version, or nothing where only a calculation tells."""

    @abstractmethod
    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements with potentials at a level, from the files where they are seen."""

    @abstractmethod
    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator for one structure at one level; k-points and spins follow from it."""

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse a level that this engine cannot compute as it is written."""
        require_functional(self, level)
        require_energy_key(self, level)

    def version_in_output(self, folder: Path) -> str:
        """Return the version that the files of a calculation tell, or nothing."""
        return ""

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of each element's potential, where its file can be seen."""
        return {}

    def check_potentials(self, level: LevelOfTheory, symbols: Iterable[str]) -> None:
        """Refuse potentials of elements that by their own word are not of the level."""
        return  # most files do not tell

    def prepared(self, atoms: Atoms) -> Atoms:
        """Return the atoms as this engine wants their borders; positions and species stay."""
        return atoms

    def electrons_converged(self, calculator: Calculator, folder: Path) -> bool:
        """Return whether the last energy is of converged electrons; most raise where it is not."""
        return True

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return an exception of the program as a failure with its class."""
        return failure_of(self, error)


def failure_of(engine: Engine, error: Exception, words: str = "") -> EngineError:
    """Return the failure of an exception as the words and its type tell."""
    told = " ".join(f"{error} {words}".split())[:_MESSAGE_LIMIT]
    said = f"{type(error).__name__}: {told}" if told else type(error).__name__
    return EngineError(kind_of(error, words), f"{engine.name} stopped: {said}")


def require_functional(engine: Engine, level: LevelOfTheory) -> None:
    """Refuse a functional that the engine's module does not translate."""
    if level.functional not in engine.functionals:
        raise UserError(
            f"engine {engine.name} computes {', '.join(sorted(engine.functionals))}; level "
            f"{level.name} states {level.functional}; change one of the two"
        )


def require_energy_key(engine: Engine, level: LevelOfTheory) -> None:
    """Refuse the extrapolated energy of a program whose calculator does not give it."""
    if level.require_calculation().energy_key == "energy" and not engine.extrapolates:
        raise UserError(
            f"{engine.name} gives the free energy alone, level {level.name} states energy_key: "
            "energy (extrapolated to zero smearing); write energy_key: free_energy"
        )


def require_version(engine: Engine, level: LevelOfTheory, version: str, kind: FailureKind) -> None:
    """Refuse a version of the program that the level excludes, as a failure of ``kind``."""
    policy = level.require_calculation().engine_version
    if not obeys(version, policy):
        raise EngineError(
            kind,
            f"level {level.name} is computed with {engine.name} {policy}, found "
            f"{version or 'a version that it does not tell'}; install one of these, or make a "
            "level of your own with another engine_version",
        )


def require_parts(engine: Engine, level: LevelOfTheory, *more: str) -> None:
    """Refuse a level that leaves out what every program of density functionals needs, or more."""
    for name in (*_DFT_PARTS, *more):
        if getattr(level.require_calculation(), name) is None:
            raise UserError(
                f"engine {engine.name} needs {name}, which level {level.name} leaves out; state it"
            )


def require_read(engine: Engine, level: LevelOfTheory, *read: str) -> None:
    """Refuse what a level states and the engine does not read: it would be believed."""
    idle = [name for name in _stated(level.require_calculation()) if name not in read]
    if idle:
        raise UserError(
            f"engine {engine.name} does not read {', '.join(idle)}, which level {level.name} "
            "states; leave it out"
        )


def _stated(calculation: Calculation) -> list[str]:
    """Return the settings that are stated and that some engines have and others have not."""
    basis, potentials = calculation.basis, calculation.potentials
    values: dict[str, object] = {
        **{name: getattr(calculation, name) for name in _DFT_PARTS},
        "basis.density_cutoff_ev": basis and basis.density_cutoff_ev,
        "basis.grid_ang": basis and basis.grid_ang,
        "basis.name": basis and basis.name,
        "potentials": potentials,
        "potentials.files": potentials and potentials.files,
        "potentials.kinds": potentials and potentials.kinds,
        "spin": calculation.spin.policy != "none",
        "dipole": calculation.dipole != "none",
        "dispersion": calculation.dispersion != "none",
        "keywords": calculation.keywords,
    }
    return [name for name, value in values.items() if value]


def require_dispersion(engine: Engine, level: LevelOfTheory, offered: Iterable[str]) -> None:
    """Refuse a dispersion correction that the engine's module does not translate."""
    kinds = ("none", *offered)
    if level.require_calculation().dispersion not in kinds:
        raise UserError(
            f"engine {engine.name} computes dispersion {', '.join(kinds)}; level {level.name} "
            f"states {level.require_calculation().dispersion}; change it"
        )


def require_free_keywords(engine: Engine, level: LevelOfTheory, taken: Iterable[str]) -> None:
    """Refuse keywords that the level states in its own words, or that falsify energies."""
    clash = sorted({key.lower() for key in level.require_calculation().keywords} & set(taken))
    if clash:
        raise UserError(
            f"level {level.name}: keywords of {engine.name} must not be {', '.join(clash)}: they "
            "are set from what the level states, or would let wrong energies pass; remove them"
        )


def program_missing(command: str, install: str) -> str:
    """Return what to install where the program of a command, or what launches it, is not found."""
    first, *others = shlex.split(command) or ["its program"]
    if shutil.which(first) is None:
        return f"{first} is not found: {install}"
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
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return hashlib.sha256(data).hexdigest()


def obeys(version: str, policy: str) -> bool:
    """Return whether a version such as ``7.2`` lies in bounds such as ``>=6.7,<8``."""
    tests: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        "==": lambda a, b: a[: len(b)] == b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
    bounds = [] if policy == "any" else [_bound(text, policy) for text in policy.split(",")]
    return all(tests[sign](_numbers(version), _numbers(bound)) for sign, bound in bounds)


def _bound(text: str, policy: str) -> tuple[str, str]:
    """Return the sign and the version of one bound."""
    match = re.fullmatch(r"\s*(>=|<=|==|>|<)\s*(\d+(?:\.\d+)*)\s*", text)
    if match is None:
        raise UserError(f"an engine version is any, or bounds such as >=26.7,<27; got {policy!r}")
    return match[1], match[2]


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
