"""Files and folders that are written whole, and folders that one process at a time writes to."""

import os
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


class FolderHeldError(MachineError):
    """Another process writes to the folder."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; the file takes its place when the block ends well.

    No other writer has the same one, so that two that write at once leave the whole file of one.
    """
    fresh = _beside(path)
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, which takes its place when the block ends well."""
    fresh = _beside(path)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        shutil.rmtree(path, ignore_errors=True)
        fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{_NEW}")


@contextmanager
def lock_folder(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder, made if need be, until the block or the process ends.

    What killed writers left half-written in it is removed. The file of the lock stays: deleting it
    would let two processes hold two files of one name.

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
        folder.mkdir(parents=True, exist_ok=True)
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
        for left in folder.rglob(f".*{_NEW}"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
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
