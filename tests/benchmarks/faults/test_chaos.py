"""Disturbances follow from their seed, differences are counted, two seeds are run for real."""

import csv
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from support.faults.moments import LAKE_FILES, PHASES, draw_disturbances
from support.faults.postgres import why_no_postgres
from support.faults.stored_tables import (
    COMPARED,
    OF_ONE_DATABASE,
    OF_ONE_TRY,
    Difference,
    compare,
)
from support.paths import PYTHONPATH
from support.scripts import BENCHMARKS, load_script

from screening_db.migrations.id_views import ID_VIEWS
from screening_db.tables import Base

SCRIPT = BENCHMARKS / "faults" / "chaos.py"
COUNTS = [
    ("", {}),
    ("screen", {"chunks": 7, LAKE_FILES: 7, "predictions": 90}),
    ("verify", {"chunks": 7, LAKE_FILES: 7, "predictions": 90, "verified": 9}),
    *[
        (name, {"chunks": 7, LAKE_FILES: 8, "predictions": 99, "verified": 12, "rounds": 2})
        for name in ("promote", "rescore", "loop", "rollback")
    ],
]
WANTED = {"rank": pd.DataFrame({"campaign": "c", "rank": [1, 2], "energy_ev": [0.1, 0.2]})}


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(SCRIPT, monkeypatch)


def test_equal_seeds_draw_equal_disturbances_in_the_order_of_the_script() -> None:
    order = [name for name, _ in COUNTS]
    drawn = [draw_disturbances(seed, COUNTS, with_server=True) for seed in range(200)]
    assert drawn == [draw_disturbances(seed, COUNTS, with_server=True) for seed in range(200)]
    assert {len(one) for one in drawn} == {1, 2, 3, 4}
    assert {d.phase for one in drawn for d in one} == set(PHASES)
    for one in drawn:
        commands = [order.index(d.phase.command) for d in one]
        assert commands == sorted(commands)
        for d in one:
            assert d.count <= dict(COUNTS)[d.phase.command].get(d.phase.counted, 0)


def test_every_table_is_compared_or_named() -> None:
    under_keys = {n for n in Base.metadata.tables if n.startswith("stored_")}  # views show them
    inside_views = {"pair", "predictor"}
    known = COMPARED | OF_ONE_DATABASE | OF_ONE_TRY | under_keys | inside_views
    assert set(Base.metadata.tables) | set(ID_VIEWS) <= known


def test_a_server_is_stopped_only_where_there_is_one() -> None:
    targets = {
        with_server: {
            d.target
            for seed in range(200)
            for d in draw_disturbances(seed, COUNTS, with_server=with_server)
        }
        for with_server in (False, True)
    }
    assert targets == {
        False: {"group", "command", "worker"},
        True: {"group", "command", "worker", "server"},
    }


@pytest.mark.parametrize(
    ("energies", "ranks", "counted"),
    [
        ([0.1, 0.2], [1, 2], Difference()),
        ([0.1], [1], Difference(lost=1)),
        ([0.1, 0.2, 0.3], [1, 2, 3], Difference(doubled=1)),
        ([0.1, 0.2, 0.2], [1, 2, 2], Difference(doubled=1)),
        ([0.1, 0.3], [1, 2], Difference(different=1)),
        ([], [], Difference(lost=2)),
    ],
)
def test_rows_that_are_lost_doubled_or_different_are_counted(
    energies: list[float], ranks: list[int], counted: Difference
) -> None:
    frame = pd.DataFrame({"campaign": "c", "rank": ranks, "energy_ev": energies})
    found = compare({"rank": frame} if ranks else {}, WANTED)
    assert (found.lost, found.doubled, found.different) == (
        counted.lost,
        counted.doubled,
        counted.different,
    )
    assert bool(found.first) == (counted != Difference())


def test_a_tally_is_read_as_it_was_written(chaos: ModuleType, tmp_path: Path) -> None:
    first = "scoring (chunks 1) +7 ms SIGKILL group"
    second = "ranking (chunks 7) +1 ms SIGINT command; promoting +3 ms SIGKILL group: too late"
    lines = [
        chaos.TallyLine(3, "sqlite", first, 0, 0, 0, "", 9.5, "abc"),
        chaos.TallyLine(4, "sqlite", second, 1, 0, 2, "a, b", 8.0, "abc"),
    ]
    for line in lines:
        chaos.append(tmp_path / "tally.csv", line)
    assert chaos.read_tally(tmp_path / "tally.csv") == lines
    summary = chaos.summary(lines)
    assert "sqlite: 2 seeds, 2 disturbances; 1 rows lost, 0 doubled, 2 different" in summary
    assert "SIGKILL group 1" in summary


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_two_seeds_lose_double_and_change_nothing(backend: str, tmp_path: Path) -> None:
    if backend == "postgresql" and (reason := why_no_postgres()):
        pytest.skip(reason)
    tally = tmp_path / "tally.csv"
    command = [sys.executable, str(SCRIPT), "--tally", str(tally), "--backend", backend]
    run = subprocess.run(
        [*command, "--seeds", "0-1"],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    with tally.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1"]
    for row in rows:
        assert (row["lost"], row["doubled"], row["different"], row["faults"]) == ("0", "0", "0", "")
        assert "SIG" in row["disturbances"]
