"""The database of an embedded Prefect server: migrated once for each version, copied ever after."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from flows.cluster import prefect_database
from flows.cluster.prefect_database import begin_database
from model.errors import FolderError

BEGIN = """
import json, sys
from pathlib import Path
from flows.cluster.prefect_database import begin_database
begin_database(Path(sys.argv[1]))
print(json.dumps("prefect.server.database" in sys.modules))
"""


def begin(home: Path, caches: Path) -> bool:
    """Begin a server's database in a process of its own; return whether it was migrated there."""
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(home)],
        env={**os.environ, "PREFECT_HOME": str(home), "XDG_CACHE_HOME": str(caches)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return bool(json.loads(done.stdout))


def names(database: Path) -> list[tuple[str]]:
    """Return the names of tables and indices; Prefect writes their constraints in any order."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("select name from sqlite_master order by name").fetchall()


@pytest.mark.full
@pytest.mark.slow
def test_it_is_migrated_once_and_copied_ever_after(tmp_path: Path) -> None:
    caches, homes = tmp_path / "caches", [tmp_path / f"home-{n}" for n in range(3)]
    assert begin(homes[0], caches)
    (kept,) = (caches / "sabatier").iterdir()
    assert not begin(homes[1], caches)
    first, second = (names(home / "prefect.db") for home in homes[:2])
    assert first == second
    assert len(first) > 100
    kept.write_bytes(kept.read_bytes()[:50_000])  # a disk that was full
    assert begin(homes[2], caches)
    assert names(homes[2] / "prefect.db") == first == names(kept)


def test_what_holds_more_than_its_schema_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = prefect_database._kept()
    with closing(sqlite3.connect(kept)) as connection:
        connection.execute("create table alembic_version (version_num text)")
        connection.execute("create table deployment (name text)")
        connection.execute("insert into alembic_version values ('1')")
        connection.commit()
        assert prefect_database._is_whole(kept)
        connection.execute("insert into deployment values ('of somebody')")
        connection.commit()
        assert not prefect_database._is_whole(kept)


def test_a_folder_that_others_may_write_to_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sabatier"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FolderError, match=r"databases that servers begin with .* may be written"):
        prefect_database._kept()


def test_a_home_that_has_one_keeps_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "prefect.db").write_text("a schedule's")
    begin_database(home)
    assert (home / "prefect.db").read_text() == "a schedule's"
