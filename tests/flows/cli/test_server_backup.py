"""A backup of a PostgreSQL database and its folders, restored under another name."""

import shutil
import subprocess
from typing import Any

import pytest
from support.campaigns import read_predictions

pytestmark = pytest.mark.full


def on_server(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_restored_database_goes_on_in_its_own_folders(
    postgres_server: str, own_postgres: str, workplace: Any
) -> None:
    import psycopg

    if shutil.which("pg_dump") is None or shutil.which("pg_restore") is None:
        pytest.skip("pg_dump and pg_restore are not in PATH")
    place, restored = workplace, f"{postgres_server}/restored"
    first = place.run("screen", "tiny.yaml", "--database", own_postgres)
    assert first.status == 0, first.err
    ranking = place.run("candidates", "tiny", "--database", own_postgres).out
    backup = place.folder / "backup"
    backup.mkdir()
    dump = str(backup / "screening.dump")
    on_server("pg_dump", "--format=custom", f"--file={dump}", own_postgres)
    shutil.copytree(place.folder / "runs" / "tiny_campaign", backup / "tiny_campaign")
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
        admin.execute("CREATE DATABASE restored")
    on_server("pg_restore", f"--dbname={restored}", dump)

    refused = place.run("forget", "tiny", "--database", restored)
    assert refused.status == 2
    assert "is a copy of it or its new name" in refused.err
    assert place.run("candidates", "tiny", "--database", restored).out == ranking
    lake = backup / "tiny_campaign"
    moved = place.run("db", "move", "--lake", str(lake), "--database", restored)
    assert moved.status == 0, moved.err
    again = place.run("screen", "tiny.yaml", "--database", restored)
    assert "was finished before" in again.out, again.err
    assert str(lake) in again.out
    original = place.folder / "runs" / "tiny_campaign"
    assert read_predictions(lake, "tiny").equals(read_predictions(original, "tiny"))
