"""The commands for the database, and the backup that the documentation describes."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.campaigns import read_predictions
from support.paths import REPOSITORY
from typer.testing import CliRunner

from flows.cli.app import app
from flows.records.folders import MARK
from screening_db.database import open_to_read
from screening_db.database.engine import open_database
from screening_db.database.schema import migrate
from screening_db.errors import DatabaseError

SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    open_database(tmp_path / "runs" / "screening.db").close()
    return tmp_path / "runs" / "screening.db"


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["db", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_is_said_where_the_parts_lie(database: Path) -> None:
    lines = dict(line.split(maxsplit=1) for line in said("where").splitlines())
    assert lines["database"] == str(database)
    assert lines["lake"] == f"{database.with_suffix('')} (not made yet)"
    assert re.fullmatch("[0-9a-f]{32}", lines["id"])


def test_a_folder_is_moved(database: Path, tmp_path: Path) -> None:
    assert said("move", "--lake", "elsewhere").split() == ["lake", str(tmp_path / "elsewhere")]
    assert (tmp_path / "elsewhere" / MARK).exists()
    assert str(tmp_path / "elsewhere") in said("where")


def make_former(address: Path | str) -> None:
    """Bring a database to the schema of a former release."""
    db = open_database(address)
    migrate(db.engine, db.where, "0006")
    db.close()


def revision_of(address: Path | str) -> str:
    with closing(open_to_read(address, former=True)) as db:
        return db.revision


@pytest.mark.medium
def test_an_upgrade_of_a_server_asks_for_a_backup(own_postgres: str) -> None:
    make_former(own_postgres)
    command = ["db", "upgrade", "--database", own_postgres]
    declined = CliRunner().invoke(app, command, input="n\n")
    assert declined.exit_code == 1
    assert "Is there a backup, and was restoring it tried?" in declined.output
    assert revision_of(own_postgres) == "0006"
    assert "has schema" in said("upgrade", "--yes", "--database", own_postgres)
    assert "has schema" in said("upgrade", "--database", own_postgres)  # nothing is asked any more


def test_an_upgrade_of_a_file_asks_nothing(database: Path) -> None:
    make_former(database)
    assert "has schema" in said("upgrade")
    assert list(database.parent.glob("screening.db.0006.backup"))


def test_a_backup_of_a_former_schema_changes_nothing(database: Path, tmp_path: Path) -> None:
    make_former(database)
    assert "of schema 0006" in said("backup", "kept.db")
    assert revision_of(database) == revision_of(tmp_path / "kept.db") == "0006"
    assert not list(database.parent.glob("*.backup"))


def test_a_backup_names_the_folders(database: Path, tmp_path: Path) -> None:
    said("move", "--lake", "elsewhere")
    assert f"lake      {tmp_path / 'elsewhere'}" in said("backup", "kept.db").splitlines()


@pytest.mark.parametrize("command", [["db", "where"], ["plan", "tiny.yaml", "--since", "tiny"]])
def test_what_only_reads_leaves_a_former_schema(database: Path, command: list[str]) -> None:
    make_former(database)
    Path("tiny.yaml").write_text(
        "name: tiny\nbulks: {elements: [Cu]}\nadsorbates: [H]\ntarget: {H: {window: [-1, 0]}}\n"
        "level: emt\n"
    )
    with pytest.raises(DatabaseError, match=r"has schema 0006 of a former .*sabatier db upgrade"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert revision_of(database) == "0006"


def test_there_is_nothing_to_upgrade_where_there_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no screening database"):
        said("upgrade", "--yes", "--database", str(tmp_path / "none.db"))


def in_shell(folder: Path, commands: str) -> str:
    """Run commands as they are documented, and return what they print."""
    command = f"{sys.executable} -m flows.cli.app"
    done = subprocess.run(
        ["/bin/sh", "-ec", commands.replace("sabatier ", f"{command} ")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.slow
def test_the_documented_backup_holds_the_whole_screening(screened, new_workplace) -> None:
    first, place = screened[0], new_workplace()
    shutil.copytree(first.folder / "runs", place.folder / "runs")
    blocks = SHELL.findall((REPOSITORY / "docs" / "backup.md").read_text())
    back_up, restore = blocks
    in_shell(place.folder, back_up)
    shutil.rmtree(place.folder / "runs")
    assert str(place.folder / "restored" / "screening") in in_shell(place.folder, restore)
    again = place.run("screen", "tiny.yaml", "--database", "restored/screening.db")
    assert "was finished before" in again.out, again.err
    found = read_predictions(place.folder / "restored" / "screening", "tiny")
    assert found.equals(read_predictions(first.folder / "runs" / "screening", "tiny"))
