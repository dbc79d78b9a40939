"""The queue is drained by EMT, on real workers, and what comes back stands beside predictions."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def read(workplace: Any, query: str) -> pd.DataFrame:
    with sqlite3.connect(workplace.database) as connection:
        return pd.read_sql(query, connection)


@pytest.fixture(scope="module")
def verified(new_workplace: Callable[[], Any], screened: tuple[Any, Any]) -> tuple[Any, Any]:
    """Verify three of the four that the tiny campaign queued."""
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    said = workplace.run("verify", "tiny", "--limit", "3", "--workers", "2")
    assert said.status == 0, said.err
    return workplace, said


def test_labels_stand_beside_predictions(verified: tuple[Any, Any]) -> None:
    _, said = verified
    assert "labels beside predictions" in said.out
    assert "MAE" in said.out
    assert "90 % intervals hold" in said.out


def test_the_limit_is_kept_and_the_first_in_line_go_first(verified: tuple[Any, Any]) -> None:
    queue = read(
        verified[0], "select * from queue where kind = 'adslab' order by priority desc, item"
    )
    assert set(queue.state[3:]) <= {"queued", "waiting"}
    assert set(queue.state[:3]) <= {"converged", "anomalous"}
    assert queue.lease_token.isna().all()


def test_each_label_is_the_difference_of_stored_energies(verified: tuple[Any, Any]) -> None:
    labels = read(verified[0], "select * from label")
    references = read(verified[0], "select * from reference_energy")
    assert len(labels) == 3
    assert set(labels.level) == {"emt"}
    assert labels.e_slab.isin(references[references.kind == "slab"].energy_ev).all()
    gas = references[references.kind == "gas"].set_index("item").energy_ev
    oxygen = gas["H2O"] - gas["H2"]
    assert (labels.e_adslab - labels.e_slab - oxygen).values == pytest.approx(labels.energy_ev)


def test_references_of_adslabs_are_computed_once_and_each_attempt_is_recorded(
    verified: tuple[Any, Any],
) -> None:
    tries = read(verified[0], "select c.*, q.kind from calculation c join queue q using (item)")
    assert set(tries.state) <= {"converged", "anomalous"}
    assert not tries.item.duplicated().any()
    assert {"H2", "H2O"} <= set(tries.item[tries.kind == "gas"])
    assert (tries.kind == "slab").any()
    assert tries.versions.str.contains('"ase":').all()
    assert (tries.host != "").all()
    assert (tries.level_hash.str.len() == 64).all()
    adslabs = tries[tries.kind == "adslab"]
    assert (adslabs.input_sha256.str.len() == 64).all()
    assert (adslabs.structure_out != adslabs.structure_in).all()
    assert (adslabs.ended_at >= adslabs.started_at).all()


def test_the_rest_is_verified_once_and_then_nothing_is_left(verified: tuple[Any, Any]) -> None:
    workplace, _ = verified
    workplace.run("verify", "tiny", "--workers", "1")
    labels = read(workplace, "select * from label order by candidate_id")
    assert len(labels) == 4
    workplace.run("verify", "tiny")
    pd.testing.assert_frame_equal(
        read(workplace, "select * from label order by candidate_id"), labels
    )


def test_the_queue_of_another_campaign_is_left_alone(
    new_workplace: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    with sqlite3.connect(workplace.database) as connection:
        connection.execute(
            "insert into campaign (name, config_sha256, config, level, checkpoint_sha256, seed, "
            "status) select 'other', config_sha256, config, level, checkpoint_sha256, seed, status "
            "from campaign"
        )
    said = workplace.run("verify", "other")
    assert "0 converged, 0 anomalous, 0 failed" in said.out
    assert set(read(workplace, "select state from queue").state) <= {"queued", "waiting"}
    assert read(workplace, "select * from calculation").empty


def test_a_level_that_was_recorded_with_other_settings_is_refused(
    new_workplace: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    with sqlite3.connect(workplace.database) as connection:
        connection.execute("update level_of_theory set level_hash = 'older' where name = 'emt'")
    said = workplace.run("verify", "tiny")
    assert said.status == 2
    assert "stored is emt older" in said.err
    assert read(workplace, "select * from label").empty


def test_a_structure_that_was_changed_is_failed_and_gives_no_label(
    new_workplace: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    first = "(select candidate_id from queue order by priority desc, candidate_id limit 1)"
    other = f"(select structure from candidate where structure is not null and id <> {first})"
    with sqlite3.connect(workplace.database) as connection:
        connection.execute(f"update stored_candidate set structure = {other} where id = {first}")
    said = workplace.run("verify", "tiny", "--limit", "1", "--workers", "1")
    assert "0 converged, 0 anomalous, 1 failed" in said.out
    failed = read(workplace, "select * from queue where state = 'failed'")
    assert list(failed.error_class) == ["bad_input"]
    assert "changed or damaged" in failed.error_message[0]
    assert read(workplace, "select * from label").empty


def test_an_engine_of_another_level_is_refused(verified: tuple[Any, Any]) -> None:
    said = verified[0].run("verify", "tiny", "--engine", "vasp")
    assert said.status == 2
    assert "level emt is computed with emt, got engine vasp" in said.err


def test_jobs_on_this_machine_verify_the_queue(
    new_workplace: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    said = workplace.run("verify", "tiny", "--on", "local", "--jobs", "2", "--limit", "1")
    assert said.status == 0, said.err
    assert len(read(workplace, "select * from label")) == 1
    jobs = read(workplace, "select distinct job from calculation").job
    assert jobs.str.startswith("local:").all()
    assert jobs.str.contains(str(workplace.folder / "runs" / "screening" / "jobs")).all()


def test_two_workers_on_one_queue_do_nothing_twice(
    new_workplace: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    workplace = new_workplace()
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    both = [workplace.start("verify", "tiny", "--workers", "1") for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    tries = read(workplace, "select * from calculation")
    assert not tries.item.duplicated().any()
    assert set(tries.state) <= {"converged", "anomalous"}
    assert len(read(workplace, "select * from label")) == 4
    ended = [[int(n) for n in re.findall(r"(\d+) (?:conv|anom|fail)", out)] for out, _ in said]
    assert sum(sum(counts) for counts in ended) == 4
