"""The commands for the database, and the backup that the documentation describes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.campaigns import read_predictions
from support.paths import REPOSITORY
from typer.testing import CliRunner

from flows.cli.app import app
from flows.records.folders import MARK
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


def test_an_upgrade_asks_for_a_backup(database: Path) -> None:
    db = open_database(database)
    migrate(db.engine, db.where, "0006")
    db.close()
    declined = CliRunner().invoke(app, ["db", "upgrade"], input="n\n")
    assert declined.exit_code == 1
    assert "has schema" in said("upgrade", "--yes")


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
