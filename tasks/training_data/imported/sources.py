"""Which kind of source a path is, and its rows.

Folders that Catalysis-Hub takes are read by name and place: ``CODE/FUNCTIONAL/gas/`` holds gas
molecules, ``.../BULK/FACET/`` the clean slab (``empty_slab``), and ``.../FACET/REACTION/``, or a
folder of a site below it, adslabs whose names end with ``star`` (``COstar.traj``). Their energies
are total.

Source  docs.catalysis-hub.org, "Submitting data"; Winther et al. 2019, Sci. Data 6, 75.
"""

import re
from pathlib import Path

from tasks.errors import UserError
from tasks.training_data.imported.source_rows import (
    Role,
    SourceContent,
    files_below,
    output_kind,
    read_ase_database,
    read_frames_of,
    read_output,
    read_outputs,
)
from tasks.training_data.imported.tables import read_label_table

_GLOB = "*?["
_PUBLICATION = "publication.txt"
_GAS = "gas"
_SLABS = ("empty_slab", "empty_surface", "star")
_ADSLAB = re.compile(r"([A-Za-z0-9]+?)star(?:[@_-].*)?\Z")
_FACET = re.compile(r"(\d)(\d)(?:\d(?=\d))?(\d)(?:[-_@x].*)?\Z")  # 111, or 0001 as 001


def read_label_sources(paths: list[str]) -> SourceContent:
    """Return the rows of files and folders: tables, extxyz, ASE databases, outputs of programs.

    Args:
        paths: A CSV table, an ASE database (.db), a structure file with energies, a folder, or a
            pattern such as ``runs/*/OUTCAR``; several outputs are read as those of one folder.

    Returns:
        Rows with energies (eV), what was refused and why, and the files that were passed over.

    Raises:
        UserError: a path does not exist, is too large, or nothing in it is a label.
    """
    content = SourceContent()
    outputs: list[Path] = []
    for stated in paths:
        path = Path(stated)
        if not path.exists() and any(sign in stated for sign in _GLOB):
            outputs += _matched(stated)
        elif path.is_dir():
            _read_folder(path, content)
        elif not path.exists():
            raise UserError(f"labels are read from a file or folder; {stated} does not exist")
        elif path.suffix.lower() in (".csv", ".tsv"):
            read_label_table(path, content)
        elif path.suffix.lower() == ".db":
            read_ase_database(path, content)
        elif path.suffix.lower() in (".xyz", ".extxyz"):
            read_frames_of(path, content)
        else:
            outputs.append(path)
    if outputs:
        read_outputs(sorted(outputs), Path(), content)
    if not content.rows and not content.refused:
        raise UserError(
            f"no label is in {', '.join(paths)[:200]}: a source is a CSV table, extxyz, a database "
            "of ASE, outputs of VASP, Quantum ESPRESSO or GPAW, or a folder of these; "
            f"{len(content.passed_over)} files are none of them"
        )
    return content


def _read_folder(folder: Path, content: SourceContent) -> None:
    files = files_below(folder)
    if is_catalysis_hub(folder, files):
        read_catalysis_hub(folder, files, content)
    else:
        read_outputs(files, folder, content)


def _matched(pattern: str) -> list[Path]:
    path = Path(pattern)
    root = Path(path.anchor) if path.is_absolute() else Path()
    below = path.relative_to(path.anchor) if path.is_absolute() else path
    try:
        found = [each for each in root.glob(str(below)) if each.is_file()]
    except ValueError as error:
        raise UserError(f"{pattern} is no pattern of files: {error}") from None
    if not found:
        raise UserError(f"labels are read from files; the pattern {pattern} matches none")
    return found


def is_catalysis_hub(folder: Path, files: list[Path]) -> bool:
    """Tell whether a folder is laid out as Catalysis-Hub's."""
    names = [path.relative_to(folder) for path in files]
    has_gas = any(_GAS in name.parts[:-1] for name in names)
    return has_gas and any(
        name.name == _PUBLICATION or name.stem.lower().startswith(_SLABS[:2]) for name in names
    )


def read_catalysis_hub(folder: Path, files: list[Path], content: SourceContent) -> None:
    """Add the calculations of a folder; what is no structure or unneeded is passed over."""
    for path in files:
        name = path.relative_to(folder)
        stem = path.stem
        if output_kind(path) is None or stem.lower().startswith("bulk"):
            content.passed_over.append(str(name))
        elif stem.startswith("TS"):
            content.refuse(str(name), "transition state: labels are of minima")
        elif (role := _role(name)) is None:
            content.refuse(
                str(name), "name: gas molecules lie in gas/, slabs are empty_slab, adslabs end "
                "with star (COstar)"
            )  # fmt: skip
        else:
            adslab = _ADSLAB.match(stem) if role == "adslab" else None
            read_output(
                path,
                str(name),
                content,
                role=role,
                adsorbate=adslab[1] if adslab else "",
                miller=_miller(name) if role == "adslab" else "",
            )


def _role(name: Path) -> Role | None:
    if _GAS in name.parts[:-1]:
        return "gas"
    if name.stem.lower().startswith(_SLABS[:2]) or name.stem.lower() == _SLABS[2]:
        return "slab"
    return "adslab" if _ADSLAB.match(name.stem) else None


def _miller(name: Path) -> str:
    """Return the index that the nearest folder above a file is called by, empty without one."""
    for part in reversed(name.parts[:-1]):
        if found := _FACET.match(part):
            return " ".join(found.groups())
    return ""
