"""A campaign predicted at one level of theory and verified at another; the two never mix."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.full]


def read(workplace: Any, query: str) -> pd.DataFrame:
    with sqlite3.connect(workplace.database) as connection:
        return pd.read_sql(query, connection)


@pytest.fixture(scope="module")
def verified(new_workplace: Callable[[], Any]) -> tuple[Any, str, str]:
    """Screen at a level of published labels, verify two with EMT: the workplace and what it said.

    EMT alone says what can be verified, so nothing else of the level has to be installed.
    """
    workplace = new_workplace()
    workplace.edit("level: emt", "level: beef-vdw-ch4\nverification: {level: emt}")
    workplace.edit("window: [-2.0, -1.2]", "window: [-5.0, 5.0]")
    workplace.edit("elements: [Cu, Pt, Fe]", "elements: [Cu, Pt, Rh]")  # EMT has no rhodium
    screened = workplace.run("screen", "tiny.yaml")
    assert screened.status == 0, screened.err
    said = workplace.run("verify", "tiny", "--engine", "emt", "--limit", "2", "--workers", "1")
    assert said.status == 0, said.err
    return workplace, screened.out, said.out


def test_labels_are_of_the_level_of_verification_alone(verified: tuple[Any, str, str]) -> None:
    labels = read(verified[0], "select * from label")
    assert (len(labels), set(labels.level)) == (2, {"emt"})
    assert set(read(verified[0], "select level from prediction").level) == {"beef-vdw-ch4"}
    assert set(read(verified[0], "select level from queue").level) == {"emt"}


def test_both_levels_are_said_and_no_error_is_made_of_them(verified: tuple[Any, str, str]) -> None:
    workplace, screened, said = verified
    assert "energies at beef-vdw-ch4, verification at emt" in screened
    assert "predicted at beef-vdw-ch4, labels at emt" in said
    assert "MAE" not in said
    assert "converged" in workplace.run("candidates", "tiny").out
    assert "predicted at beef-vdw-ch4, verified at emt" in workplace.run("plan", "tiny.yaml").out


def test_a_level_that_cannot_be_computed_is_refused_before_anything_is_queued(
    verified: tuple[Any, str, str],
) -> None:
    refused = read(verified[0], "select reason from campaign_item where state = 'refused'")
    assert refused.reason.str.contains("Rh").any()


def test_another_level_of_verification_is_another_campaign(verified: tuple[Any, str, str]) -> None:
    workplace = verified[0]
    workplace.edit("\nverification: {level: emt}", "")
    said = workplace.run("screen", "tiny.yaml")
    workplace.edit("level: beef-vdw-ch4", "level: beef-vdw-ch4\nverification: {level: emt}")
    assert said.status == 2
    assert "another configuration" in said.err


def test_an_engine_of_another_level_is_refused(verified: tuple[Any, str, str]) -> None:
    workplace = verified[0]
    workplace.edit("{level: emt}", "{level: emt, engine: gpaw}")
    said = workplace.run("plan", "tiny.yaml")
    workplace.edit("{level: emt, engine: gpaw}", "{level: emt}")
    assert said.status == 2
    assert "level emt is computed with emt" in said.err
