"""Potentials of one checkpoint file that is unpickled: what their engines share.

The file is loaded in the process that computes, once for each level, and only where its whole
SHA-256 stands in the level. Packages are imported then: that takes seconds.

A checkpoint of several data sets answers for the one that the level's ``keywords`` name. State in
``trained_on`` all of them: what one of them learnt of U reaches the others.
"""

import importlib.metadata
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, chemical_symbols

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, Setting
from tasks.verification.engines.base import CalculationJob
from tasks.verification.engines.failures import EngineError, FailureKind
from tasks.verification.engines.potentials.universal import (
    MODEL,
    UniversalPotential,
    stated_model,
)

# Of Materials Project, and so of MPtrj, sAlex, OMat24, MatPES and UMA: no Po, At, Rn, Fr and Ra,
# and nothing beyond plutonium.
_ELEMENTS = frozenset([*chemical_symbols[1:84], *chemical_symbols[89:95]])


@dataclass(frozen=True)
class CheckpointPotential(UniversalPotential):
    """A model in one file, which ``potentials`` of its location names."""

    unpickles: ClassVar[bool] = True
    functionals: ClassVar[frozenset[str]] = frozenset({"PBE", "PBEsol", "RPBE", "r2SCAN"})
    package: ClassVar[str]  # as it is imported
    distribution: ClassVar[str]  # as it is installed
    install: ClassVar[str]  # what pip installs
    variable: ClassVar[str]  # that names the file
    setting: ClassVar[str] = ""  # the keyword that chooses one of several data sets of a file

    def missing(self) -> str:
        """Return what to install or set before it can run; empty where it can."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed: pip install {self.install}"
        if not self.model_files():
            return f"no checkpoint: set {self.variable} to the file of a model"
        return ""

    def version(self) -> str:
        """Return the package's version, or nothing where it was not installed as a package."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements of the usual data; what a file itself knows shows when it loads."""
        return _ELEMENTS

    def model_files(self) -> tuple[Path, ...]:
        """Return the checkpoint, which holds the potentials of all elements."""
        path = Path(self.location.potentials or "-")
        return (path,) if path.is_file() else ()

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse what every universal potential refuses, and keywords that choose no data set."""
        super().check_level(level)
        others = sorted(set(level.require_calculation().keywords) - {self.setting})
        if others:
            raise UserError(
                f"of keywords {self.name} reads {self.setting} alone, level {level.name} states "
                f"{', '.join(others)}; leave it out"
            )

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator around the one checkpoint that this process has loaded.

        Args:
            job: The structure, whose elements the checkpoint must know, and its level.

        Returns:
            A calculator for structures of these elements.

        Raises:
            EngineError: the file is not the level's, answers for other data than the level names,
                or knows fewer elements than the usual data; or its package cannot be imported.
        """
        self.require_stated_file(job.level)
        settings = tuple(sorted(job.calculation.keywords.items()))
        try:
            made = _loaded(self, stated_model(job.level).checksums[MODEL], settings)
        except ImportError as error:  # the package is there, and something that it needs is not
            raise EngineError(
                FailureKind.NOT_INSTALLED,
                f"{self.package} cannot be imported: {error}; pip install {self.install}",
            ) from error
        known = self.numbers_of(made)
        lacking = sorted({*job.atoms.get_chemical_symbols()} - {chemical_symbols[n] for n in known})
        if lacking:
            raise EngineError(
                FailureKind.MISSING_POTENTIAL,
                f"engine {self.name} has no potential for {', '.join(lacking)}: the checkpoint "
                f"{self.location.potentials} knows {len(known)} other elements",
            )
        return made

    @abstractmethod
    def load(self, keywords: Mapping[str, Setting]) -> Calculator:
        """Return a calculator of the file, whose hash has been compared."""

    def numbers_of(self, made: Calculator) -> Collection[int]:
        """Return the atomic numbers that a loaded model knows."""
        return [atomic_numbers[symbol] for symbol in _ELEMENTS]

    def require_choice(self, chosen: Setting | None, offered: Collection[str]) -> None:
        """Refuse a level that names none, or another, of the data sets of a checkpoint."""
        if chosen in offered or (chosen is None and len(offered) < 2):
            return
        way_out = f"write keywords: {{{self.setting}: NAME}}" if offered else "leave it out"
        raise EngineError(
            FailureKind.NOT_INSTALLED,
            f"the checkpoint {self.location.potentials} of {self.name} answers for "
            f"{', '.join(offered) or 'one data set'}, and the level states "
            f"{self.setting} {chosen or 'not at all'}; {way_out}",
        )


@lru_cache(maxsize=1)  # a worker computes at one level
def _loaded(
    engine: CheckpointPotential, sha256: str, keywords: tuple[tuple[str, Setting], ...]
) -> Calculator:
    return engine.load(dict(keywords))
