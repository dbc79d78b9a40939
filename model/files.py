"""Files and folders that are written whole, and folders that one process at a time writes to."""

import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from model.errors import MachineError

LOCK = ".lock"
_HOLDER = ".held-by"
_NEW = ".new"
_OLD = ".old"
_LEFT = re.compile(rf"\.(.+)\.[0-9a-f]{{32}}({_NEW}|{_OLD})")  # the names that `_beside` gives


class FolderHeldError(MachineError):
    """Another process writes to the folder."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; the file takes its place when the block ends well.

    No other writer has the same one, so that two that write at once leave the whole file of one.
    """
    fresh = _beside(path, _NEW)
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, which takes its place when the block ends well.

    The old one is there until then: where the process is killed between the two names, the next
    one that locks the folder around both puts it back.
    """
    fresh, old = _beside(path, _NEW), _beside(path, _OLD)
    fresh.mkdir(mode=0o755, parents=True)  # others of a group may not write, whatever the umask
    try:
        yield fresh
        if path.is_dir():
            path.replace(old)
        fresh.replace(path)
    finally:
        _restore_or_remove(old, path)
        shutil.rmtree(fresh, ignore_errors=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{ending}")


def _restore_or_remove(old: Path, path: Path) -> None:
    with suppress(OSError):
        if old.is_dir() and not path.exists():
            old.replace(path)
    shutil.rmtree(old, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Remove what killed writers left in a folder, but not below one that has a lock of its own."""
    for here, folders, files in os.walk(folder):
        if Path(here) != folder and LOCK in files:
            folders.clear()
            continue
        for name in [*folders, *files]:
            left = _LEFT.fullmatch(name)
            if left and left[2] == _OLD:
                _restore_or_remove(Path(here, name), Path(here, left[1]))
            elif left and name in folders:
                shutil.rmtree(Path(here, name), ignore_errors=True)
            elif left:
                with suppress(OSError):
                    Path(here, name).unlink()
        folders[:] = [name for name in folders if not _LEFT.fullmatch(name)]


@contextmanager
def lock_folder(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder, made if need be, until the block or the process ends.

    What killed writers left half-written in it is removed, by the names that this module gives and
    not below a folder with a lock of its own, which another process may hold. The file of the lock
    stays: deleting it would let two processes hold two files of one name.

    Args:
        folder: Where this process alone writes from now on.
        work: What is done there, for messages.

    Yields:
        Nothing: the folder is held while the block runs.

    Raises:
        FolderHeldError: another process holds it.
        MachineError: it cannot be written to.
    """
    holder = folder / _HOLDER
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)  # another thread may let go of it
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise FolderHeldError(
            f"{work} writes to {folder} alone, and it is held by {_read(holder)}; wait for that "
            "one or stop it"
        ) from None
    except OSError as fault:
        raise MachineError(
            f"{work} writes to {folder}, which cannot be written ({fault.strerror}); correct its "
            "permissions or take another folder"
        ) from fault
    try:
        with suppress(OSError):  # a full disk: only the name of the holder is missing
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        _tidy(folder)
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:
        return "another process"
