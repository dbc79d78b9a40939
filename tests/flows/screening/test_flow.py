"""One tiny campaign on the real server, real workers and a real checkpoint."""

import csv
import io
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.campaigns import read_predictions
from support.faults.stored_tables import Tables, stored_tables
from support.processes import workers_of

pytestmark = pytest.mark.slow


def assert_same(found: Tables, wanted: Tables) -> None:
    assert set(found) == set(wanted)
    for name, frame in wanted.items():
        pd.testing.assert_frame_equal(found[name], frame, obj=name)


def is_running(database: Path) -> bool:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return bool(connection.execute("select count(*) from campaign").fetchone()[0])
    except sqlite3.Error:  # not made yet
        return False


def chunks_done(database: Path) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute("select count(*) from chunk").fetchone()[0])
    except sqlite3.Error:  # not made yet
        return 0


def stop_in_the_middle(workplace: Any, how: signal.Signals) -> tuple[int, str]:
    process = workplace.start("screen", "tiny.yaml")
    while chunks_done(workplace.database) == 0 and process.poll() is None:
        time.sleep(0.002)
    if how is signal.SIGKILL:
        process.kill()  # its workers and its server have to notice by themselves
    else:
        os.killpg(process.pid, how)
    _, err = process.communicate(timeout=300)
    return process.returncode, err


def test_a_screening_ends_with_ranking_funnel_and_paths(screened: tuple[Any, Any]) -> None:
    workplace, said = screened
    assert "Cu(111)" in said.out
    assert "±" in said.out
    assert "queued" in said.out
    assert str(workplace.database) in said.out
    assert "Traceback" not in said.err


def test_a_screening_is_logged_beside_its_database(screened: tuple[Any, Any]) -> None:
    workplace, said = screened
    log = workplace.database.with_suffix(".log").read_text()
    assert "screen tiny: started" in log
    assert "screen tiny: finished" in log
    assert "started" not in said.err


def test_every_placement_is_in_one_terminal_state(screened: tuple[Any, Any]) -> None:
    found = stored_tables(screened[0].database)
    items = found["campaign_item"]
    placements = items[items.stage == "placement"]
    assert placements.item_id.is_unique
    assert set(placements.state) <= {"queued", "kept", "passed_over", "refused", "out_of_domain"}
    assert (placements.state == "queued").sum() == len(found["queue"]) == 4
    assert len(found["candidate"]) + (placements.state == "refused").sum() == len(placements)
    used = items[items.state == "used"]
    assert set(used[used.stage == "slab"].item_id) == set(found["slab"].id)


def test_refused_items_are_counted_with_their_reason(screened: tuple[Any, Any]) -> None:
    items = stored_tables(screened[0].database)["campaign_item"]
    refused = items[items.state == "refused"].set_index("stage").reason
    assert set(refused["slab"]) == {"slab element not in the training set at emt: Fe"}
    assert (
        "adsorbate not in the training set at emt: CH; the nearest of 5 names are"
        in refused["adsorbate"]
    )
    assert sorted(reason.split(":")[0] for reason in refused["bulk"]) == [
        "a crystal has a cell and positions as fractions of it",
        "no slab is left",
    ]


def test_an_element_that_the_engine_of_the_level_lacks_is_refused(workplace: Any) -> None:
    workplace.edit("Pt, Fe]", "Pt, Rh]")  # the model knows Rh
    said = workplace.run("plan", "tiny.yaml")
    reason = "element that engine emt has no potential for: Rh"
    assert f"refused 3 slabs of 1 crystal (Rh): {reason}\n" in said.out


@pytest.mark.full
def test_pairs_that_a_potential_with_u_cannot_know_have_a_row_and_no_placement(
    workplace: Any,
) -> None:
    (workplace.folder / "own.yaml").write_text(
        "based_on: diep-r2scan\nname: own\ncalculation: {potentials: {trained_on: MPtrj}}\n"
    )
    workplace.edit("Pt, Fe]", "Ni]")
    workplace.edit("level: emt", "level: emt\nverification: {level: own.yaml}")
    workplace.edit("[-2.0, -1.2]}", "[-2.0, -1.2]}\n  H: {window: [-2.0, 2.0]}")
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    found = stored_tables(workplace.database)
    items, slabs = found["campaign_item"], found["slab"].set_index("id")
    nickel = set(slabs[slabs.elements.astype(str).str.contains("Ni")].index)
    pairs = items[items.stage == "pair"]
    assert {item.split()[1] for item in pairs.item_id} == nickel
    assert set(pairs.item_id.str.split().str[2]) == {"O"}
    assert set(pairs.state) == {"refused"}
    assert pairs.reason.str.startswith("pair that level own cannot verify: ").all()
    candidates = found["candidate"].set_index("id")
    on_nickel = candidates.slab_id.isin(nickel)
    assert set(candidates[on_nickel].adsorbate) == {"H"}
    assert set(candidates[~on_nickel].adsorbate) == {"H", "O"}
    assert candidates.loc[found["queue"].candidate_id].slab_id.isin(nickel).any()


def test_queued_candidates_have_a_structure(screened: tuple[Any, Any]) -> None:
    found = stored_tables(screened[0].database)
    candidates = found["candidate"].set_index("id")
    assert candidates.loc[found["queue"].candidate_id].structure.notna().all()


def test_the_lake_holds_every_prediction(screened: tuple[Any, Any]) -> None:
    workplace, _ = screened
    lake = read_predictions(workplace.database.with_suffix(""), "tiny")
    stored = stored_tables(workplace.database)["prediction"].sort_values("candidate_id")
    assert list(lake.candidate_id) == list(stored.candidate_id)
    assert list(lake.energy_ev) == list(stored.energy_ev)


