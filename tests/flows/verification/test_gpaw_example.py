"""The example of a real engine, on the smallest cells: screened, verified by GPAW, shown."""

import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.paths import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "gpaw-small.yaml"
QUICK = """\
name: quick
based_on: gpaw-pbe-fast
calculation: {basis: {cutoff_ev: 300.0}, kpoints: {length_ang: 8.0}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.skipif(
        find_spec("gpaw") is None, reason="GPAW is not installed: pip install 'sabatier[dft]'"
    ),
]


def read(workplace: Any, query: str) -> pd.DataFrame:
    with sqlite3.connect(workplace.database) as connection:
        return pd.read_sql(query, connection)


@pytest.fixture(scope="module")
def verified(new_workplace: Callable[[], Any], checkpoint: Path) -> tuple[Any, str]:
    """Screen and verify H on two metals, one atom a layer, at a level that is quick."""
    workplace, text = new_workplace(), EXAMPLE.read_text()
    for old, new in (
        ("model: mini", f"model: {checkpoint}"),
        ("{level: gpaw-pbe-fast,", "{level: quick.yaml,"),
        ("elements: [Cu]", "elements: [Ag, Cu]"),
        ("adsorbates: [H, O]", "adsorbates: [H]"),
        ("min_in_plane: 4.0", "min_in_plane: 2.0"),
        ("H: {window: [-1.0, 1.0]}", "H: {window: [-5.0, 5.0]}"),
        ("  O: {window: [0.0, 2.0]}\n", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    (workplace.folder / "gpaw-small.yaml").write_text(text)
    (workplace.folder / "quick.yaml").write_text(QUICK)
    screened = workplace.run("screen", "gpaw-small.yaml")
    assert screened.status == 0, screened.err
    process = workplace.start("verify", "gpaw-small", "--engine", "gpaw")
    try:
        out, err = process.communicate(timeout=1200)  # a minute on two cores that are free
    finally:
        process.kill()
    assert process.returncode == 0, err
    return workplace, out


def test_both_candidates_have_labels_of_the_engine(verified: tuple[Any, str]) -> None:
    workplace, said = verified
    labels = read(workplace, "select * from label")
    assert set(labels.level) == {"quick"}
    assert len(labels) == 2
    assert labels.converged.all()
    assert "0 failed in this run, " in said
    assert "predicted at beef-vdw-ch4, labels at quick" in said


def test_shared_references_are_computed_once(verified: tuple[Any, str]) -> None:
    energies = read(verified[0], "select kind, item from reference_energy order by kind, item")
    assert list(energies.kind) == ["gas", "slab", "slab"]
    assert energies.item[0] == "H2"
    tries = read(verified[0], "select * from calculation")
    assert len(tries) == 5  # the molecule, two slabs, two adslabs: each once


def test_a_calculation_tells_where_it_comes_from(verified: tuple[Any, str]) -> None:
    workplace = verified[0]
    (candidate,) = read(
        workplace, "select candidate_id from label order by energy_ev limit 1"
    ).candidate_id
    shown = workplace.run("queue", "show", candidate)
    assert shown.status == 0, shown.err
    for word in ("quick", "gpaw 26.", "python 3.", "hash"):
        assert word in shown.out, shown.out
