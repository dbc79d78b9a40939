"""What a user gets wrong is one line on stderr and exit status 2, never a traceback."""

import errno
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import app as cli
from flows.screening import start
from screening_db.database.engine import open_database
from screening_db.records.screening import record_adsorbates
from screening_db.tables.screening import AdsorbateRow

Complain = Callable[..., str]


@pytest.fixture
def complaint(
    workplace: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Complain:
    """Return a function that runs a command that must fail, and returns its one line."""
    monkeypatch.chdir(workplace.folder)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["sabatier", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("sabatier: ")
        return error

    return run


# what is replaced in the campaign, by what, and what the line has to say: rule, value, way out
FAULTS = {
    "unknown key": ("budget: 4", "bugdet: 4", ["unknown key 'bugdet' in triage", "'budget'"]),
    "window": ("[-2.0, -1.2]", "[-1, -2]", ["low below high", "[-1.0, -2.0]", "swap"]),
    "adsorbate": ("[H, O, CH]", "[H, O, CHx]", ["'CHx'", "the nearest of", "CH"]),
    "adsorbate twice": ("[H, O, CH]", "[O, CHO, HCO]", ["given once", "both CHO", "remove one"]),
    "level": (
        "level: emt",
        "level: emtt",
        ["emtt", "the nearest of 11 names are emt", "sabatier levels"],
    ),
    "level of the model": ("level: emt", "level: beef-vdw-co", ["answers at", "emt", "choose one"]),
    "engine": (
        "budget: 4}",
        "budget: 4}\nverification: {engine: vasp}",
        ["computed with emt", "'vasp'"],
    ),
    "plane": (
        "max_miller: 1",
        "millers: [[0, 0, 0]]",
        ["a number other than 0, got (0 0 0)", "line 5"],
    ),
    "no plane": ("max_miller: 1", "millers: []", ["one or more indices", "got ()"]),
    "own adsorbate": (
        "[H, O, CH]",
        "[O, {file: oh.xyz, binding: [0], name: CO}]",
        ["CO is another species", "HO", "another name"],
    ),
    "prototype": ("[Cu, Pt, Fe]", "[Xx]", ["needs bulks", "Xx"]),
    "no file": ("[Cu, Pt, Fe]", "[]", ["needs bulks", "broken.cif", "no _cell_length_b"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_the_campaign(case: str, workplace: Any, complaint: Complain) -> None:
    old, new, said = FAULTS[case]
    workplace.edit(old, new)
    (workplace.folder / "oh.xyz").write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    line = complaint("plan", "tiny.yaml")
    assert [part for part in said if part not in line] == []


def test_a_campaign_file_that_is_not_there(complaint: Complain) -> None:
    assert "campaign file none.yaml does not exist; check the path" in complaint(
        "screen", "none.yaml"
    )


def test_a_model_that_is_not_there(workplace: Any, complaint: Complain, checkpoint: Path) -> None:
    workplace.edit(str(checkpoint), "no-such-model")
    assert "no checkpoint 'no-such-model'" in complaint("screen", "tiny.yaml")


def test_a_checkpoint_whose_hash_is_wrong(
    workplace: Any, complaint: Complain, checkpoint: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    settings = json.loads((copy / "baseline.json").read_text())
    settings["calibration"]["emt"]["scale"] = 0.0
    (copy / "baseline.json").write_text(json.dumps(settings))
    workplace.edit(str(checkpoint), str(copy))
    line = complaint("screen", "tiny.yaml")
    assert "baseline.json must have SHA-256" in line
    assert not workplace.database.exists()


def test_a_database_of_a_newer_schema(workplace: Any, complaint: Complain) -> None:
    open_database(workplace.database).close()
    with sqlite3.connect(workplace.database) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    assert "9999" in complaint("screen", "tiny.yaml")


def test_an_adsorbate_that_is_another_one_in_this_database(
    workplace: Any, complaint: Complain
) -> None:
    db = open_database(workplace.database)
    record_adsorbates(db, [AdsorbateRow(name="O", formula="O", structure="{}", binding=[0])])
    db.close()
    assert "adsorbate O is stored in" in complaint("screen", "tiny.yaml")
    with sqlite3.connect(workplace.database) as connection:
        assert connection.execute("select count(*) from campaign").fetchone() == (0,)


def test_a_file_that_is_no_database(workplace: Any, complaint: Complain) -> None:
    workplace.database.parent.mkdir()
    workplace.database.write_text("hello " * 1000)
    assert "not an SQLite database" in complaint("screen", "tiny.yaml")


def test_no_scheduler_at_the_address(
    workplace: Any, complaint: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cluster.dask.SCHEDULER_TIMEOUT_S", 1)
    workplace.edit("workers: 2", "address: 'tcp://127.0.0.1:9', insecure: true")
    line = complaint("screen", "tiny.yaml")
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in line


@pytest.mark.medium
def test_no_prefect_server_at_the_address(
    complaint: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SABATIER_PREFECT_API_URL", "http://127.0.0.1:9/api")
    line = complaint("screen", "tiny.yaml")
    assert "no Prefect server answers at http://127.0.0.1:9/api" in line


def test_a_full_disk(complaint: Complain, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x.parquet")

    monkeypatch.setattr(start, "_run", full)
    line = complaint("screen", "tiny.yaml")
    assert "the disk of runs/x.parquet is full; free some space" in line


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_runs_out(
    fault: Exception, complaint: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object) -> None:
        raise fault

    monkeypatch.setattr(start, "_run", starved)
    assert "memory ran out; start fewer workers" in complaint("screen", "tiny.yaml")


def test_an_unexpected_fault_keeps_its_traceback(
    workplace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.chdir(workplace.folder)
    monkeypatch.setattr(start, "_run", broken)
    monkeypatch.setattr("sys.argv", ["sabatier", "screen", "tiny.yaml"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("candidates", "tiny"), "there is no screening database"),
        (("funnel", "tiny"), "run a campaign first"),
        (("verify", "tiny"), "run a campaign first"),
        (("forget", "tiny"), "run a campaign first"),
        (("sql", "select 1"), "run a campaign first"),
    ],
)
def test_looking_before_anything_ran(
    arguments: tuple[str, ...], said: str, workplace: Any, complaint: Complain
) -> None:
    assert said in complaint(*arguments)
    assert not workplace.database.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("candidates", "tiny"), "no campaign tiny"),
        (("verify", "tiny"), "no campaign tiny"),
        (("sql", "delete from bulk"), "only reading statements"),
        (("sql", "select nothing from nowhere"), "was not answered"),
    ],
)
def test_a_missing_item_is_refused(
    arguments: tuple[str, ...], said: str, workplace: Any, complaint: Complain
) -> None:
    open_database(workplace.database).close()
    assert said in complaint(*arguments)


def test_a_setting_that_cannot_be_used(
    complaint: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SABATIER_WORKERS", "many")
    assert "environment variable SABATIER_WORKERS" in complaint("plan", "tiny.yaml")
