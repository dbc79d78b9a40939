"""Folders are found by the database's record, from anywhere, and are of one database alone."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from support.stored_rows import new_database

from flows.errors import CampaignError
from flows.records.folders import (
    MARK,
    default_folder,
    found_folder,
    make_folder,
    move_folders,
    moved_folder,
    read_mark,
    set_folder,
)
from screening_db.database import Database, open_database
from screening_db.records.folders import (
    RecordedFolder,
    database_id,
    record_folder,
    recorded_folder,
)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    (tmp_path / "runs").mkdir()
    return open_database(tmp_path / "runs" / "screening.db")


def test_a_new_folder_is_marked_and_recorded(db: Database, tmp_path: Path) -> None:
    made = make_folder(db, "models")
    assert made == tmp_path / "runs" / "screening.models"
    assert json.loads((made / MARK).read_text())["database"] == database_id(db)
    assert recorded_folder(db, "models") == RecordedFolder(socket.gethostname(), str(made))


def test_looking_makes_nothing(db: Database, tmp_path: Path) -> None:
    assert found_folder(db, "lake") == tmp_path / "runs" / "screening"
    assert not found_folder(db, "lake").exists()
    assert recorded_folder(db, "lake") is None


@pytest.mark.medium
def test_that_of_a_server_is_found_from_another_current_directory(
    own_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = open_database(own_postgres)
    made = make_folder(db, "lake")
    assert made == tmp_path / "runs" / "tiny_campaign"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert found_folder(db, "lake") == made
    db.close()


def test_the_folder_of_another_database_is_refused(db: Database, tmp_path: Path) -> None:
    other = open_database(tmp_path / "runs" / "screening.sqlite")  # would share runs/screening
    make_folder(db, "lake")
    with pytest.raises(CampaignError, match=r"belong to another database, .*screening\.db, not to"):
        make_folder(other, "lake")
    with pytest.raises(CampaignError, match="belong to another database"):
        moved_folder(other, "lake", found_folder(db, "lake"), unmarked=True)


def test_folders_move_with_the_file(db: Database, tmp_path: Path) -> None:
    make_folder(db, "lake")
    db.close()
    (tmp_path / "runs").rename(tmp_path / "moved")
    again = open_database(tmp_path / "moved" / "screening.db")
    assert make_folder(again, "lake") == tmp_path / "moved" / "screening"
    recorded = recorded_folder(again, "lake")
    assert recorded is not None
    assert recorded.path == str(tmp_path / "moved" / "screening")


def test_a_copy_with_its_folders_uses_its_own(db: Database, tmp_path: Path) -> None:
    first = make_folder(db, "lake")
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    copy = open_database(tmp_path / "copy" / "screening.db")
    assert make_folder(copy, "lake") == tmp_path / "copy" / "screening"
    assert found_folder(db, "lake") == first


def test_a_copy_of_the_file_alone_does_not_write_into_the_folders_of_the_first(
    db: Database, tmp_path: Path
) -> None:
    make_folder(db, "lake")
    db.close()
    shutil.copy(tmp_path / "runs" / "screening.db", tmp_path / "copy.db")
    copy = open_database(tmp_path / "copy.db")
    with pytest.raises(CampaignError, match=r"is a copy of .*copy that folder to .*/copy too"):
        make_folder(copy, "lake")


def test_a_stated_folder_is_used_though_another_one_lies_beside_the_file(
    db: Database, tmp_path: Path
) -> None:
    made = make_folder(db, "lake")
    shutil.copytree(made, tmp_path / "larger_disk")
    set_folder(db, "lake", tmp_path / "larger_disk")
    assert found_folder(db, "lake") == tmp_path / "larger_disk"
    assert make_folder(db, "lake") == tmp_path / "larger_disk"


def test_folders_are_moved_together_or_not_at_all(db: Database, tmp_path: Path) -> None:
    lake = make_folder(db, "lake")
    (tmp_path / "file").touch()
    new = {"lake": tmp_path / "new", "models": tmp_path / "file" / "models"}
    with pytest.raises(CampaignError, match="cannot be written"):
        move_folders(db, new, unmarked=False)
    assert found_folder(db, "lake") == lake
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    with pytest.raises(CampaignError, match="holds files"):
        move_folders(db, new | {"models": tmp_path / "full"}, unmarked=False)
    assert found_folder(db, "lake") == lake


def test_a_folder_is_of_one_kind(db: Database, tmp_path: Path) -> None:
    models, lake = make_folder(db, "models"), make_folder(db, "lake")
    with pytest.raises(CampaignError, match="is marked for fine-tuned checkpoints and not for pre"):
        move_folders(db, {"lake": models}, unmarked=False)
    both, inner = tmp_path / "both", tmp_path / "both" / "inner"
    stated = (
        {"lake": both, "models": both},
        {"lake": both, "models": inner},
        {"lake": inner, "models": both},
        {"lake": models / "inner"},
        {"lake": models.parent},
    )
    for each in stated:
        with pytest.raises(CampaignError, match="folders lie apart from each other"):
            move_folders(db, each, unmarked=True)  # type: ignore[arg-type]  # of the literal
    assert (found_folder(db, "lake"), found_folder(db, "models")) == (lake, models)
    assert not both.exists()


def test_a_mark_without_a_kind_is_read_and_gets_one(db: Database) -> None:
    lake = make_folder(db, "lake")
    values = json.loads((lake / MARK).read_text())
    assert values.pop("kind") == "lake"
    (lake / MARK).write_text(json.dumps(values))
    assert found_folder(db, "lake") == make_folder(db, "lake") == lake
    assert json.loads((lake / MARK).read_text())["kind"] == "lake"


def test_a_file_is_no_folder(db: Database, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CampaignError, match=r"lie in a folder .*file \(Not a directory\)"):
        move_folders(db, {"lake": tmp_path / "file"}, unmarked=False)


@pytest.mark.medium
def test_a_copy_on_a_server_does_not_write_into_the_folders_of_the_first(
    own_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = open_database(own_postgres)
    lake = make_folder(first, "lake")
    first.close()
    copy = open_database(copied_on_server(own_postgres))
    with pytest.raises(
        CampaignError, match=r"tiny_copy is a copy of it .* sabatier db move"
    ) as told:
        make_folder(copy, "lake")
    assert f"belong to {first.where}" in str(told.value)
    shutil.copytree(lake, tmp_path / "copy")
    set_folder(copy, "lake", tmp_path / "copy")
    assert found_folder(copy, "lake") == tmp_path / "copy"
    copy.close()
    first = open_database(own_postgres.replace("127.0.0.1", "localhost"))
    assert found_folder(first, "lake") == lake
    first.close()


def copied_on_server(address: str) -> str:
    """Copy a database of a server, which nobody has open, and return the URL of the copy."""
    import psycopg

    server = address.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS tiny_copy WITH (FORCE)")
        admin.execute("CREATE DATABASE tiny_copy TEMPLATE tiny_campaign")
    return f"{server}/tiny_copy"


def test_a_folder_that_is_gone_is_told_and_may_be_stated_anew(db: Database, tmp_path: Path) -> None:
    lake = make_folder(db, "lake")
    lake.rename(tmp_path / "moved")
    with pytest.raises(
        CampaignError, match=r"which is not there .* sabatier db move --lake"
    ) as told:
        found_folder(db, "lake")
    assert "\n" not in str(told.value)
    set_folder(db, "lake", moved_folder(db, "lake", tmp_path / "moved", unmarked=False))
    assert found_folder(db, "lake") == tmp_path / "moved"


def test_a_folder_that_is_not_mounted_is_not_written_to(db: Database) -> None:
    lake = make_folder(db, "lake")
    (lake / MARK).unlink()  # as the empty folder over which another disk is mounted
    with pytest.raises(CampaignError, match="restore or mount it"):
        make_folder(db, "lake")


def test_steps_of_calculations_that_were_deleted_begin_anew(db: Database) -> None:
    work = make_folder(db, "work")
    shutil.rmtree(work)
    assert make_folder(db, "work") == work
    assert read_mark(work) is not None


def test_a_folder_of_another_host_is_told(db: Database) -> None:
    record_folder(db, "lake", RecordedFolder("node7", "/scratch/lake"))
    with pytest.raises(CampaignError, match=r"on host node7 in /scratch/lake, and this is .*mount"):
        found_folder(db, "lake")


def test_a_folder_that_two_hosts_share_is_the_same(db: Database) -> None:
    lake = make_folder(db, "lake")
    record_folder(db, "lake", RecordedFolder("node7", str(lake)))
    assert found_folder(db, "lake") == lake


def test_a_folder_with_files_and_no_mark_is_taken_when_it_is_stated(
    db: Database, tmp_path: Path
) -> None:
    (tmp_path / "former" / "predictions").mkdir(parents=True)
    with pytest.raises(CampaignError, match="state --unmarked"):
        moved_folder(db, "lake", tmp_path / "former", unmarked=False)
    path = moved_folder(db, "lake", tmp_path / "former", unmarked=True)
    set_folder(db, "lake", path)
    assert read_mark(path) is not None
    assert found_folder(db, "lake") == path


def test_databases_have_ids_of_their_own(db: Database, tmp_path: Path) -> None:
    other = open_database(tmp_path / "other.db")
    assert database_id(db) != database_id(other)
    assert default_folder(other, "work") == tmp_path / "other.work"


def test_a_folder_of_a_former_release_is_marked_at_its_first_use(tmp_path: Path) -> None:
    (tmp_path / "screening" / "predictions").mkdir(parents=True)
    db = new_database(tmp_path / "screening.db")
    assert make_folder(db, "lake") == tmp_path / "screening"
    assert read_mark(tmp_path / "screening") is not None
