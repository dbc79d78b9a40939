"""Folders whose files are believed, so that nobody but their owner may change them.

Checkpoints are loaded, steps of calculations are gone on from, pickles of jobs are unpickled: who
can write there changes energies, or runs code. On a system without owners of files (Windows, and
mounts such as NTFS and exFAT, which give every file the same mode) nothing is refused: what a
folder is open to is decided there when it is mounted or shared.
"""

import os
import stat
import tempfile
from pathlib import Path

from model.errors import FolderError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0


def private_folder(folder: Path, holds: str, way_out: str) -> Path:
    """Return a folder that this user alone may read and write, made where it is not there.

    One that others may read is closed. One that others may write is refused: what lies in it may
    be theirs.

    Args:
        folder: The folder.
        holds: What lies in it, for messages.
        way_out: What to do where it cannot be this user's.

    Returns:
        The folder.

    Raises:
        FolderError: it cannot be made, is another user's, or others may write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise FolderError(
            f"{holds} lie in a folder of this user's own, {folder} cannot be it "
            f"({fault.strerror}); {way_out}"
        ) from None
    if not hasattr(os, "geteuid"):
        return folder
    _refuse_others(folder, holds, way_out, frozenset({os.geteuid()}))
    if stat.S_IMODE(folder.stat().st_mode) & _OTHERS and _keeps_modes(folder):
        folder.chmod(0o700)
    return folder


def require_trusted_folder(folder: Path, holds: str, way_out: str) -> None:
    """Refuse a folder that another user than this one and root may change.

    Args:
        folder: The folder, which is there.
        holds: What lies in it, for messages.
        way_out: What to do where it is another user's.

    Raises:
        FolderError: it is another user's, or others may write to it.
    """
    if hasattr(os, "geteuid"):
        _refuse_others(folder, holds, way_out, frozenset({os.geteuid(), _ROOT}))


def _refuse_others(folder: Path, holds: str, way_out: str, owners: frozenset[int]) -> None:
    found = folder.stat()
    why = ""
    if found.st_uid not in owners:
        why = f"belongs to {_user_name(found.st_uid)}"
    elif writers := _other_writers(found):
        why = f"may be written by {writers}"
        way_out = f"look whether all in it is yours, then: chmod -R go-w {folder}"
    else:
        why = _replaceable(folder)
    if why and _keeps_modes(folder):
        raise FolderError(f"{holds} lie in a folder of this user's own, {folder} {why}; {way_out}")


def _replaceable(folder: Path) -> str:
    """Return how another user could put another folder in its stead, or nothing."""
    way = folder.absolute()
    for each in (way, *way.parents):
        owner = each.lstat().st_uid
        if each.is_symlink() and owner not in {os.geteuid(), _ROOT}:
            return f"is reached by a link of {_user_name(owner)}, {each}"
    for parent in {*way.parents, *way.resolve().parents}:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"may be replaced by everybody, who may write in {parent}"
    return ""


def _other_writers(found: os.stat_result) -> str:
    """Return who else may write, or nothing.

    A group that has the user's name and no other member counts as the user.
    """
    if found.st_mode & stat.S_IWOTH:
        return "everybody"
    if found.st_mode & stat.S_IWGRP:
        group, members = _group(found.st_gid)
        if group != _user_name(found.st_uid) or set(members) - {group}:
            return f"group {group}"
    return ""


def _user_name(number: int) -> str:
    import pwd  # there is none on Windows

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group(number: int) -> tuple[str, list[str]]:
    import grp  # there is none on Windows

    try:
        found = grp.getgrgid(number)
    except KeyError:
        return str(number), []
    return found.gr_name, found.gr_mem


def _keeps_modes(folder: Path) -> bool:
    """Return whether files of a folder have the modes that they are given; not all systems do."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:  # made for its owner alone
            return not os.fstat(file.fileno()).st_mode & _OTHERS
    except OSError:  # it may not be written, so it is somebody's
        return True
