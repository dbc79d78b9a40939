"""Structure files: one reader for bulks, adslabs and adsorbates.

Each structure of a file is read as it is written or comes back with the reason why not; one that is
bad leaves the others. Sizes are bounded before anything is parsed, files that unpickle or execute
are no structure files, and names are taken literally: ``[``, ``*`` and ``@`` mean nothing here.

Units   positions and cell in Å.
"""

import codecs
import gzip
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read
from ase.io.formats import filetype
from ase.io.trajectory import TrajectoryReader

from tasks.errors import UserError, first_line
from tasks.structures.files.cif_blocks import (
    FileStructure,
    UnreadStructure,
    read_cif_blocks,
)
from tasks.structures.files.cif_sites import MAX_ATOMS
from tasks.structures.files.poscar import one_frame, read_poscar
from tasks.structures.files.species import element_symbol

POSCAR_NAMES = ("POSCAR", "CONTCAR")
# Neighbours are searched in as many images of a cell as fit into their distance between its faces.
_NEAREST_FACES_ANG = 0.05
_POSCAR_SUFFIXES = (".poscar", ".contcar", ".vasp")
_CIF_SUFFIXES = (".cif", ".mcif")
_XYZ_SUFFIXES = (".xyz", ".extxyz")
_MAX_BYTES = 64 * 2**20
_MAX_FRAMES = 5_000
# Formats of ASE that state elements, and neither unpickle nor execute what they hold.
_ASE_FORMATS = frozenset(
    {
        "aims",
        "castep-cell",
        "cube",
        "espresso-in",
        "espresso-out",
        "gen",
        "gpaw-out",
        "mol",
        "res",
        "sdf",
        "traj",
        "vasp",
        "vasp-out",
        "vasp-xdatcar",
        "vasp-xml",
        "xsd",
        "xsf",
    }
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_structures(
    file: Path, *, keep_order: bool = False
) -> list[FileStructure | UnreadStructure]:
    """Return the structures of a file as they are written: nothing is made primitive.

    Args:
        file: A CIF, a POSCAR, an xyz, a trajectory of ASE or another format that states elements,
            packed by gzip or not.
        keep_order: Keep the order of the atoms in a CIF, which are else sorted by element.

    Returns:
        The structures in order, positions in Å, those that cannot be read with their reasons; none
        where a trajectory has no frame.

    Raises:
        UserError: nothing of the file can be read; the message is one line.
    """
    try:
        data = _content(file)
        name = file.name[:-3] if file.suffix.lower() == ".gz" else file.name
        found = _parsed(file, name, data, keep_order)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError("the file is damaged: it states sizes that it does not hold") from error
    except Exception as error:  # parsers raise anything on a damaged file
        raise UserError(first_line(error)) from error
    return [_checked(each) for each in found]


def read_structure(file: Path, *, keep_order: bool = False) -> Atoms:
    """Return the one structure of a CIF or POSCAR, or the last frame of a trajectory.

    Raises:
        UserError: the file cannot be read, or is a CIF that holds none or several.
    """
    found = read_structures(file, keep_order=keep_order)
    name = file.name.lower().removesuffix(".gz")
    if not found or (len(found) > 1 and name.endswith(_CIF_SUFFIXES)):
        names = ", ".join(each.name for each in found[:5])
        raise UserError(f"one structure is wanted, the file holds {len(found)} ({names})")
    if isinstance(found[-1], UnreadStructure):
        raise UserError(found[-1].reason)
    return found[-1].atoms


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise UserError("no such file, or a folder")
    is_packed = file.suffix.lower() == ".gz"
    with gzip.open(file) if is_packed else file.open("rb") as handle:
        data: bytes = handle.read(_MAX_BYTES + 1)
    if not data:
        raise UserError("the file is empty")
    if len(data) > _MAX_BYTES:
        raise UserError(f"a structure file has at most {_MAX_BYTES // 2**20} MiB, this has more")
    return data


def _text(data: bytes) -> str:
    """Return the text of a file in any encoding, with one kind of line end."""
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    try:
        text = data.decode(marked or "utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # Latin-1 and its Windows kin
    if "\0" in text:
        raise UserError("the file is no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parsed(
    file: Path, name: str, data: bytes, keep_order: bool
) -> list[FileStructure | UnreadStructure]:
    lower = name.lower()
    if lower.endswith(_CIF_SUFFIXES):
        return read_cif_blocks(_text(data), keep_order=keep_order)
    if lower.endswith(_XYZ_SUFFIXES):
        return _numbered(_xyz_frames(_text(data)))
    if name.upper().startswith(POSCAR_NAMES) or lower.endswith(_POSCAR_SUFFIXES):
        return [FileStructure("0", read_poscar(_text(data)))]
    if file.suffix.lower() == ".gz":
        raise UserError("of packed files CIF, POSCAR and xyz are read: unpack it")
    kind = filetype(str(file.absolute()))
    if kind not in _ASE_FORMATS:
        raise UserError(
            f"a structure file is a CIF, POSCAR, xyz or extxyz, or one of "
            f"{', '.join(sorted(_ASE_FORMATS))} of ASE; this is {kind}"
        )
    if kind == "vasp":
        return [FileStructure("0", read_poscar(_text(data)))]
    if kind == "traj":
        return _trajectory(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = read(str(file.absolute()), index=":", format=kind, do_not_split_by_at_sign=True)
    several = frames if isinstance(frames, list) else [frames]
    return [FileStructure(str(i), atoms) for i, atoms in enumerate(several)]


def _trajectory(file: Path) -> list[FileStructure | UnreadStructure]:
    with TrajectoryReader(str(file.absolute())) as frames:
        _require_few(len(frames))
        return _numbered(partial(frames.__getitem__, i) for i in range(len(frames)))


def _numbered(frames: Iterable[Callable[[], Atoms]]) -> list[FileStructure | UnreadStructure]:
    found: list[FileStructure | UnreadStructure] = []
    for index, frame in enumerate(frames):
        _require_few(index + 1)
        try:
            found.append(FileStructure(str(index), frame()))
        except Exception as error:  # parsers raise anything on a damaged frame
            found.append(UnreadStructure(str(index), first_line(error)))
    return found


def _require_few(frames: int) -> None:
    if frames > _MAX_FRAMES:
        raise UserError(f"a file has at most {_MAX_FRAMES:,} structures, this has more")


def _xyz_frames(text: str) -> Iterator[Callable[[], Atoms]]:
    """Yield a reader for each frame; without a number of atoms no further frame is found."""
    lines = text.rstrip().split("\n")
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        count = lines[at].strip()
        if not re.fullmatch(r"\d{1,9}", count):
            message = f"line {at + 1} must be the number of atoms of a frame: got {count[:40]!r}"
            yield partial(_refuse, message)
            return
        frame = lines[at : at + 2 + int(count)]
        at += len(frame)
        following = lines[at].strip() if at < len(lines) else ""
        if following and not following.isdigit():
            yield partial(
                _refuse, f"a frame has as many lines as atoms: after {count} is {following[:40]!r}"
            )
            return
        yield partial(_xyz_frame, frame)


def _refuse(message: str) -> Atoms:
    raise UserError(message)


def _xyz_frame(lines: list[str]) -> Atoms:
    count = int(lines[0])
    if not 0 < count <= MAX_ATOMS:
        raise UserError(f"a structure has 1 to {MAX_ATOMS:,} atoms: this frame has {count}")
    if len(lines) < count + 2:
        raise UserError(f"a frame of {count} atoms has as many lines: this has {len(lines) - 2}")
    column = _species_column(lines[1])
    rows = [_with_element(line, column) for line in lines[2:]]
    return one_frame("\n".join([*lines[:2], *rows, ""]), "extxyz")


def _species_column(comment: str) -> int | None:
    stated = re.search(r"Properties\s*=\s*[\"']?([\w:]+)", comment)
    if stated is None:
        return 0
    words = stated[1].split(":")
    names, widths = words[::3], words[2::3]
    if "species" not in names:
        return None  # atomic numbers instead
    return sum(map(int, widths[: names.index("species")]))


def _with_element(line: str, column: int | None) -> str:
    words = line.split()
    if len(words) < 4:
        raise UserError(
            f"an atom of a frame has an element and three numbers: got {line.strip()!r}"
        )
    if column is None or column >= len(words):
        return line
    number = int(words[column]) if re.fullmatch(r"\d{1,3}", words[column]) else 0
    is_known = 0 < number < len(chemical_symbols)
    words[column] = chemical_symbols[number] if is_known else element_symbol(words[column])
    return " ".join(words)


def _nearest_faces(atoms: Atoms) -> float:
    """Return how far the nearest opposite faces of a cell are apart (Å); infinity without one."""
    if atoms.cell.rank < 3 or not atoms.cell.volume:
        return float("inf")
    return float(1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1).max())


def _checked(found: FileStructure | UnreadStructure) -> FileStructure | UnreadStructure:
    if isinstance(found, UnreadStructure):
        return found
    atoms = found.atoms
    if not 0 < len(atoms) <= MAX_ATOMS:
        reason = f"a structure has 1 to {MAX_ATOMS:,} atoms: this has {len(atoms)}"
    elif not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        reason = "positions and cell must be finite numbers"
    elif (flat_ang := _nearest_faces(atoms)) < _NEAREST_FACES_ANG:
        reason = (
            f"opposite faces of a cell are {_NEAREST_FACES_ANG} Å or more apart: these are "
            f"{flat_ang:.2g} Å, as of a vector with a digit too many; give a reduced cell"
        )
    elif (atoms.numbers < 1).any():
        reason = "every atom needs an element, the file has unknown species"
    else:
        return found
    return UnreadStructure(found.name, reason)
