"""The rows of a source of labels: tables, extxyz, ASE databases, outputs of programs, folders.

A row is one structure with an energy and what its source says of it. Rows that cannot be read are
refused with a reason ``rule: values``, as all that is refused later. Sizes are bounded, and nothing
that is read here unpickles or executes.

Units   eV, Å.
"""

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Error as SQLiteError
from sqlite3 import connect as connect_sqlite
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io.formats import UnknownFileTypeError, filetype

from tasks.errors import Refusal, UserError, first_line
from tasks.structures.files.cif_blocks import UnreadStructure
from tasks.structures.files.structure_files import read_structures

Role = Literal["adslab", "slab", "gas", ""]
MOST_ROWS = 200_000
_MOST_FILES = 20_000
_MOST_BYTES = 64 * 2**20
_OUTPUTS = ("vasp-xml", "vasp-out", "espresso-out", "gpaw-out", "traj", "extxyz")
# Of two outputs of one calculation the one that states most is read.
_VASP_XML, _VASP_OUT = "vasp-xml", "vasp-out"
_SQLITE = b"SQLite format 3\0"
_ENERGY = ("energy_ev", "e_ads", "energy")
_NAMES = ("adsorbate", "miller", "bulk", "level")
_YES, _NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
ENERGY_RULE = "energies are in eV"


@dataclass(frozen=True, eq=False)
class SourceRow:
    """One structure of a source and what is said of it; ``source`` says where it stands.

    ``energy_ev`` is total or of adsorption, as the import states; ``fmax_ev_ang`` is the largest
    force on the atoms that are free, None where none are given. ``start`` is where the relaxation
    began, ``slab`` its clean slab, where the source has them.
    """

    source: str
    atoms: Atoms
    energy_ev: float
    role: Role = ""
    adsorbate: str = ""
    miller: str = ""
    bulk: str = ""
    level: str = ""
    slab: Atoms | None = None
    slab_energy_ev: float | None = None
    start: Atoms | None = None
    converged: bool | None = None
    fmax_ev_ang: float | None = None
    free_energy_ev: float | None = None  # beside an energy of the calculation that is extrapolated
    states_energy: bool = False  # it is the row that gives the energy, no calculation
    frames_of: str = ""  # the file whose frames it is one of, empty where it is the only one


@dataclass
class SourceContent:
    """What was read: rows, those refused with reasons, and files that are no part of it."""

    rows: list[SourceRow] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def refuse(self, source: str, reason: str) -> None:
        """Keep why a row is left out."""
        self.refused.append(Refusal(source, "placement", reason))

    def add(self, source: str, atoms: Atoms, facts: Mapping[str, Any], **stated: Any) -> None:
        """Keep a structure as a row, or the reason why it is none."""
        if len(self.rows) + len(self.refused) >= MOST_ROWS:
            raise UserError(f"a source has at most {MOST_ROWS:,} rows, this has more; split it")
        try:
            self.rows.append(_source_row(source, atoms, {**facts, **stated}))
        except UserError as error:
            self.refuse(source, str(error))


def read_frames_of(path: Path, content: SourceContent, *, only_last: bool = False) -> None:
    """Add the structures of one file: all of them, or the last, where a relaxation ended.

    Raises:
        UserError: nothing of the file can be read, or it is too large.
    """
    try:
        found = read_structures(path)
    except UserError as error:
        raise UserError(f"{path} cannot be read: {error}; mend it or split it") from error
    for number, each in list(enumerate(found))[-1 if only_last else 0 :]:
        source = path.name if only_last or len(found) == 1 else f"{path.name}#{number}"
        if isinstance(each, UnreadStructure):
            content.refuse(source, f"structure: {each.reason}")
        else:
            content.add(source, each.atoms, each.atoms.info, frames_of=_frames_of(path, source))


