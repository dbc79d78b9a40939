"""Published adsorption sets as labelled frames: which file, which level, whose licence.

Energies are eV, relative to the references of the level each set is named with.
"""

import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.io import iread

from tasks.errors import UserError
from tasks.lattice_planes import Miller

_FACET = re.compile(r"\((-?\d)(-?\d)(-?\d)?(-?\d)\)\Z")


@dataclass(frozen=True)
class SetSpec:
    """One published set: its file, its level of theory and whether its geometries are relaxed."""

    name: str
    file: str
    level: str
    relaxed: bool


# MIT-licensed sets only: what a shipped checkpoint is trained on.
SETS = (
    SetSpec("fg", "fg_initial.extxyz.xz", "pbe-d2-molecule", relaxed=False),
    SetSpec("wwl_simple", "wwl_simple.extxyz.xz", "beef-vdw-ch4", relaxed=True),
    SetSpec("wwl_oxygenates", "wwl_oxygenates.extxyz.xz", "beef-vdw-co", relaxed=True),
)


@dataclass(frozen=True)
class Frame:
    """One labelled adslab as its set stores it; ``adsorbate`` is the species as texts name it."""

    uid: str
    set: str
    level: str
    adsorbate: str
    surface: str
    miller: Miller
    energy_ev: float
    fold: int
    atoms: Atoms


def read_frames(folder: Path, spec: SetSpec) -> Iterator[Frame]:
    """Yield the frames of one set in file order."""
    path = folder / spec.file
    try:
        with lzma.open(path, "rt") as file:
            for atoms in iread(file, format="extxyz", index=":"):
                yield _frame(atoms, spec)
    except (OSError, lzma.LZMAError) as error:
        raise UserError(f"the set {spec.name} cannot be read from {path}: {error}") from error


def miller_of(facet: str) -> Miller:
    """Return three indices of a facet such as ``(211)`` or ``(0001)``."""
    match = _FACET.match(facet.strip())
    if match is None:
        raise UserError(f"a facet is written (hkl) or (hkil), got {facet!r}")
    h, k, _, last = match.groups()
    return int(h), int(k), int(last)


def _frame(atoms: Atoms, spec: SetSpec) -> Frame:
    info = atoms.info
    return Frame(
        uid=str(info["uid"]),
        set=spec.name,
        level=spec.level,
        adsorbate=str(info["adsorbate"]).partition("[")[0],
        surface=str(info["surface"]),
        miller=miller_of(str(info["facet"])),
        energy_ev=float(info["e_ads"]),
        fold=int(info["fold"]),
        atoms=atoms,
    )
