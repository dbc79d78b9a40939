"""The relaxing stage: the best pairs are relaxed by a potential, and its energies rank."""

import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.labels.relaxing import OFF_BY_EV, RelaxingStage, relaxing_stage

pytestmark = [pytest.mark.slow, pytest.mark.full]  # three minutes of a processor to prepare

RANKED = (
    "select rank, candidate_id, energy_ev, sigma_ev, probability, basis from ranked_candidates "
    "where campaign = 'tiny' order by rank"
)
BASIS_BY_PAIR = (
    "select c.pair_id, max(p.basis) from candidate c join prediction p on p.candidate_id = c.id "
    "where p.in_domain group by c.pair_id"
)
RANKED_BASIS = (
    "select c.pair_id, r.basis from ranked_candidates r join candidate c on c.id = r.candidate_id"
)
STATES = "select stage, item_id, state, reason from campaign_item order by stage, item_id"
QUEUE = "select item, level, state, priority, why from queue where level = 'emt' order by item"
LABELS = (
    "select candidate_id, energy_ev, trainable from label where level = 'emt-coarse' order by 1"
)


def ask(workplace: Any, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{workplace.database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> RelaxingStage:
    return relaxing_stage(tmp_path_factory.mktemp("stage"), checkpoint)


@pytest.fixture(scope="module")
def new_relaxing(new_workplace: Callable[[], Any], stage: RelaxingStage) -> Callable[[], Any]:
    """Return a function that makes a folder with the tiny campaign and its relaxing stage."""

    def make() -> Any:
        workplace = new_workplace()
        section = stage.section(per_pair=2, top=3)
        workplace.edit("triage:", f"{section}triage:")
        return workplace

    return make


@pytest.fixture(scope="module")
def relaxed(new_relaxing: Callable[[], Any]) -> tuple[Any, Any]:
    workplace = new_relaxing()
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    return workplace, said


def test_the_best_placements_of_the_best_pairs_are_relaxed(relaxed: tuple[Any, Any]) -> None:
    workplace, said = relaxed
    labels = ask(workplace, LABELS)
    assert 3 <= len(labels) <= 6
    assert "relaxed at emt-coarse: " in said.out
    pairs = "select count(distinct pair_id) from candidate where id in (select candidate_id from "
    assert ask(workplace, f"{pairs}label where level = 'emt-coarse')") == [(3,)]


def test_a_ranking_says_which_pairs_were_relaxed_and_ranks_them_by_the_difference(
    relaxed: tuple[Any, Any],
) -> None:
    workplace, said = relaxed
    ranked = ask(workplace, RANKED)
    assert {row[5] for row in ranked} == {"", "emt-coarse"}
    trainable = {item: energy for item, energy, clean in ask(workplace, LABELS) if clean}
    for _, candidate, energy, *_, basis in ranked:
        assert (basis == "emt-coarse") == (candidate in trainable)
        if basis:
            assert energy == pytest.approx(trainable[candidate] + OFF_BY_EV, abs=0.1)
    lowest = dict(ask(workplace, BASIS_BY_PAIR))
    assert all(lowest[pair] == basis for pair, basis in ask(workplace, RANKED_BASIS))
    assert "emt-coarse" in said.out


def test_what_a_relaxation_took_apart_is_in_the_funnel_with_its_reason(
    relaxed: tuple[Any, Any],
) -> None:
    workplace, said = relaxed
    flagged = [item for item, _, clean in ask(workplace, LABELS) if not clean]
    states = {item: (state, reason) for _, item, state, reason in ask(workplace, STATES)}
    for item in flagged:
        state, reason = states[item]
        assert state == "out_of_domain"
        assert " at emt-coarse: " in reason
    assert not {state for state, _ in states.values()} & {"predicted"}
    assert f"relaxed at emt-coarse: 6 placements, {6 - len(flagged)} without a flag" in said.out


def test_only_what_is_ranked_so_is_queued_for_verification(relaxed: tuple[Any, Any]) -> None:
    workplace, _ = relaxed
    queued = [row[0] for row in ask(workplace, QUEUE)]
    assert 0 < len(queued) <= 4
    states = {item: state for _, item, state, _ in ask(workplace, STATES)}
    assert {states[item] for item in queued} == {"queued"}


def test_verification_starts_where_the_stage_ended(relaxed: tuple[Any, Any]) -> None:
    workplace, _ = relaxed
    said = workplace.run("verify", "tiny")
    assert said.status == 0, said.err
    starts = ask(
        workplace,
        "select s.energy_ev, l.e_adslab from calculation_step s join label l on l.candidate_id = "
        "s.item and l.level = 'emt-coarse' and l.trainable where s.level = 'emt' and s.step = 0",
    )
    assert starts
    assert all(start == pytest.approx(end, abs=1e-6) for start, end in starts)


def test_a_stage_that_is_killed_goes_on_and_ends_the_same(
    new_relaxing: Callable[[], Any], relaxed: tuple[Any, Any]
) -> None:
    workplace = new_relaxing()
    process = workplace.start("screen", "tiny.yaml")
    while process.poll() is None and not labels_there(workplace):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    with sqlite3.connect(workplace.database) as connection:  # two minutes later, as it were
        connection.execute("update queue set lease_until = 0 where state = 'leased'")
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    for query in (RANKED, LABELS, STATES):
        assert ask(workplace, query) == ask(relaxed[0], query)


def test_one_checkpoint_may_screen_and_turn_energies_and_chooses_once(
    new_relaxing: Callable[[], Any], stage: RelaxingStage, checkpoint: Path
) -> None:
    workplace = new_relaxing()
    workplace.edit(f"difference: {stage.difference}, ", "")
    workplace.edit(f"model: {checkpoint}", f"model: {stage.difference}")
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    before = [ask(workplace, query) for query in (LABELS, RANKED, STATES)]
    assert {row[5] for row in before[1]} == {"", "emt-coarse"}
    with sqlite3.connect(workplace.database) as connection:  # killed before its last transaction
        connection.execute("update campaign set status = 'running', relaxed_with = ''")
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    assert [ask(workplace, query) for query in (LABELS, RANKED, STATES)] == before


def labels_there(workplace: Any) -> bool:
    try:
        return bool(ask(workplace, LABELS))
    except sqlite3.Error:  # not made yet
        return False


def test_the_plan_says_what_the_stage_computes(new_relaxing: Callable[[], Any]) -> None:
    said = new_relaxing().run("plan", "tiny.yaml")
    assert "relaxes 6 placements of 3 pairs at most at emt-coarse" in said.out


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("level: {level}", "level: emt", "relax.level and the level of verification must differ"),
        ("difference: {difference}", "difference: mini", "starts from no energies"),
        ("difference: {difference}, ", "", "starts from no energies"),
        ("per_pair: 2", "per_pair: 0", "per_pair"),
    ],
)
def test_a_stage_that_cannot_be_is_one_line(
    new_relaxing: Callable[[], Any],
    stage: RelaxingStage,
    checkpoint: Path,
    old: str,
    new: str,
    why: str,
) -> None:
    workplace = new_relaxing()
    named = {"level": stage.level, "difference": stage.difference, "base": checkpoint}
    workplace.edit(old.format(**named), new.format(**named))
    said = workplace.run("plan", "tiny.yaml")
    assert said.status == 2
    assert why in said.err
    assert "Traceback" not in said.err
