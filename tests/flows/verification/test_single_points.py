"""Single points are of what another level relaxed: adslabs and clean slabs, or nothing at all."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.full]

POINTS = """\
name: points
based_on: emt
calculation: {mode: single_point, geometry: emt}
"""


def read(workplace: Any, query: str) -> pd.DataFrame:
    with sqlite3.connect(workplace.database) as connection:
        return pd.read_sql(query, connection)


def verify(workplace: Any, campaign: str, limit: int) -> str:
    said = workplace.run("verify", campaign, "--limit", str(limit), "--workers", "1")
    assert said.status == 0, said.err
    return str(said.out)


@pytest.fixture(scope="module")
def pointed(new_workplace: Callable[[], Any]) -> tuple[Any, str]:
    """Relax one candidate, then ask for single points of two: the workplace and what it said."""
    workplace = new_workplace()
    (workplace.folder / "points.yaml").write_text(POINTS)
    tiny = (workplace.folder / "tiny.yaml").read_text()
    second = tiny.replace("name: tiny", "name: second\nverification: {level: points.yaml}")
    (workplace.folder / "second.yaml").write_text(second)
    for file in ("tiny.yaml", "second.yaml"):
        screened = workplace.run("screen", file)
        assert screened.status == 0, screened.err
    verify(workplace, "tiny", 1)
    return workplace, verify(workplace, "second", 2)


def test_one_that_is_relaxed_elsewhere_has_the_energy_of_its_minimum(
    pointed: tuple[Any, str],
) -> None:
    """EMT's points on EMT's minima, so the two levels agree; slabs are taken relaxed as well."""
    labels = read(pointed[0], "select * from label order by level").set_index("level")
    assert list(labels.index) == ["emt", "points"]
    assert labels.trainable.all()
    assert labels.candidate_id.nunique() == 1
    assert labels.structure.nunique() == 1
    assert (labels.steps.emt, labels.steps.points) == (labels.steps.emt, 0)
    assert labels.steps.emt > 0
    for part in ("energy_ev", "e_slab", "e_adslab"):
        assert labels[part].points == pytest.approx(labels[part].emt, abs=1e-6)


def test_one_that_is_not_is_refused_and_costs_nothing(pointed: tuple[Any, str]) -> None:
    workplace, said = pointed
    assert "1 converged, 0 anomalous, 1 failed" in said
    assert "1 computed by emt 3." in said
    assert re.search(r"failed: \w{12}, \w+ on \w+\(.*: bad_input: single points stand on", said)
    (failed,) = read(workplace, "select * from queue where state = 'failed'").itertuples()
    assert (failed.level, failed.error_class) == ("points", "bad_input")
    assert "single points stand on what emt relaxed" in failed.error_message
    assert "verify it at emt, then retry what failed" in failed.error_message
    slabs = read(workplace, "select * from queue where level = 'points' and kind = 'slab'")
    assert len(slabs) == 1


def test_once_it_is_relaxed_it_is_computed(pointed: tuple[Any, str]) -> None:
    workplace = pointed[0]
    verify(workplace, "tiny", 1)
    retried = workplace.run("queue", "retry", "--where", "state = 'failed' and level = 'points'")
    assert retried.status == 0, retried.err
    verify(workplace, "second", 1)
    labels = read(workplace, "select * from label")
    assert sorted(labels.level) == ["emt", "emt", "points", "points"]
    assert labels.trainable.all()
