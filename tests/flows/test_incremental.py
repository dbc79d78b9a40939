"""A campaign that adds to another one predicts what is new, and ends as if it had run alone."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from screening_db.engine import open_database
from screening_db.known_predictions import predictions_of_pairs
from screening_db.lake import read_predictions
from screening_db.queries import campaign, funnel_counts, pair_minima, top_candidates
from tasks.identity import pair_id

pytestmark = pytest.mark.slow

GROWN = (
    ("name: tiny", "name: grown"),
    ("[Cu, Pt, Fe]", "[Cu, Pt, Ni, Fe]"),
    ("H, O, CH", "H, N, O"),
)


@pytest.fixture(scope="module")
def grown(new_workplace: Callable[[], Any]) -> tuple[Any, str, Any, str]:
    """Screen tiny, then one with another metal and adsorbate; and that one alone elsewhere."""
    both, alone = new_workplace(), new_workplace()
    assert both.run("screen", "tiny.yaml").status == 0
    text = (both.folder / "tiny.yaml").read_text()
    for old, new in GROWN:
        assert old in text
        text = text.replace(old, new)
    for place in (both, alone):
        (place.folder / "grown.yaml").write_text(text)
    planned = both.run("plan", "grown.yaml", "--since", "tiny.yaml")
    stored = both.run("plan", "grown.yaml", "--since", "tiny")
    assert table(planned.out) == table(stored.out), stored.err
    said = both.run("screen", "grown.yaml")
    assert said.status == 0, said.err
    assert alone.run("screen", "grown.yaml").status == 0
    return both, planned.out, alone, said.out


def table(text: str) -> list[str]:
    return [line for line in text.splitlines() if "│" in line or "to predict" in line]


def counted(text: str, what: str) -> tuple[int, ...]:
    (line,) = [line for line in text.splitlines() if re.search(rf"\b{what} +│", line)]
    return tuple(int(number.replace(",", "")) for number in re.findall(r"[\d,]+", line))


def test_the_plan_shows_what_is_new(grown: tuple[Any, str, Any, str]) -> None:
    _, planned, _, _ = grown
    assert counted(planned, "bulk") == (1, 0, 3)
    assert counted(planned, "adsorbate") == (1, 0, 2)
    new, gone, unchanged = counted(planned, "placement")
    assert (gone, new > 0, unchanged > 0) == (0, True, True)
    assert f"{new:,} placements to predict" in planned


def test_what_the_plan_calls_unchanged_is_taken_over(grown: tuple[Any, str, Any, str]) -> None:
    both, planned, _, said = grown
    (taken,) = re.findall(r"([\d,]+) placements were predicted before", said)
    db = open_database(both.database, create=False)
    try:
        refused = sum(
            c.count
            for c in funnel_counts(db, "tiny")
            if (c.stage, c.state) == ("placement", "refused")
        )
    finally:
        db.close()
    assert int(taken.replace(",", "")) + refused == counted(planned, "placement")[2]


def test_it_ends_as_if_it_had_run_alone(grown: tuple[Any, str, Any, str]) -> None:
    both, _, alone, _ = grown
    here, there = (open_database(p.database, create=False) for p in (both, alone))
    try:
        assert funnel_counts(here, "grown") == funnel_counts(there, "grown")
        assert pair_minima(here, "grown") == pair_minima(there, "grown")
        assert top_candidates(here, "grown", 50) == top_candidates(there, "grown", 50)
    finally:
        here.close()
        there.close()
    lakes = [read_predictions(p.database.with_suffix(""), "grown") for p in (both, alone)]
    assert lakes[0].equals(lakes[1])


def test_predictions_of_another_checkpoint_or_level_are_not_known(
    grown: tuple[Any, str, Any, str],
) -> None:
    both, _, _, _ = grown
    db = open_database(both.database, create=False)
    try:
        row = campaign(db, "tiny")
        minimum = pair_minima(db, "tiny")[0]
        pairs = [pair_id(minimum.slab_id, minimum.adsorbate)]
        known = predictions_of_pairs(
            db, pairs, checkpoint_sha256=row.checkpoint_sha256, level=row.level
        )
        assert list(known) == [minimum.slab_id]
        assert predictions_of_pairs(db, pairs, checkpoint_sha256="x", level=row.level) == {}
        assert (
            predictions_of_pairs(
                db, pairs, checkpoint_sha256=row.checkpoint_sha256, level="beef-vdw-ch4"
            )
            == {}
        )
    finally:
        db.close()


def test_a_name_that_is_nothing_is_one_line(grown: tuple[Any, str, Any, str]) -> None:
    both, _, _, _ = grown
    said = both.run("plan", "grown.yaml", "--since", "nothing")
    assert said.status == 2
    assert said.err.startswith("sabatier: there is no campaign nothing")
