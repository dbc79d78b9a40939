"""Published adsorption sets as labelled frames: which file, which level, whose licence.

Energies are eV, relative to the references of the level each set is named with.
"""

import io
import lzma
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from ase import Atoms
from ase.io import iread
from pymatgen.core.composition import Composition

from tasks.enumeration import Miller
from tasks.errors import UserError

Form = Literal["initial", "relaxed", "clean", "text"]
NO_LICENCE = "-"

_FACET = re.compile(r"\((-?\d) ?(-?\d) ?(-?\d)? ?(-?\d)\)\Z")


@dataclass(frozen=True)
class SetSpec:
    """One published set: its file, its level of theory, its licence and what it holds.

    ``form`` is ``initial`` (placements, with their relaxed ends in ``ends`` where that file is
    named), ``relaxed`` adslabs, ``clean`` relaxed slabs with the lowest energy of an adsorbate on
    them, or ``text`` alone. ``adsorbate_tag`` marks adsorbate atoms; without it they are the H, C,
    N, O and S atoms.
    """

    name: str
    file: str
    level: str
    form: Form
    licence: str
    functional: str
    reference: str
    ends: str = ""
    adsorbate_tag: int | None = None
    names: Literal["species", "formula"] = "species"  # what a frame calls its adsorbate by
    group: str = "surface"  # what a frame calls the surface that splits keep together

    @property
    def ships(self) -> bool:
        """Return whether weights trained on the set may be published."""
        return self.licence != NO_LICENCE


# What a shipped checkpoint is trained on.
SETS = (
    SetSpec(
        "fg",
        "fg_initial.extxyz.xz",
        "pbe-d2-molecule",
        "initial",
        "MIT",
        "PBE+D2",
        "the gas molecule",
        ends="fg_relaxed.extxyz.xz",
        names="formula",
    ),
    SetSpec(
        "wwl_simple",
        "wwl_simple.extxyz.xz",
        "beef-vdw-ch4",
        "relaxed",
        "MIT",
        "BEEF-vdW",
        "CH4, H2O, H2",
    ),
    SetSpec(
        "wwl_oxygenates",
        "wwl_oxygenates.extxyz.xz",
        "beef-vdw-co",
        "relaxed",
        "MIT",
        "BEEF-vdW",
        "CO, H2O, H2",
    ),
)
# What benchmarks are run on beside them; each is a level of its own.
BENCHMARKS = (
    SetSpec(
        "alloy_gmae",
        "alloy_gmae.extxyz.xz",
        "beef-vdw-gmae",
        "clean",
        NO_LICENCE,
        "BEEF-vdW",
        "CH4, H2O, H2, N2, H2S; lowest energy over the sites of a surface",
    ),
    SetSpec(
        "oc20_text",
        "oc20_text.parquet",
        "rpbe-oc20",
        "text",
        "CC-BY-4.0",
        "RPBE",
        "CO, H2O, H2, N2",
    ),
    SetSpec(
        "gaspy_oh",
        "gaspy_oh.extxyz.xz",
        "rpbe-gaspy-oh",
        "relaxed",
        NO_LICENCE,
        "RPBE",
        "H2O, H2",
        adsorbate_tag=1,
        group="group",
    ),
    SetSpec(
        "hea_orr",
        "hea_orr.extxyz.xz",
        "rpbe-hea-orr",
        "relaxed",
        NO_LICENCE,
        "RPBE",
        "the same adsorbate on Pt(111)",
        adsorbate_tag=0,
    ),
)


@dataclass(frozen=True)
class LabelledStructure:
    """One labelled structure as its set stores it; ``adsorbate`` is the species as texts name it.

    ``group`` is the surface that a split keeps on one side. ``end`` is the relaxed structure of a
    frame that starts unrelaxed, where the set has it.
    """

    uid: str
    set: str
    level: str
    adsorbate: str
    surface: str
    miller: Miller
    energy_ev: float
    fold: int
    atoms: Atoms
    group: str = ""
    end: Atoms | None = None


def sets_by_name(names: Sequence[str], among: Sequence[SetSpec]) -> list[SetSpec]:
    """Return the sets called ``names`` in the order of ``among``; an unknown name is an error."""
    known = [spec.name for spec in among]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"sets are {', '.join(known)}; got {', '.join(unknown)}")
    return [spec for spec in among if spec.name in names]


def read_frames(folder: Path, spec: SetSpec) -> Iterator[LabelledStructure]:
    """Yield the frames of one set of structures in file order."""
    ends = {}
    if spec.ends:
        ends = {str(atoms.info["uid"]): atoms for atoms in _structures(folder / spec.ends, spec)}
    for atoms in _structures(folder / spec.file, spec):
        yield _frame(atoms, spec, ends.get(str(atoms.info["uid"])))


def read_records(folder: Path, spec: SetSpec) -> list[dict[str, object]]:
    """Return the rows of one set that is a table, in file order."""
    path = folder / spec.file
    try:
        records: list[dict[str, object]] = pq.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise UserError(f"the set {spec.name} cannot be read from {path}: {error}") from error
    return records


def miller_from_facet(facet: str) -> Miller:
    """Return three indices of a facet such as ``(211)``, ``(1 1 1)`` or ``(0001)``."""
    match = _FACET.match(facet.strip())
    if match is None:
        raise UserError(f"a facet is written (hkl) or (hkil), got {facet!r}")
    h, k, _, last = match.groups()
    return int(h), int(k), int(last)


def _structures(path: Path, spec: SetSpec) -> Iterator[Atoms]:
    try:
        # The reader seeks, and each step back in a compressed file starts again at its beginning.
        with lzma.open(path, "rt") as file:
            text = io.StringIO(file.read())
        yield from iread(text, format="extxyz", index=":")
    except (OSError, lzma.LZMAError) as error:
        raise UserError(f"the set {spec.name} cannot be read from {path}: {error}") from error


def _frame(atoms: Atoms, spec: SetSpec, end: Atoms | None) -> LabelledStructure:
    info = atoms.info
    surface, facet = str(info["surface"]), str(info["facet"])
    return LabelledStructure(
        uid=str(info["uid"]),
        set=spec.name,
        level=spec.level,
        adsorbate=str(info["adsorbate"]).partition("[")[0],
        surface=surface,
        miller=miller_from_facet(_own_facet(facet, surface)),
        energy_ev=float(info["e_ads"]),
        fold=int(info["fold"]),
        atoms=atoms,
        group=str(info[spec.group]),
        end=end,
    )


def _own_facet(facet: str, surface: str) -> str:
    """Return the facet of one surface where the set names those of A3B and of AB alloys.

    Mamun et al. 2019 (Sci. Data 6, 76) cut A3B (L1_2) alloys at (111) and AB (L1_0) ones at (101).
    """
    cubic, _, tetragonal = facet.partition("/")
    if not tetragonal:
        return facet
    counts = list(Composition(surface).reduced_composition.values())
    return tetragonal if counts == [1.0, 1.0] else cubic
