"""A second campaign predicts only what no earlier one did, and ends as if it were the first."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.campaigns import read_predictions

pytestmark = pytest.mark.slow

MARK_EV = 0.125  # as sigma: a prediction that carries it was stored before, not made


def answers(database: Path, query: str) -> pd.DataFrame:
    with sqlite3.connect(database) as connection:
        return pd.read_sql(query, connection)


def results(database: Path, campaign: str) -> list[pd.DataFrame]:
    """Return ranks, states, queue and structures of one campaign."""
    own = f"campaign = '{campaign}'"
    queries = (
        f"SELECT rank, rank_group, pair_id, candidate_id, energy_ev, sigma_ev, probability "
        f"FROM rank WHERE {own} ORDER BY rank",
        f"SELECT stage, item_id, state, reason FROM campaign_item WHERE {own} ORDER BY 1, 2",
        "SELECT c.id, c.site, c.structure IS NULL FROM candidate c JOIN campaign_item i "
        f"ON i.item_id = c.id WHERE i.{own} ORDER BY 1",
    )
    return [answers(database, query) for query in queries]


def write_second(workplace: Any, *changes: tuple[str, str]) -> None:
    text = (workplace.folder / "tiny.yaml").read_text()
    for old, new in (("name: tiny", "name: second"), *changes):
        assert old in text
        text = text.replace(old, new)
    (workplace.folder / "second.yaml").write_text(text)


def lake(workplace: Any, campaign: str) -> pd.DataFrame:
    return read_predictions(workplace.database.with_suffix(""), campaign)


def run(workplace: Any, *arguments: str) -> str:
    said = workplace.run(*arguments)
    assert said.status == 0, said.err
    return str(said.out)


@pytest.fixture
def first(screened: tuple[Any, Any], workplace: Any) -> Any:
    """Give a copy of the folder in which the tiny campaign was screened."""
    shutil.copytree(screened[0].folder / "runs", workplace.folder / "runs")
    return workplace


@pytest.mark.full
def test_a_second_campaign_ends_as_in_an_empty_database(
    first: Any, new_workplace: Callable[[], Any]
) -> None:
    more = (("[H, O, CH]", "[H, O, N, CH]"), ("[Cu, Pt, Fe]", "[Cu, Pt, Ag, Fe]"))
    alone = new_workplace()
    for workplace in (first, alone):
        write_second(workplace, *more)
    assert "used again" in run(first, "screen", "second.yaml")
    assert "used again" not in run(alone, "screen", "second.yaml")
    for found, wanted in zip(
        results(first.database, "second"), results(alone.database, "second"), strict=True
    ):
        pd.testing.assert_frame_equal(found, wanted)
    pd.testing.assert_frame_equal(lake(first, "second"), lake(alone, "second"))


@pytest.mark.full
def test_only_new_combinations_are_predicted(first: Any) -> None:
    with sqlite3.connect(first.database) as connection:
        connection.execute(f"UPDATE stored_prediction SET sigma_ev = {MARK_EV}")
    write_second(first, ("[H, O, CH]", "[H, O, N, CH]"), ("[Cu, Pt, Fe]", "[Cu, Ag, Fe]"))
    before = lake(first, "tiny")
    plan = run(first, "plan", "second.yaml", "--since", "tiny")
    said = run(first, "screen", "second.yaml")
    found = lake(first, "second")
    known = found.candidate_id.isin(before.candidate_id)
    assert (known == (found.sigma_ev == MARK_EV)).all()
    assert 0 < known.sum() < len(before) < len(found)
    assert set(found[~known & (found.adsorbate != "N")].slab_id).isdisjoint(before.slab_id)
    assert f"{known.sum():,} placements were predicted before" in said
    items = results(first.database, "second")[1]
    refused = items[(items.stage == "placement") & (items.state == "refused")].item_id
    old = results(first.database, "tiny")[1].item_id
    assert f"{(~known).sum() + (~refused.isin(old)).sum()} placements to predict" in plan


@pytest.mark.full
@pytest.mark.parametrize(
    "change",
    [
        ("kinds: [atop, hollow]", "kinds: [bridge]"),
        ("level: emt", "level: beef-vdw-ch4"),
    ],
    ids=["other sites", "another level"],
)
def test_other_placements_or_another_level_share_nothing(
    first: Any, change: tuple[str, str]
) -> None:
    write_second(first, change)
    for other in ("tiny.yaml", "tiny"):
        assert " 0 known" in run(first, "plan", "second.yaml", "--since", other)
    assert "used again" not in run(first, "screen", "second.yaml")


@pytest.mark.full
def test_another_checkpoint_shares_nothing(first: Any) -> None:
    other = "d" * 64
    with sqlite3.connect(first.database) as connection:
        connection.execute(
            "INSERT INTO checkpoint (sha256, name, kind, card, model, folder) "
            f"SELECT '{other}', name, kind, card, model, folder FROM checkpoint"
        )
        connection.execute(f"UPDATE predictor SET checkpoint_sha256 = '{other}'")
    write_second(first)
    assert "used again" not in run(first, "screen", "second.yaml")
    assert answers(first.database, "SELECT DISTINCT checkpoint_sha256 FROM prediction").size == 2


def test_a_plan_since_itself_has_nothing_new(first: Any) -> None:
    for other in ("tiny.yaml", "tiny"):
        said = run(first, "plan", "tiny.yaml", "--since", other)
        assert "0 placements to predict" in said
        assert "new bulks" not in said


def test_new_and_removed_items_are_named(first: Any) -> None:
    write_second(first, ("[H, O, CH]", "[O, N]"), ("[Cu, Pt, Fe]", "[Cu, Ag]"))
    for other in ("tiny.yaml", "tiny"):
        said = run(first, "plan", "second.yaml", "--since", other)
        for line in ("new bulks: Ag", "gone bulks: Fe, Pt", "new adsorbates: N"):
            assert line in said
        assert "gone adsorbates: H" in said


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("tiny.yml", "campaign file tiny.yml does not exist"),
        ("nobody", "--since is a campaign file or the name of a stored campaign, got 'nobody'"),
        ("broken.cif", "a campaign file is a mapping"),
    ],
)
def test_a_bad_other_is_one_line(workplace: Any, other: str, why: str) -> None:
    said = workplace.run("plan", "tiny.yaml", "--since", other)
    assert said.status == 2
    assert why in said.err
    assert said.err.count("\n") == 1
    assert not workplace.database.exists()


def test_an_unknown_name_is_answered_with_those_that_are_stored(screened: tuple[Any, Any]) -> None:
    said = screened[0].run("plan", "tiny.yaml", "--since", "nobody")
    assert said.status == 2
    assert "there is no campaign nobody" in said.err
    assert "it has tiny" in said.err
