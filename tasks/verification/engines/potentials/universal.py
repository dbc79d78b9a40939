"""Universal potentials: one trained model for many elements, and where its data forbid its use.

A level states which model it is by the SHA-256 of its files, and what it was trained on:

    potentials: {family: diep_fold1, trained_on: MatPES, checksums: {model: ...}}

Some data (``WITH_U``) add U to eight metals in cells that hold oxygen or fluorine, and leave it out
in cells without. In a potential that learnt them an O-bearing adslab has the energy of a metal with
U and its clean slab that of one without: their difference is wrong by 4 to 15 eV. Other data than
those of ``WITHOUT_U`` may be such. The rule goes by elements alone: oxides of these metals, whose
slabs have U on both sides, are refused too: no level of such a model has one functional for all.

Source  Wang, Maxisch, Ceder 2006, Phys. Rev. B 73, 195107 (the values of U and their metals);
        Jain et al. 2011, Phys. Rev. B 84, 045115 (mixing energies with and without U).
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, Potentials
from tasks.verification.engines.base import Engine, content_sha256
from tasks.verification.engines.failures import EngineError, FailureKind, Rung
from tasks.verification.engines.requirements import require_all_read, require_functional

_SHA256_DIGITS = 64
MODEL = "model"  # under which a level states its checksum
WITHOUT_U = ("MatPES", "OC20", "OC25")
WITH_U = ("MPtrj", "sAlex", "OMat24", "OC22")
U_METALS = frozenset({"Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"})
U_ANIONS = frozenset({"O", "F"})
_EXAMPLES = {
    "diep": ("diep_fold1", "MatPES"),
    "fairchem": ("uma-s-1p1", "OC20"),
    "mace": ("mace-matpes-r2scan-0", "MatPES"),
    "sevenn": ("7net-0", "MPtrj"),
    "chgnet": ("chgnet-0.3.0", "MPtrj"),
}


@dataclass(frozen=True)
class UniversalPotential(Engine):
    """What engines of one trained model share."""

    ladder: ClassVar[tuple[Rung, ...]] = (Rung.AS_STATED,)
    repeats_relaxations: ClassVar[bool] = False  # its forces are no smoother the second time
    unpickles: ClassVar[bool] = False  # True: whoever wrote its file runs code when it is loaded
    reads: ClassVar[tuple[str, ...]] = ()  # settings beside the model and the cell of molecules

    @abstractmethod
    def model_files(self) -> tuple[Path, ...]:
        """Return the files that the model is read from, none where one is missing."""

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse a level without the model's checksum or data, or with others' settings."""
        require_functional(self, level)
        require_all_read(self, level, "potentials", "gas_vacuum_ang", *self.reads)
        stated = stated_model(level)
        if self.unpickles and len(stated.checksums[MODEL]) < _SHA256_DIGITS:
            found = self.checksums(level, ()).get(MODEL, "")
            raise UserError(
                f"{self.name} unpickles its checkpoint, so level {level.name} must state all "
                f"{_SHA256_DIGITS} digits of the SHA-256 of a file that you trust, got "
                f"{stated.checksums[MODEL]}; write potentials.checksums: {{{MODEL}: "
                f"{found or '...'}}}"
            )

    def require_stated_file(self, level: LevelOfTheory) -> None:
        """Refuse a model that is not the level's, by the bytes on disk; call it before loading.

        Raises:
            UserError: the level does not state the whole hash.
            EngineError: the hash is another one.
        """
        self.check_level(level)
        stated = stated_model(level).checksums[MODEL]
        for file in self.model_files():
            found = sha256(file.read_bytes()).hexdigest()
            if found != stated:
                raise EngineError(
                    FailureKind.NOT_INSTALLED,
                    f"{self.name} unpickles only the file whose SHA-256 level {level.name} states, "
                    f"{stated}; {file} has {found}: write that into potentials.checksums if you "
                    "trust the file",
                )

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of the model; of several files that of their SHA-256 in order."""
        found = [content_sha256(file) for file in self.model_files()]
        if len(found) > 1:
            found = [sha256("".join(found).encode()).hexdigest()]
        return {MODEL: found[0]} if found else {}

    def check_potentials(self, level: LevelOfTheory, symbols: Iterable[str]) -> None:
        """Refuse a level that does not say what its model was trained on."""
        stated_model(level)


def hubbard_fault(level: LevelOfTheory, symbols: Iterable[str]) -> str:
    """Return why a level's model cannot know a structure of these elements, or nothing.

    Args:
        level: Any level; one that states no data of a model, as those of DFT, has no such fault.
        symbols: The elements of adsorbate and slab together.

    Returns:
        One line with the way out; empty where the data add no U to these elements.
    """
    stated = level.calculation and level.calculation.potentials
    metals, anions = U_METALS & set(symbols), U_ANIONS & set(symbols)
    if not stated or stated.trained_on in ("", *WITHOUT_U) or not metals or not anions:
        return ""
    adds = "adds U" if stated.trained_on in WITH_U else "is not known to be without U: it may add U"
    return (
        f"level {level.name} ({stated.family}) was trained on {stated.trained_on}, which {adds} to "
        f"{', '.join(sorted(metals))} as soon as there is {', '.join(sorted(anions))}: energies of "
        "such adsorbates are then wrong by 4 to 15 eV; use a potential of "
        f"{', '.join(WITHOUT_U)}, such as diep-r2scan, or other elements"
    )


def stated_model(level: LevelOfTheory) -> Potentials:
    """Return what a level states of its model.

    Raises:
        UserError: it leaves out the checksum of the weights, or the data.
    """
    stated = level.require_calculation().potentials
    if stated is None or MODEL not in stated.checksums:
        family, data = _EXAMPLES.get(level.engine, ("NAME", "DATA"))
        raise UserError(
            f"level {level.name} must state which model it is: potentials: {{family: {family}, "
            f"trained_on: {data}, checksums: {{{MODEL}: ...}}}} with the SHA-256 of its weights"
        )
    if not stated.trained_on:
        known = ", ".join((*WITHOUT_U, *WITH_U))
        raise UserError(
            f"level {level.name} must state what its model was trained on, since some data add U "
            f"to metals beside oxygen; write potentials.trained_on: {known}, or other"
        )
    return stated
