"""Files and folders are written whole, under names of their own, by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from model.errors import MachineError
from model.files import FolderHeldError, lock_folder, new_file, new_folder

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
    (tmp_path / "member-0" / ".state.pt.0f.new").touch()  # as a killed writer leaves it
    with lock_folder(tmp_path, "a fine-tuning"):
        assert list((tmp_path / "member-0").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(MachineError, match=r"a training writes to .*/file/run, which cannot be"),
        lock_folder(tmp_path / "file" / "run", "a training"),
    ):
        pass
