"""Bulk crystals as files hold them: which files are meant, and whether each holds a crystal.

Units   positions and cell in Å.
"""

from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from ase import Atoms

from tasks.errors import Refusal, UserError
from tasks.structures.distances import check_distances
from tasks.structures.files.cif_blocks import FileStructure, UnreadStructure
from tasks.structures.files.structure_files import POSCAR_NAMES, read_structures

_SUFFIXES = (".cif", ".mcif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz")
_WIDEST_GAP_ANG = 7.0  # wider empty layers are vacuum: the file holds a slab or a molecule


@dataclass(frozen=True)
class FileCrystal:
    """A crystal as a file holds it; ``source`` is the file, with block or frame if it has more."""

    source: str
    atoms: Atoms


def read_bulk_files(pattern: str) -> list[FileCrystal | Refusal]:
    """Return the crystals of a file, a folder or a glob, and a refusal for each that is none."""
    found: list[FileCrystal | Refusal] = []
    for path in _paths(pattern):
        found += [path] if isinstance(path, Refusal) else _from_path(path)
    return found


def check_crystal(atoms: Atoms) -> None:
    """Check that atoms are a crystal.

    Args:
        atoms: Atoms of a file, positions in Å.

    Raises:
        UserError: they overlap, lack a cell or an element, or have vacuum between them.
    """
    if len(atoms) == 0:
        raise UserError("the file holds no atoms")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise UserError("positions and cell must be finite numbers")
    if atoms.cell.rank < 3 or not atoms.cell.volume:
        raise UserError("a bulk needs a cell of three vectors, the file has none")
    if not atoms.pbc.all():
        raise UserError(
            f"a bulk is periodic in three directions: the file says pbc {atoms.pbc.tolist()}"
        )
    if (atoms.numbers < 1).any():
        raise UserError("every atom needs an element, the file has unknown species")
    check_distances(atoms)
    gap_ang = _widest_gap(atoms)
    if gap_ang > _WIDEST_GAP_ANG:
        raise UserError(
            f"a bulk has no empty layer wider than {_WIDEST_GAP_ANG:g} Å, this has one of "
            f"{gap_ang:.1f} Å: it looks like a slab or a molecule"
        )


def _paths(pattern: str) -> list[Path | Refusal]:
    expanded = Path(pattern).expanduser()
    if expanded.is_file():
        return [expanded]  # whatever its name holds: an existing file is meant as it is written
    if expanded.is_dir():
        files = [p for p in sorted(expanded.iterdir()) if _is_structure(p)]
        reason = (
            f"a folder of structures holds {', '.join(_SUFFIXES)} or POSCAR files, this has none"
        )
    elif has_magic(pattern):
        folder, rest = _folder_and_glob(expanded)
        matches = sorted(glob(rest, root_dir=folder, recursive=True))  # noqa: PTH207
        files = [folder / name for name in matches if (folder / name).is_file()]
        reason = "no file matches"
    else:
        files, reason = [], "no such file"
    return list(files) or [Refusal(pattern, "bulk", reason)]


def _folder_and_glob(pattern: Path) -> tuple[Path, str]:
    """Return the folder that a pattern begins with, whose name may hold brackets, and the rest."""
    folder = next(parent for parent in pattern.parents if parent.is_dir())
    return folder, str(pattern.relative_to(folder))


def _is_structure(path: Path) -> bool:
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    named = plain.suffix.lower() in _SUFFIXES or path.name.upper().startswith(POSCAR_NAMES)
    return named and not path.is_dir() and not path.name.startswith(".")


def _from_path(path: Path) -> list[FileCrystal | Refusal]:
    try:
        found = read_structures(path)
    except UserError as error:
        return [Refusal(str(path), "bulk", f"cannot be read: {error}")]
    if not found:
        return [Refusal(str(path), "bulk", "the file holds no structure")]
    several = len(found) > 1
    return [_crystal(each, f"{path}@{each.name}" if several else str(path)) for each in found]


def _crystal(found: FileStructure | UnreadStructure, source: str) -> FileCrystal | Refusal:
    if isinstance(found, UnreadStructure):
        return Refusal(source, "bulk", found.reason)
    moments = found.atoms.get_initial_magnetic_moments()
    note = " (without its magnetic moments)" if moments.any() else ""
    return FileCrystal(source + note, found.atoms)


def _widest_gap(atoms: Atoms) -> float:
    spacing_3 = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    scaled_N3 = np.sort(atoms.get_scaled_positions(wrap=True), axis=0)
    closed = np.vstack([scaled_N3, scaled_N3[:1] + 1.0])
    return float((np.diff(closed, axis=0).max(axis=0) * spacing_3).max())