def read_ase_database(path: Path, content: SourceContent) -> None:
    """Add the rows of an ASE database: energies, and key-value pairs as what is said of them.

    Raises:
        UserError: the file is no such database.
    """
    _require_ase_database(path)
    try:
        rows = list(connect(str(path), type="db", use_lock_file=False).select(limit=MOST_ROWS + 1))
    except Exception as error:  # sqlite3 and ASE raise anything on another's tables
        raise UserError(
            f"{path} cannot be read as a database of ASE: {first_line(error)}"
        ) from error
    for row in rows:
        source = f"{path.name}#{row.id}"
        try:
            atoms = row.toatoms()
        except Exception as error:
            content.refuse(source, f"structure: {first_line(error)}")
            continue
        content.add(source, atoms, row.key_value_pairs)


def _require_ase_database(path: Path) -> None:
    """Refuse another file before ASE opens it: it writes its tables into any database without."""
    with path.open("rb") as handle:
        if handle.read(len(_SQLITE)) != _SQLITE:
            raise UserError(f"{path} is called .db and is no database of ASE (SQLite): rename it")
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise UserError(
            f"a database of labels has at most {_MOST_BYTES // 2**20} MiB, {path} has "
            f"{size // 2**20}: split it"
        )
    try:
        with closing(connect_sqlite(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            names = opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except SQLiteError as error:
        raise UserError(f"{path} cannot be read as SQLite ({error}); mend it") from error
    if ("systems",) not in names:
        raise UserError(f"{path} is SQLite and no database of ASE: it has no table systems")


def read_outputs(files: list[Path], root: Path, content: SourceContent) -> None:
    """Add the last geometry of each output of a calculation; other files are passed over."""
    kinds = {path: output_kind(path) for path in files}
    with_xml = {path.parent for path, kind in kinds.items() if kind == _VASP_XML}
    for path, kind in kinds.items():
        name = str(path.relative_to(root) if path.is_relative_to(root) else path)
        if kind is None:
            content.passed_over.append(name)
        elif kind == _VASP_OUT and path.parent in with_xml:
            content.passed_over.append(f"{name} (vasprun.xml beside it is read)")
        else:
            read_output(path, name, content, only_last=kind != "extxyz")


def read_output(
    path: Path, name: str, content: SourceContent, *, only_last: bool = True, **stated: Any
) -> None:
    """Add one file of a folder under its name there, or why it cannot be read."""
    try:
        found = read_structures(path)
    except UserError as error:
        content.refuse(name, f"structure: {error}")
        return
    if not found:  # of a program whose output looks like another's
        content.passed_over.append(f"{name} (no structure is found in it)")
    for number, each in list(enumerate(found))[-1 if only_last else 0 :]:
        source = name if only_last or len(found) == 1 else f"{name}#{number}"
        if isinstance(each, UnreadStructure):
            content.refuse(source, f"structure: {each.reason}")
        else:
            content.add(
                source, each.atoms, each.atoms.info, frames_of=_frames_of(path, source), **stated
            )


def _frames_of(path: Path, source: str) -> str:
    return str(path) if "#" in source.removeprefix(path.name) else ""


def output_kind(path: Path) -> str | None:
    """Return the format of ASE that a file has, None where it is no output that is read here."""
    try:
        kind = filetype(str(path.absolute()))
    except (UnknownFileTypeError, OSError, UnicodeDecodeError, ValueError):
        return None
    return kind if kind in _OUTPUTS else None


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder and its folders in the order of their names.

    Raises:
        UserError: there are too many.
    """
    found: list[Path] = []
    for path in folder.rglob("*"):
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts):
            found.append(path)
        if len(found) > _MOST_FILES:
            raise UserError(f"a folder of labels has at most {_MOST_FILES:,} files; {folder} more")
    return sorted(found)


def _source_row(source: str, atoms: Atoms, facts: Mapping[str, Any]) -> SourceRow:
    unit = str(facts.get("energy_unit", facts.get("unit", "eV")))
    if unit.strip().lower() != "ev":
        raise UserError(f"unit: {ENERGY_RULE}, this one is in {unit}; convert it")
    words = {name: _word(facts, name) for name in _NAMES}
    role = _word(facts, "role")
    if role not in ("adslab", "slab", "gas", ""):
        raise UserError(f"role: it is adslab, slab or gas, got {role!r}; leave it out to be found")
    return SourceRow(
        source=source,
        atoms=atoms,
        energy_ev=_energy(atoms, facts),
        role=role,  # type: ignore[arg-type]  # one of Role, as checked
        adsorbate=words["adsorbate"],
        miller=words["miller"] or _word(facts, "facet"),
        bulk=words["bulk"],
        level=words["level"],
        slab=facts.get("slab") if isinstance(facts.get("slab"), Atoms) else None,
        slab_energy_ev=_number(facts, "slab_energy_ev"),
        start=facts.get("start") if isinstance(facts.get("start"), Atoms) else None,
        converged=_truth(facts, "converged"),
        fmax_ev_ang=_fmax(atoms, facts),
        free_energy_ev=_free_energy(atoms, facts),
        states_energy=_stated_energy(facts) is not None,
        frames_of=_word(facts, "frames_of"),
    )


def _word(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if value is None:
        return ""
    if isinstance(value, list | tuple | np.ndarray):
        try:
            return " ".join(str(int(each)) for each in value)
        except (TypeError, ValueError):
            raise UserError(f"{name}: it is one word or integers, got {str(value)[:40]}") from None
    return str(value).strip()


def _number(facts: Mapping[str, Any], name: str) -> float | None:
    stated = facts.get(name)
    if stated is None or stated == "":
        return None
    try:
        value = float(stated)
    except (TypeError, ValueError):
        raise UserError(f"number: {name} is a number, got {str(stated)[:40]!r}") from None
    if not math.isfinite(value):
        raise UserError(f"number: {name} is finite, got {value}")
    return value


def _truth(facts: Mapping[str, Any], name: str) -> bool | None:
    stated = _word(facts, name).lower()
    if stated in ("", *_YES, *_NO):
        return None if not stated else stated in _YES
    raise UserError(f"{name}: it is yes or no, got {stated!r}")


def _stated_energy(facts: Mapping[str, Any]) -> float | None:
    return next((e for name in _ENERGY if (e := _number(facts, name)) is not None), None)


def _energy(atoms: Atoms, facts: Mapping[str, Any]) -> float:
    """Return the energy that is said of a structure, or else that of its calculation."""
    if (stated := _stated_energy(facts)) is not None:
        return stated
    found = computed(atoms, "energy")
    if found is None:
        raise UserError("energy: none is given, neither energy_ev nor by the calculation")
    energy_ev = float(found)
    if not math.isfinite(energy_ev):
        raise UserError(f"energy: it is a finite number, got {energy_ev}")
    return energy_ev


def _free_energy(atoms: Atoms, facts: Mapping[str, Any]) -> float | None:
    """Return the free energy of a calculation, None where the row states its energy itself."""
    found = computed(atoms, "free_energy")
    if found is None or _stated_energy(facts) is not None or not math.isfinite(found):
        return None
    return float(found)


def _fmax(atoms: Atoms, facts: Mapping[str, Any]) -> float | None:
    stated = _number(facts, "fmax_ev_ang")
    forces_N3 = computed(atoms, "forces") if stated is None else None
    # Without fixed atoms in the file nobody knows here which of the forces were to vanish.
    if stated is not None or forces_N3 is None or not atoms.constraints:
        return stated
    free_N3 = atoms.get_forces()
    return float(np.linalg.norm(free_N3, axis=1).max())


def computed(atoms: Atoms, what: str) -> Any:
    """Return a result of the calculation that a structure was read with, None without one."""
    return None if atoms.calc is None else atoms.calc.results.get(what)
