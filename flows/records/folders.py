"""The folders of a database: the lake of predictions, the work of calculations, the models.

Where they lie is recorded in the database, and each holds a file with the database's id: they are
found from any current directory, and a folder of another database is never written to. Beside an
SQLite file they move with it.
"""

import json
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.config.settings import DEFAULT_DATABASE
from flows.errors import CampaignError
from screening_db.database import Database, database_url
from screening_db.records.folders import (
    RecordedFolder,
    database_id,
    record_folder,
    recorded_folder,
)
from screening_db.tables import FolderKind

logger = logging.getLogger(__name__)

MARK = ".sabatier-database.json"
FOLDER_KINDS: tuple[FolderKind, ...] = ("lake", "work", "models")
FOLDER_HOLDS = {
    "lake": "predictions",
    "work": "steps of calculations",
    "models": "fine-tuned checkpoints",
}
_SUFFIXES = {"lake": "", "work": ".work", "models": ".models"}


@dataclass(frozen=True)
class FolderMark:
    """What a folder says of itself: the id of its database, where that one was, what it holds.

    A folder of a former release does not say what it holds.
    """

    database: str
    where: str
    kind: FolderKind | None = None


def lake_folder(db: Database) -> Path:
    """Return the folder that holds the Parquet files of a database."""
    return found_folder(db, "lake")


def models_folder(db: Database) -> Path:
    """Return the folder in which the fine-tuned checkpoints of a database lie."""
    return found_folder(db, "models")


def default_folder(db: Database, kind: FolderKind) -> Path:
    """Return where a folder is made first: beside an SQLite file, else in the current directory."""
    if db.path is not None:
        lake = db.path.with_suffix("")
    else:
        lake = DEFAULT_DATABASE.parent.absolute() / (db.url.database or "postgresql")
    return lake.with_name(f"{lake.name}{_SUFFIXES[kind]}")


def found_folder(db: Database, kind: FolderKind) -> Path:
    """Return the folder of a database, which need not have been made yet; nothing is changed.

    Args:
        db: The database.
        kind: What the folder holds.

    Returns:
        Its absolute path.

    Raises:
        CampaignError: it is not where it was recorded, or belongs to another database.
    """
    own, recorded, default = database_id(db), recorded_folder(db, kind), default_folder(db, kind)
    if recorded is None:
        _refuse_mark(db, kind, default, read_mark(default), own)
        return default
    path = Path(recorded.path)
    mark = read_mark(path)
    if mark is not None and (mark.database, mark.where) == (own, db.where):
        _refuse_mark(db, kind, path, mark, own)
        return path  # stated by db move, even where another one lies beside the file
    if db.path is not None and path != default and _is_of(default, own):
        return default  # moved or copied together with the file
    if mark is None:
        if kind == "work" and recorded.host == socket.gethostname() and not path.exists():
            return path  # nothing that is done is in it: who deletes it repeats what runs
        raise _not_there(db, kind, recorded)
    _refuse_mark(db, kind, path, mark, own)
    if db.path is not None and _is_another_file(mark.where, db.path):
        raise CampaignError(
            f"database {db.where} is a copy of {mark.where}, and {FOLDER_HOLDS[kind]} in {path} "
            f"belong to that one; copy that folder to {default} too, and run the same command again"
        )
    if db.path is None and _is_another_name(mark.where, db):
        raise CampaignError(
            f"{FOLDER_HOLDS[kind]} in {path} belong to {mark.where}, and database {db.where} is a "
            "copy of it or its new name; state a copy of that folder, or, where that database is "
            f"not used any more, the folder itself: sabatier db move --{kind} FOLDER --database "
            f"{db.where}"
        )
    return path


def make_folder(db: Database, kind: FolderKind) -> Path:
    """Return the folder of a database; make and mark it, and record where it lies.

    Raises:
        CampaignError: as ``found_folder``, or it cannot be made.
    """
    path = found_folder(db, kind)
    set_folder(db, kind, path)
    return path


def set_folder(db: Database, kind: FolderKind, path: Path) -> None:
    """Record that a folder of a database lies at ``path``, and mark it as this database's.

    Args:
        db: The database.
        kind: What the folder holds.
        path: Its absolute path; it is made where it is not there.

    Raises:
        CampaignError: it belongs to another database, or cannot be written.
    """
    _mark_folder(db, kind, path)
    _record_path(db, kind, path)


def _mark_folder(db: Database, kind: FolderKind, path: Path) -> None:
    own, mark = database_id(db), read_mark(path)
    _refuse_mark(db, kind, path, mark, own)
    wanted = FolderMark(own, db.where, kind)
    if mark != wanted:
        _write_mark(path, kind, wanted)


def _record_path(db: Database, kind: FolderKind, path: Path) -> None:
    here, recorded = RecordedFolder(socket.gethostname(), str(path)), recorded_folder(db, kind)
    if recorded is None or recorded.path != here.path:
        record_folder(db, kind, here)
        if recorded is not None:
            logger.warning("%s of %s lie in %s from now on", FOLDER_HOLDS[kind], db.where, path)


def move_folders(
    db: Database, stated: Mapping[FolderKind, Path], *, unmarked: bool
) -> dict[FolderKind, Path]:
    """Record where folders lie that were moved: all of them, or none where one is refused.

    Args:
        db: The database.
        stated: The folder of each kind, as it was typed.
        unmarked: Take folders for this database's that hold files and no mark.

    Returns:
        Their absolute paths.

    Raises:
        CampaignError: as ``moved_folder``, one lies within another, or one cannot be written.
    """
    paths = {
        kind: moved_folder(db, kind, folder, unmarked=unmarked) for kind, folder in stated.items()
    }
    _refuse_overlap(db, paths)
    for kind, path in paths.items():
        _mark_folder(db, kind, path)  # which writes, and may fail: before anything is recorded
    for kind, path in paths.items():
        _record_path(db, kind, path)
    return paths