def test_only_targets_are_ranked(screened: tuple[Any, Any]) -> None:
    rank = stored_tables(screened[0].database)["rank"]
    assert set(rank.adsorbate) == {"O"}
    assert list(rank["rank"]) == list(range(1, len(rank) + 1))


def test_plan_counts_agree_with_the_run(screened: tuple[Any, Any]) -> None:
    workplace, _ = screened
    found = stored_tables(workplace.database)
    placements = (found["campaign_item"].stage == "placement").sum()
    said = workplace.run("plan", "tiny.yaml")
    assert f"{len(found['slab'])} slabs" in said.out
    assert f"{placements} placements" in said.out


def test_a_second_run_adds_no_row_and_starts_nothing(screened: tuple[Any, Any]) -> None:
    workplace, _ = screened
    before = stored_tables(workplace.database)
    said = workplace.run("screen", "tiny.yaml", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert said.status == 0
    assert "nothing is left to run" in said.out
    assert_same(stored_tables(workplace.database), before)


def test_sql_answers_a_program_with_comma_separated_values(screened: tuple[Any, Any]) -> None:
    said = screened[0].run("sql", "select rank, adsorbate from ranked_candidates limit 2")
    assert list(csv.reader(io.StringIO(said.out))) == [
        ["rank", "adsorbate"],
        ["1", "O"],
        ["2", "O"],
    ]


def test_another_configuration_of_one_name_is_refused(
    screened: tuple[Any, Any], new_workplace: Callable[[], Any]
) -> None:
    other = new_workplace()
    other.edit("budget: 4", "budget: 5")
    said = other.run("screen", "tiny.yaml", "--database", str(screened[0].database))
    assert said.status == 2
    assert "sabatier forget tiny" in said.err


@pytest.mark.full
def test_kill_9_then_the_same_command_equals_an_undisturbed_run(
    screened: tuple[Any, Any], workplace: Any
) -> None:
    stop_in_the_middle(workplace, signal.SIGKILL)
    assert 0 < chunks_done(workplace.database) < chunks_done(screened[0].database)
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    assert_same(stored_tables(workplace.database), stored_tables(screened[0].database))
    lakes = [read_predictions(w.database.with_suffix(""), "tiny") for w in (workplace, screened[0])]
    pd.testing.assert_frame_equal(*lakes)


@pytest.mark.full
def test_ctrl_c_says_how_to_go_on(workplace: Any) -> None:
    status, err = stop_in_the_middle(workplace, signal.SIGINT)
    assert status == 130, err
    assert "sabatier: stopped; what was finished is stored. Go on with: sabatier screen" in err
    assert "Traceback" not in err


@pytest.mark.full
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_ctrl_c_while_workers_start_is_one_line(workplace: Any, workers: int) -> None:
    process = workplace.start("screen", "tiny.yaml")
    while not is_running(workplace.database) and process.poll() is None:
        time.sleep(0.01)
    while workers_of(process) < workers and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode in {130, -signal.SIGINT}  # a shell calls both 130
    assert "sabatier: stopped" in err
    assert "Traceback" not in err


@pytest.mark.full
def test_a_second_run_of_a_campaign_at_the_same_time_is_refused(
    screened: tuple[Any, Any], workplace: Any
) -> None:
    first = workplace.start("screen", "tiny.yaml")
    while not is_running(workplace.database) and first.poll() is None:
        time.sleep(0.01)
    second = workplace.run("screen", "tiny.yaml")
    forget = workplace.run("forget", "tiny")
    first.communicate(timeout=300)
    for refused in (second, forget):
        assert refused.status == 2
        assert "campaign tiny is being screened" in refused.err
        assert refused.err.count("\n") == 1
    assert first.returncode == 0
    assert_same(stored_tables(workplace.database), stored_tables(screened[0].database))


@pytest.mark.full
def test_postgresql_holds_the_same_rows_as_sqlite(
    screened: tuple[Any, Any], new_workplace: Callable[[], Any], own_postgres: str
) -> None:
    """The campaign is the same; only the address differs."""
    copy, workplace = new_workplace(), new_workplace()
    shutil.copytree(screened[0].folder / "runs", copy.folder / "runs")
    address = {"SABATIER_DATABASE": own_postgres}
    said = workplace.run("screen", "tiny.yaml", **address)
    assert said.status == 0, said.err
    found = stored_tables(own_postgres)
    assert_same(found, stored_tables(copy.database))
    assert "nothing is left to run" in workplace.run("screen", "tiny.yaml", **address).out
    assert_same(stored_tables(own_postgres), found)
    lakes = [workplace.folder / "runs" / "tiny_campaign", copy.database.with_suffix("")]
    pd.testing.assert_frame_equal(*(read_predictions(lake, "tiny") for lake in lakes))
    for folder, variables in ((copy, {}), (workplace, address)):
        verified = folder.run("verify", "tiny", "--limit", "2", "--workers", "1", **variables)
        assert verified.status == 0, verified.err
        assert "2 converged" in verified.out
    assert_same(stored_tables(own_postgres), stored_tables(copy.database))
    for command in (("candidates", "tiny"), ("funnel", "tiny"), ("queue", "tiny")):
        assert workplace.run(*command, **address).out == copy.run(*command).out
    answer = workplace.run("sql", "select count(*) from label", **address)
    assert answer.out == "count\n2\n"
