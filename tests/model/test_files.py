"""Files and folders are written whole, under names of their own, by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from model.errors import MachineError
from model.files import FolderHeldError, lock_folder, new_file, new_folder
from model.folder_owner import require_trusted_folder

HEX = "0f" * 16
HOLD = """
import sys
from pathlib import Path
from model.files import lock_folder
with lock_folder(Path(sys.argv[1]), "a training"):
    print("held", flush=True)
    sys.stdin.read()
"""


class StoppedError(Exception):
    """Stands for a signal or a full disk in the middle of writing."""


def write_half(file: Path) -> None:
    file.write_text("half")
    raise StoppedError


def test_two_writers_at_once_have_two_names_and_leave_one_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "state"
    with new_file(file) as one, new_file(file) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
        assert not file.exists()
    assert file.read_text() == "one"  # the one that ended last
    assert [left.name for left in tmp_path.iterdir()] == ["state"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("old")
    with pytest.raises(StoppedError), new_file(file) as fresh:
        write_half(fresh)
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("state", "old")]


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "gone").touch()
    with pytest.raises(StoppedError), new_folder(folder) as fresh:
        write_half(fresh / "half")
    assert [file.name for file in folder.iterdir()] == ["gone"]
    with new_folder(folder) as fresh:
        (fresh / "new").touch()
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert [left.name for left in tmp_path.iterdir()] == ["checkpoint"]


def test_a_second_process_is_told_who_holds_a_folder_until_that_one_is_killed(
    tmp_path: Path,
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                FolderHeldError, match=rf"a fine-tuning writes .* held by process {holder.pid} on "
            ),
            lock_folder(tmp_path, "a fine-tuning"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    (tmp_path / "member-0").mkdir()
    (tmp_path / "member-0" / f".state.pt.{HEX}.new").touch()  # as a killed writer leaves it
    with lock_folder(tmp_path, "a fine-tuning"):
        assert list((tmp_path / "member-0").iterdir()) == []


def test_a_lock_removes_no_files_of_others(tmp_path: Path) -> None:
    theirs = [tmp_path / ".vimrc.new", tmp_path / "other-run" / f".state.pt.{HEX}.new"]
    theirs[1].parent.mkdir()
    (theirs[1].parent / ".lock").touch()  # a folder that another run may hold
    for file in theirs:
        file.touch()
    with lock_folder(tmp_path, "a training"):
        assert all(file.exists() for file in theirs)


@pytest.mark.parametrize("is_new_in_place", [False, True])
def test_a_folder_outlives_a_kill_between_its_two_names(
    tmp_path: Path, is_new_in_place: bool
) -> None:
    old = tmp_path / f".checkpoint.{HEX}.old"
    old.mkdir()
    (old / "old").touch()
    (tmp_path / f".checkpoint.{HEX}.new").mkdir()
    folder = tmp_path / "checkpoint"
    if is_new_in_place:
        folder.mkdir()
        (folder / "new").touch()
    with lock_folder(tmp_path, "a training"):
        pass
    assert [file.name for file in folder.iterdir()] == ["new" if is_new_in_place else "old"]
    assert sorted(left.name for left in tmp_path.iterdir()) == [".lock", "checkpoint"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    folder = tmp_path / "checkpoint"
    if is_there:
        folder.mkdir()
        (folder / "old").touch()
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise StoppedError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(StoppedError), new_folder(folder):
        pass
    assert [left.name for left in tmp_path.rglob("*")] == ["checkpoint", "old"] * is_there


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners of files")
def test_folders_that_we_make_are_trusted_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.folder_owner._group", lambda _: ("staff", ["ada", "grace"]))
    before = os.umask(0o002)
    try:
        with lock_folder(tmp_path / "run", "a training"), new_folder(tmp_path / "run" / "baseline"):
            pass
    finally:
        os.umask(before)
    for folder, mode in ((tmp_path / "run", 0o700), (tmp_path / "run" / "baseline", 0o755)):
        require_trusted_folder(folder, "states", "give another folder")
        assert folder.stat().st_mode & 0o777 == mode


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(MachineError, match=r"a training writes to .*/file/run, which cannot be"),
        lock_folder(tmp_path / "file" / "run", "a training"),
    ):
        pass
