"""Folders whose files are believed are their user's alone, or refused."""

import os
import stat
from pathlib import Path

import pytest

from model.checkpoint import open_checkpoint
from model.errors import FolderError
from model.folder_owner import private_folder, require_trusted_folder

OURS = ("results", "give another folder")


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.fixture
def somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user who owns none of the files that are made here."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_folder_is_made_for_its_user_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert mode(private_folder(tmp_path / "new", *OURS)) == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert mode(private_folder(tmp_path, *OURS)) == 0o700


@pytest.mark.parametrize("check", [private_folder, require_trusted_folder])
def test_a_folder_that_others_may_write_is_refused_and_stays_as_it_is(
    tmp_path: Path, check: object
) -> None:
    assert callable(check)
    tmp_path.chmod(0o777)
    with pytest.raises(FolderError, match=f"written by everybody; .*: chmod -R go-w {tmp_path}$"):
        check(tmp_path, *OURS)
    assert mode(tmp_path) == 0o777


def test_a_folder_below_one_that_everybody_may_write_could_be_replaced(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "open" / "ours", *OURS)
    folder.parent.chmod(0o777)
    with pytest.raises(FolderError, match=f"who may write in {folder.parent}; give another"):
        private_folder(folder, *OURS)
    folder.parent.chmod(0o1777)  # as /tmp is: nobody renames what is another's
    private_folder(folder, *OURS)


def test_a_link_of_another_user_could_lead_elsewhere_tomorrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_folder(tmp_path / "ours", *OURS)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    private_folder(tmp_path / "link", *OURS)
    if os.geteuid() == 0:
        os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    else:
        pytest.skip("only root gives a link to another user")
    with pytest.raises(FolderError, match=f"by a link of .*, {tmp_path}/link; give another"):
        private_folder(tmp_path / "link", *OURS)


def test_a_group_of_one_is_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o770)
    monkeypatch.setattr("model.folder_owner._user_name", lambda _: "me")
    monkeypatch.setattr("model.folder_owner._group", lambda _: ("me", ["me"]))
    require_trusted_folder(tmp_path, *OURS)
    monkeypatch.setattr("model.folder_owner._group", lambda _: ("me", ["me", "you"]))
    with pytest.raises(FolderError, match="written by group me"):
        require_trusted_folder(tmp_path, *OURS)
    monkeypatch.setattr("model.folder_owner._group", lambda _: ("staff", []))
    with pytest.raises(FolderError, match="written by group staff"):
        require_trusted_folder(tmp_path, *OURS)


@pytest.mark.usefixtures("somebody_else")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"results lie .* belongs to .*; give another folder$"):
        private_folder(tmp_path, *OURS)


def test_what_root_installed_may_be_read_but_is_no_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.folder_owner._ROOT", os.getuid())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    require_trusted_folder(tmp_path, *OURS)
    with pytest.raises(FolderError, match="belongs to"):
        private_folder(tmp_path, *OURS)


def test_where_files_have_no_modes_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr("model.folder_owner._keeps_modes", lambda _: False)
    assert private_folder(tmp_path, *OURS) == tmp_path


def test_a_checkpoint_that_others_may_change_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"files": {}, "kind": "baseline"}')
    open_checkpoint(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(FolderError, match="checkpoints lie in a folder of this user's own"):
        open_checkpoint(tmp_path)
