"""One round of the learning loop with the embedded model, EMT, and nothing but a plain install."""

import os
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from support.paths import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.full]

EXTRAS = ("peft", "rdkit", "psycopg", "submitit", "gpaw", "fairchem", "dask_cuda", "mp_api")
CAMPAIGN = """\
name: small-loop
level: emt
model: mini
bulks: {combine: [{elements: [Al, Au, Cu, Ni], prototypes: [B2]}]}
surfaces: {millers: [[1, 1, 0], [2, 1, 0]], min_thickness: 5.0, min_in_plane: 5.5, vacuum: 10.0}
adsorbates: [C, N, O, CO]
placements: {rotations: 1}
target:
  O: {window: [-1.00, -0.90]}
  N: {window: [-0.60, -0.50]}
  C: {window: [-0.60, -0.40]}
  CO: {window: [-0.45, -0.35]}
triage: {budget: 60, per_slab: 4, per_bulk: 12, min_probability: 0.0}
learning: {method: heads}
"""


@pytest.fixture(scope="module")
def workplace(new_workplace: Callable[[], Any]) -> Any:
    made = new_workplace()
    (made.folder / "loop.yaml").write_text(CAMPAIGN)
    without = "".join(f"sys.modules[{name!r}] = None\n" for name in EXTRAS)
    (made.folder / "sitecustomize.py").write_text(f"import sys\n{without}")
    return made


def run_loop(workplace: Any) -> Any:
    path = os.pathsep.join([str(workplace.folder), str(REPOSITORY)])
    # three minutes on two cores that do nothing else
    return workplace.run("loop", "loop.yaml", "--rounds", "1", timeout_s=1800, PYTHONPATH=path)


def ask(workplace: Any, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{workplace.database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def test_a_round_verifies_learns_and_is_judged(workplace: Any) -> None:
    said = run_loop(workplace)
    assert said.status == 0, said.err
    ((state, labels, verdict, before, after),) = ask(
        workplace, "select state, labels, verdict, checkpoint_before, checkpoint_after from round"
    )
    assert state == "finished"
    assert labels >= 36
    assert verdict in ("accepted", "rejected")
    assert (after != before) == (verdict == "accepted")
    assert ask(workplace, "select count(*) from fine_tuning where state = 'running'") == [(0,)]
    assert "1 rounds are done" in said.out


def test_the_same_command_again_adds_nothing(workplace: Any) -> None:
    before = ask(workplace, "select count(*) from calculation, promotion, fine_tuning, round")
    said = run_loop(workplace)
    assert said.status == 0, said.err
    assert (
        ask(workplace, "select count(*) from calculation, promotion, fine_tuning, round") == before
    )
