"""Which kind of source a path is, and its rows."""

from pathlib import Path

from tasks.errors import UserError
from tasks.training_data.imported.catalysis_hub import is_catalysis_hub, read_catalysis_hub
from tasks.training_data.imported.source_rows import (
    SourceContent,
    files_below,
    read_ase_database,
    read_frames_of,
    read_outputs,
)
from tasks.training_data.imported.tables import read_label_table

_GLOB = "*?["


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
