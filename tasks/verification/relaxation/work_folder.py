"""The folder in which one item is computed: kept between attempts, held by one process at a time.

WORK/LEVEL/ITEM/.lock           held by the process that computes
WORK/LEVEL/ITEM/*.steps         the checkpoint of each relaxation
WORK/LEVEL/ITEM/*.stuck         why the electrons did not converge on a rung of the ladder
WORK/LEVEL/ITEM/run-*/rung1/    the engine's files, of this process alone
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ase import Atoms

from model.errors import MachineError
from model.files import LOCK, lock_folder
from model.folder_owner import private_folder
from tasks.errors import UserError
from tasks.verification.relaxation.checkpoint import (
    CheckpointContents,
    CheckpointError,
    RelaxationCheckpoint,
    Track,
)
from tasks.verification.relaxation.logbook import Logbook

_RUN = "run-"
_STUCK = ".stuck"


@dataclass(frozen=True)
class WorkFolder:
    """Where one calculation runs (``run``), and where its checkpoints stay, if anywhere."""

    run: Path
    kept: Path | None
    book: Logbook

    def begin(self, atoms: Atoms, name: str, *, own: bool = True) -> tuple[Atoms, Track]:
        """Return where a relaxation starts, and its steps so far.

        It goes on from its checkpoint; the item's ``own`` relaxation goes on from the last geometry
        where there is none, or where a later attempt left it in another folder.

        Args:
            atoms: The structure as the item states it.
            name: Of the relaxation, which names its checkpoint.
            own: Whether it is the item's own relaxation, and not a second start or a reference.

        Returns:
            The atoms to start from, and the steps (eV, eV/Å) with their checkpoint.
        """
        last = self.book.geometry(atoms) if own else None
        watch = partial(self.book.step, atoms) if own else None
        if self.kept is None:
            return self._start(atoms, last), Track(watch=watch)
        checkpoint = RelaxationCheckpoint(
            self.kept / f"{name}.steps", self.kept.name, self.book.attempt
        )
        found = self._read(checkpoint, len(atoms))
        if found is None or (last is not None and found.attempt < self.book.last_attempt):
            start = self._start(atoms, last)
            checkpoint.begin(start.positions)
            return start, Track((), checkpoint, watch)
        start = atoms.copy()
        start.positions = found.start_N3
        if found.frames:
            self.book.note(f"{name} goes on after step {found.frames[-1].step}")
        return start, Track(found.frames, checkpoint, watch)

    def stuck(self, name: str) -> str | None:
        """Return why an earlier attempt's electrons did not converge on a rung, or None."""
        if self.kept is None:
            return None
        try:
            return (self.kept / f"{name}{_STUCK}").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def mark_stuck(self, name: str, why: str) -> None:
        """Let the next attempt begin on the rung after this one."""
        if self.kept is not None:
            with suppress(OSError):  # it then begins on this one again
                (self.kept / f"{name}{_STUCK}").write_text(why, encoding="utf-8")

    def forget_stuck(self, part: str) -> None:
        """Let the next attempt begin on the first rung: this one went through all of them."""
        for mark in self.kept.glob(f"{part}rung*{_STUCK}") if self.kept is not None else ():
            with suppress(OSError):
                mark.unlink()

    def _start(self, atoms: Atoms, last: Atoms | None) -> Atoms:
        if last is None:
            return atoms
        self.book.note(f"begun at the last geometry of try {self.book.last_attempt}")
        return last

    def _read(self, checkpoint: RelaxationCheckpoint, atoms: int) -> CheckpointContents | None:
        try:
            found = checkpoint.read()
        except (CheckpointError, OSError) as fault:
            self.book.note(f"begun again without its checkpoint: {fault}")
            return None
        if found is not None and not _fits(found, atoms):
            name = checkpoint.path.name
            self.book.note(
                f"begun again without its checkpoint: {name} is of another number of atoms"
            )
            return None
        return found


@contextmanager
def work_folder(work: str, level: str, book: Logbook) -> Iterator[WorkFolder]:
    """Yield the folder of an item under ``work``; a temporary one where it has none.

    A folder that another process holds is left to it. Files of an engine from an earlier attempt
    are removed: an old output would be read as the new one's.
    """
    with _held(Path(work).absolute() / level / book.folder, book, work=work) as kept:
        if kept is None:
            with tempfile.TemporaryDirectory(prefix="sabatier-", ignore_cleanup_errors=True) as run:
                yield WorkFolder(Path(run), None, book)
            return
        for old in kept.glob(f"{_RUN}*"):
            shutil.rmtree(old, ignore_errors=True)
        book.work_folder = str(kept)
        run = tempfile.mkdtemp(prefix=_RUN, dir=kept)
        try:
            yield WorkFolder(Path(run), kept, book)
        finally:
            shutil.rmtree(run, ignore_errors=True)


def remove_work_folder(path: str) -> None:
    """Remove the folder of an item that has ended well; any other folder stays."""
    folder = Path(path)
    with suppress(OSError):  # a folder that may not be looked into
        if path and (folder / LOCK).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def require_work_folder(work: str) -> None:
    """Refuse a location of work folders that is not this user's alone; empty is none.

    Raises:
        FolderError: it is another user's, or others may write to it.
        UserError: it lies under a file, or nothing can be written there.
    """
    if not work:
        return
    private_folder(
        Path(work), "steps of calculations", "set SABATIER_ENGINE_WORK to a folder of your own"
    )
    try:
        with tempfile.TemporaryFile(dir=work):
            return
    except OSError as fault:
        raise UserError(
            f"calculations keep their steps in a folder that can be written, {work} cannot "
            f"({fault.strerror}); set SABATIER_ENGINE_WORK to one that can"
        ) from None


@contextmanager
def _held(folder: Path, book: Logbook, *, work: str) -> Iterator[Path | None]:
    """Yield the folder while this process alone has it, or None where that cannot be."""
    if not work or not book.folder:
        yield None
        return
    with ExitStack() as held:
        try:
            held.enter_context(lock_folder(folder, "a calculation"))
        except MachineError as fault:
            book.note(f"no checkpoint is kept: {fault}")
            yield None
        else:
            yield folder


def _fits(found: CheckpointContents, atoms: int) -> bool:
    arrays = [found.start_N3, *(frame.positions_N3 for frame in found.frames)]
    return all(len(array) == atoms for array in arrays)
