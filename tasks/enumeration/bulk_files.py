"""Bulk crystals as files hold them: which files are meant, and whether each holds a crystal.

Units   positions and cell in Å.
"""

from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from ase import Atoms
from pymatgen.core.structure import Structure

from tasks.errors import Refusal, UserError
from tasks.structures.formats import POSCAR_NAMES, read_structures

_SUFFIXES = (".cif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz")
_CLOSEST_ANG = 0.5  # nearer atoms are a mistake in the file: an H2 bond is 0.74 Å
_WIDEST_GAP_ANG = 7.0  # wider empty layers are vacuum: the file holds a slab or a molecule


@dataclass(frozen=True)
class FileCrystal:
    """A crystal as a file holds it; ``source`` names the file, and the frame where it has more."""

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

    Raises:
        UserError: they overlap, lack a cell or an element, or have vacuum between them.
    """
    if len(atoms) == 0:
        raise UserError("the file holds no atoms")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise UserError("positions and cell must be finite numbers")
    if atoms.cell.rank < 3 or abs(atoms.cell.volume) < 1.0:
        raise UserError("a bulk needs a cell of three vectors, the file has none")
    if (atoms.numbers < 1).any():
        raise UserError("every atom needs an element, the file has unknown species")
    gap_ang = _widest_gap(atoms)
    if gap_ang > _WIDEST_GAP_ANG:
        raise UserError(
            f"a bulk has no empty layer wider than {_WIDEST_GAP_ANG:g} Å, this has one of "
            f"{gap_ang:.1f} Å: it looks like a slab or a molecule"
        )
    periodic = Structure(atoms.cell.array, atoms.symbols, atoms.get_scaled_positions(wrap=True))
    if not periodic.is_valid(tol=_CLOSEST_ANG):
        raise UserError(f"two atoms are nearer than {_CLOSEST_ANG} Å")


def _paths(pattern: str) -> list[Path | Refusal]:
    expanded = Path(pattern).expanduser()
    if expanded.is_dir():
        files = [p for p in sorted(expanded.iterdir()) if _is_structure(p)]
        reason = f"a folder of bulks holds {', '.join(_SUFFIXES)} or POSCAR files, this has none"
    elif has_magic(pattern):
        matches = (Path(name) for name in sorted(glob(str(expanded), recursive=True)))  # noqa: PTH207
        files = [path for path in matches if path.is_file()]
        reason = "no file matches"
    else:
        files, reason = [expanded] if expanded.is_file() else [], "no such file"
    return list(files) or [Refusal(pattern, "bulk", reason)]


def _is_structure(path: Path) -> bool:
    named = path.suffix.lower() in _SUFFIXES or path.name.upper().startswith(POSCAR_NAMES)
    return path.is_file() and named and not path.name.startswith(".")


def _from_path(path: Path) -> list[FileCrystal | Refusal]:
    try:
        frames = read_structures(path)
    except UserError as error:
        return [Refusal(str(path), "bulk", f"cannot be read: {error}")]
    if not frames:
        return [Refusal(str(path), "bulk", "the file holds no structure")]
    sources = [str(path)] if len(frames) == 1 else [f"{path}@{i}" for i in range(len(frames))]
    return [FileCrystal(source, atoms) for source, atoms in zip(sources, frames, strict=True)]


def _widest_gap(atoms: Atoms) -> float:
    spacing_3 = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    scaled_N3 = np.sort(atoms.get_scaled_positions(wrap=True), axis=0)
    closed = np.vstack([scaled_N3, scaled_N3[:1] + 1.0])
    return float((np.diff(closed, axis=0).max(axis=0) * spacing_3).max())
