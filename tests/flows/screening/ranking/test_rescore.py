"""Another checkpoint serves: only what matters is predicted again, and back is exactly back."""

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import read_predictions
from support.processes import workers_of

pytestmark = [pytest.mark.slow, pytest.mark.full]  # two minutes of a processor to prepare

RANKS = "select * from rank order by campaign, rank"
STATES = "select item_id, state, reason from campaign_item order by stage, item_id"
QUEUE = "select item, state, priority, why from queue order by item"
PREDICTIONS = "select * from prediction order by candidate_id, checkpoint_sha256"
RANKED_BY = "select checkpoint_sha256, screened_with from campaign"
ALL = (RANKS, STATES, QUEUE, PREDICTIONS, RANKED_BY)


def ask(workplace: Any, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{workplace.database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def state_of(workplace: Any) -> list[list[tuple[Any, ...]]]:
    return [ask(workplace, query) for query in ALL]


@pytest.fixture(scope="session")
def copies(screened: tuple[Any, Any], new_workplace: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that copies the screened campaign to a folder of its own."""

    def copy() -> Any:
        workplace = new_workplace()
        shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
        return workplace

    return copy


@pytest.fixture(scope="session")
def promoted(
    copies: Callable[[], Any], checkpoint: Path, other_checkpoint: Path
) -> Callable[[], Any]:
    """Return a function that copies a screened campaign whose model another checkpoint serves."""
    first = copies()
    said = first.run("model", "promote", str(checkpoint), str(other_checkpoint), "--force")
    assert said.status == 0, said.err
    assert "follow with: sabatier rescore tiny" in said.out

    def copy() -> Any:
        workplace = copies()
        shutil.rmtree(workplace.folder / "runs")
        shutil.copytree(first.folder / "runs", workplace.folder / "runs")
        return workplace

    return copy


@pytest.fixture(scope="session")
def rescored(promoted: Callable[[], Any]) -> tuple[Any, Any]:
    """Re-score the campaign undisturbed: where, and what was said."""
    workplace = promoted()
    said = workplace.run("rescore", "tiny")
    assert said.status == 0, said.err
    return workplace, said


def test_only_contenders_are_predicted_again(
    rescored: tuple[Any, Any], screened: tuple[Any, Any]
) -> None:
    workplace, said = rescored
    mattered = ask(
        screened[0],
        "select item_id from campaign_item where state in ('kept', 'queued') order by item_id",
    )
    again = ask(
        workplace,
        "select candidate_id from prediction p join campaign m "
        "on p.checkpoint_sha256 = m.checkpoint_sha256 order by candidate_id",
    )
    assert again == mattered
    assert f"{len(mattered)} placements predicted again" in said.out
    assert len(ask(workplace, "select id from candidate")) > len(mattered)
    (by,) = ask(workplace, RANKED_BY)
    assert by[0] != by[1]
    assert by[1] == ask(screened[0], RANKED_BY)[0][0]


def test_ranks_states_and_queue_follow_the_new_checkpoint(
    rescored: tuple[Any, Any], screened: tuple[Any, Any]
) -> None:
    workplace, _ = rescored
    ranks = ask(workplace, RANKS)
    assert len(ranks) == len(ask(screened[0], RANKS))
    energies = "select r.energy_ev from rank r order by rank"
    assert ask(workplace, energies) != ask(screened[0], energies)
    queued = "select item_id from campaign_item where state = 'queued' order by item_id"
    assert ask(workplace, queued) == ask(workplace, "select item from queue order by item")
    count = "select stage, count(*) from campaign_item group by stage"
    assert ask(workplace, count) == ask(screened[0], count)


def test_the_lake_holds_the_new_predictions_too(rescored: tuple[Any, Any]) -> None:
    workplace, _ = rescored
    lake = read_predictions(workplace.database.with_suffix(""), "tiny")
    stored = ask(workplace, PREDICTIONS)
    assert list(zip(lake.candidate_id, lake.checkpoint_sha256, strict=True)) == [
        (row[0], row[1]) for row in stored
    ]


def test_once_nothing_is_stale_it_says_so_and_starts_nothing(rescored: tuple[Any, Any]) -> None:
    workplace, _ = rescored
    before = state_of(workplace)
    said = workplace.run("rescore", "tiny", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert said.status == 0, said.err
    assert "nothing is stale" in said.out
    assert state_of(workplace) == before


def test_the_same_campaign_file_adds_nothing_after_another_checkpoint_serves(
    rescored: tuple[Any, Any],
) -> None:
    workplace, _ = rescored
    before = state_of(workplace)
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    assert "nothing is left to run" in said.out
    assert state_of(workplace) == before


def predicted(workplace: Any) -> int:
    query = (
        "select count(*) from prediction p, campaign m where p.checkpoint_sha256 <> m.screened_with"
    )
    return int(ask(workplace, query)[0][0])


KILLED: dict[str, Callable[[Any, Any], bool]] = {
    "while workers start": lambda _, process: workers_of(process) > 0,
    "once predictions are stored": lambda workplace, _: predicted(workplace) > 0,
    "as the ranking changes": lambda workplace, _: len(set(*ask(workplace, RANKED_BY))) > 1,
}


@pytest.mark.parametrize("when", KILLED)
def test_kill_9_then_the_same_command_ends_as_an_undisturbed_run(
    when: str, rescored: tuple[Any, Any], promoted: Callable[[], Any]
) -> None:
    workplace = promoted()
    begun = state_of(workplace)
    process = workplace.start("rescore", "tiny")
    while process.poll() is None and not KILLED[when](workplace, process):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    ranked_by, screened_with = ask(workplace, RANKED_BY)[0]
    if ranked_by == screened_with:  # nothing of the ranking has changed then
        assert [ask(workplace, query) for query in (RANKS, STATES, QUEUE)] == begun[:3]
    else:
        assert state_of(workplace) == state_of(rescored[0])
    said = workplace.run("rescore", "tiny")
    assert said.status == 0, said.err
    assert state_of(workplace) == state_of(rescored[0])


def test_a_rollback_restores_every_rank_and_predicts_nothing(
    rescored: tuple[Any, Any], promoted: Callable[[], Any], screened: tuple[Any, Any]
) -> None:
    workplace = promoted()
    shutil.rmtree(workplace.folder / "runs")
    shutil.copytree(rescored[0].folder / "runs", workplace.folder / "runs")
    model = ask(workplace, "select model from promotion")[0][0]
    said = workplace.run("model", "rollback", model)
    assert said.status == 0, said.err
    assert "ranking restored: tiny" in said.out
    assert [ask(workplace, query) for query in (RANKS, STATES, QUEUE, RANKED_BY)] == [
        ask(screened[0], query) for query in (RANKS, STATES, QUEUE, RANKED_BY)
    ]
    assert ask(workplace, PREDICTIONS) == ask(rescored[0], PREDICTIONS)
    again = workplace.run("model", "rollback", model)
    assert again.status == 2
    assert "none is recorded" in again.err
    forward = workplace.run("model", "promote", model, said.out.split("before by ")[1].split()[0])
    assert forward.status == 0, forward.err
    assert "nothing" not in workplace.run("rescore", "tiny").out
    assert state_of(workplace) == state_of(rescored[0])


def test_the_list_marks_the_one_that_serves_and_show_tells_all_of_it(
    rescored: tuple[Any, Any],
) -> None:
    workplace, _ = rescored
    by, first = ask(workplace, RANKED_BY)[0]
    said = workplace.run("model", "list")
    serves = {line.split("│")[2].strip(): line for line in said.out.splitlines() if "│" in line}
    assert "now" in serves[by[:12]]
    assert "now" not in serves[first[:12]]
    assert "by hand" in said.out
    shown = workplace.run("model", "show", by[:8])
    assert "serves now" in shown.out
    assert f"instead of {first[:12]}, by hand" in shown.out
    assert "ranks       tiny" in shown.out


def test_a_new_campaign_is_screened_with_the_serving_checkpoint(rescored: tuple[Any, Any]) -> None:
    workplace, _ = rescored
    file = workplace.folder / "tiny.yaml"
    (workplace.folder / "second.yaml").write_text(file.read_text().replace("tiny", "second"))
    shutil.copytree(workplace.folder / "runs", workplace.folder / "more")
    said = workplace.run("screen", "second.yaml", "--database", "more/screening.db")
    assert said.status == 0, said.err
    again = workplace.run("screen", "second.yaml", "--database", "more/screening.db")
    assert "nothing is left to run" in again.out
    with sqlite3.connect(workplace.folder / "more" / "screening.db") as connection:
        rows = dict(connection.execute("select name, screened_with from campaign").fetchall())
    assert rows["second"] == ask(workplace, RANKED_BY)[0][0]
    assert rows["tiny"] == ask(workplace, RANKED_BY)[0][1]


def test_a_checkpoint_that_is_gone_is_one_line_with_the_way_out(
    copies: Callable[[], Any], checkpoint: Path, other_checkpoint: Path
) -> None:
    workplace = copies()
    moved = workplace.folder / "moved"
    shutil.copytree(other_checkpoint, moved)
    workplace.run("model", "promote", str(checkpoint), "moved", "--force")
    shutil.rmtree(moved)
    for command in (("rescore", "tiny"), ("screen", "second.yaml")):
        file = workplace.folder / "tiny.yaml"
        (workplace.folder / "second.yaml").write_text(file.read_text().replace("tiny", "second"))
        said = workplace.run(*command)
        assert said.status == 2
        # Folders of a database that was copied are recorded anew, which is said once.
        (fault,) = [line for line in said.err.splitlines() if not line.endswith("from now on")]
        assert "which holds no manifest.json; restore the folder" in fault
        assert "sabatier model rollback" in fault


def test_a_candidate_that_falls_out_of_the_domain_leaves_the_queue_and_is_counted(
    copies: Callable[[], Any], checkpoint: Path, narrow_checkpoint: Path, screened: tuple[Any, Any]
) -> None:
    workplace = copies()
    workplace.run("model", "promote", str(checkpoint), str(narrow_checkpoint), "--force")
    said = workplace.run("rescore", "tiny")
    assert said.status == 0, said.err
    outside = ask(
        workplace,
        "select count(*), min(reason) from campaign_item "
        "where state = 'out_of_domain' and item_id in (select candidate_id from prediction p "
        "join campaign m on p.checkpoint_sha256 = m.checkpoint_sha256 where not p.in_domain)",
    )[0]
    assert outside[0] > 0
    assert "Pt" in outside[1]
    elements = (
        "select distinct s.elements from rank r join candidate c on c.id = r.candidate_id "
        "join slab s on s.id = c.slab_id"
    )
    assert ask(workplace, elements) == [('["Cu"]',)]
    stages = "select stage, count(*) from campaign_item group by stage"
    assert ask(workplace, stages) == ask(screened[0], stages)
    assert workplace.run("model", "rollback", str(checkpoint)).status == 0
    assert ask(workplace, RANKS) == ask(screened[0], RANKS)
    assert ask(workplace, STATES) == ask(screened[0], STATES)


def test_a_campaign_that_is_not_finished_is_not_scored_again(
    copies: Callable[[], Any],
) -> None:
    workplace = copies()
    with sqlite3.connect(workplace.database) as connection:
        connection.execute("update campaign set status = 'running'")
    said = workplace.run("rescore", "tiny")
    assert said.status == 2
    assert "campaign tiny" in said.err
    assert "is not finished; go on with: sabatier screen" in said.err