def moved_folder(db: Database, kind: FolderKind, folder: Path, *, unmarked: bool) -> Path:
    """Return the absolute path of a folder that a person states for one that was moved.

    Args:
        db: The database.
        kind: What the folder holds.
        folder: The folder, as it was typed.
        unmarked: Take it for this database's though it holds files and no mark.

    Returns:
        The path; the folder may still be to make.

    Raises:
        CampaignError: it is no folder, holds files and no mark of this database, or holds another
            kind.
    """
    try:
        path = folder.expanduser().absolute()
        is_used = path.exists() and any(path.iterdir())
    except (OSError, RuntimeError) as fault:  # of expanduser, where nobody has that name
        raise CampaignError(
            f"{FOLDER_HOLDS[kind]} lie in a folder that can be read, got {folder} "
            f"({getattr(fault, 'strerror', None) or fault}); give the folder that was moved"
        ) from None
    if is_used and read_mark(path) is None and not unmarked:
        raise CampaignError(
            f"{path} holds files and none of them is {MARK}, which says whose they are; give the "
            f"folder that was moved, an empty one, in which {FOLDER_HOLDS[kind]} begin anew, or "
            "state --unmarked for that of a former release"
        )
    _refuse_mark(db, kind, path, read_mark(path), database_id(db))
    return path


def described_folder(db: Database, kind: FolderKind) -> str:
    """Return where a folder of a database lies, for people: its path, or why it is not found."""
    try:
        path = found_folder(db, kind)
    except CampaignError as fault:
        return str(fault)
    return str(path) if recorded_folder(db, kind) else f"{path} (not made yet)"


def read_mark(folder: Path) -> FolderMark | None:
    """Return what a folder says of itself, None where it says nothing."""
    try:
        values = json.loads((folder / MARK).read_text(encoding="utf-8"))
        kind = next((kind for kind in FOLDER_KINDS if kind == values.get("kind")), None)
        return FolderMark(str(values["database"]), str(values["where"]), kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_mark(folder: Path, kind: FolderKind, mark: FolderMark) -> None:
    draft = folder / f"{MARK}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(mark)) + "\n")
        draft.replace(folder / MARK)
    except OSError as fault:
        raise CampaignError(
            f"the folder for {FOLDER_HOLDS[kind]}, {folder}, cannot be written ({fault.strerror}); "
            "correct its permissions, or state another one: sabatier db move "
            f"--{kind} FOLDER"
        ) from fault


def _is_of(folder: Path, own: str) -> bool:
    mark = read_mark(folder)
    return mark is not None and mark.database == own


def _is_another_file(where: str, path: Path) -> bool:
    return where != str(path) and Path(where).is_file() and not path.samefile(where)


def _is_another_name(where: str, db: Database) -> bool:
    """Tell whether a mark names another database; hosts and users may be written in many ways."""
    url = database_url(where)
    was = url.database or url.query.get("dbname")
    return was is not None and db.query("SELECT current_database() AS name") != [{"name": was}]


def _refuse_mark(
    db: Database, kind: FolderKind, path: Path, mark: FolderMark | None, own: str
) -> None:
    if mark is not None and mark.database != own:
        raise CampaignError(
            f"{FOLDER_HOLDS[kind]} in {path} belong to another database, {mark.where}, not to "
            f"{db.where}; move that folder away, or state one of this database: sabatier db move "
            f"--{kind} FOLDER"
        )
    if mark is not None and mark.kind not in (None, kind):
        raise CampaignError(
            f"a folder holds one kind, {path} is marked for {FOLDER_HOLDS[mark.kind]} and not for "
            f"{FOLDER_HOLDS[kind]}; state another one: sabatier db move --{kind} FOLDER"
        )


def _refuse_overlap(db: Database, paths: Mapping[FolderKind, Path]) -> None:
    """Raise where a stated folder is the folder of another kind, or one lies within the other."""
    likely = {kind: paths.get(kind) or _likely_folder(db, kind) for kind in FOLDER_KINDS}
    for kind, path in paths.items():
        for other in set(FOLDER_KINDS) - {kind}:
            mine, theirs = path.resolve(), likely[other].resolve()
            if mine.is_relative_to(theirs) or theirs.is_relative_to(mine):
                raise CampaignError(
                    f"folders lie apart from each other, {path} is for {FOLDER_HOLDS[kind]} and "
                    f"{theirs} for {FOLDER_HOLDS[other]}; state another one: sabatier db move "
                    f"--{kind} FOLDER"
                )


def _likely_folder(db: Database, kind: FolderKind) -> Path:
    """Return where a folder lies, or was recorded where it is not found."""
    try:
        return found_folder(db, kind)
    except CampaignError:
        recorded = recorded_folder(db, kind)
        return Path(recorded.path) if recorded else default_folder(db, kind)


def _not_there(db: Database, kind: FolderKind, recorded: RecordedFolder) -> CampaignError:
    here = socket.gethostname()
    if recorded.host != here:
        where = f"on host {recorded.host} in {recorded.path}, and this is {here}; run there, "
        where += "mount that folder here, or, where it was moved, state it"
    else:
        where = f"in {recorded.path}, which is not there or has no file {MARK}; restore or mount "
        where += "it, or, where it was moved, state the new one"
    return CampaignError(
        f"{FOLDER_HOLDS[kind]} of database {db.where} lie {where}: sabatier db move --{kind} FOLDER"
    )
