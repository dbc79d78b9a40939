"""A level of one's own from a YAML file: screened, recorded, verified by its engine."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase.data import atomic_numbers

from model.data.domain import domain_of
from model.data.rows import Row
from model.training import baseline

pytestmark = [pytest.mark.slow, pytest.mark.full]

OWN_EMT = """\
name: own-emt
based_on: emt
calculation:
  relaxation: {fmax_ev_ang: 0.1}
"""
ENERGIES = {"Al": -0.4, "Cu": -0.3, "Pt": -0.7}  # invented


def rows(level: str) -> list[Row]:
    found = []
    for number, (metal, kind, adsorbate) in enumerate(
        (m, k, a) for m in ENERGIES for k in ("atop", "hollow") for a in ("H", "O")
    ):
        count = {"atop": 1, "hollow": 3}[kind]
        around = " ".join([f"[{metal} {metal} {metal} {adsorbate}]"] * count)
        contacts = " ".join([metal] * count)
        text = f"{adsorbate}</s>{metal} (1 1 1)</s>[{adsorbate} {contacts} {kind} {around}]"
        numbers = [atomic_numbers[metal]] * 4 + [atomic_numbers[adsorbate]]
        found += [
            Row(
                uid=f"{level}{number}.{copy}",
                pair=f"{level}{number}",
                set="synthetic",
                level=level,
                adsorbate=adsorbate,
                text=text,
                kind="unrelaxed",
                fold=copy % 5,
                energy_ev=ENERGIES[metal] - 0.1 * count + 0.01 * copy,
                numbers_N=np.array(numbers),
                positions_N3=np.zeros((5, 3)),
                cell_33=np.eye(3) * 10,
                tags_N=np.array([0, 0, 0, 0, 2]),
            )
            for copy in range(5)
        ]
    return found


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the baseline at the two levels of one's own."""
    folder = tmp_path_factory.mktemp("own") / "knowing"
    seen = [*rows("own-emt"), *rows("small-gpaw")]
    quick = {"n_estimators": 20, "num_threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "_PARAMETERS", baseline._PARAMETERS | quick)
        baseline.train_baseline(seen, seen[::3], domain_of(seen), folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def own(new_workplace: Callable[[], Any], checkpoint: Path, knowing: Path) -> Any:
    """Screen the tiny campaign at a level from a file beside it."""
    workplace = new_workplace()
    workplace.edit("level: emt", "level: levels/own.yaml")
    workplace.edit(str(checkpoint), str(knowing))
    workplace.edit("window: [-2.0, -1.2]", "window: [-2.0, 2.0]")
    (workplace.folder / "levels").mkdir()
    (workplace.folder / "levels" / "own.yaml").write_text(OWN_EMT)
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    return workplace


def read(workplace: Any, query: str) -> pd.DataFrame:
    with sqlite3.connect(workplace.database) as connection:
        return pd.read_sql(query, connection)


def copied(own: Any, new_workplace: Callable[[], Any]) -> Any:
    workplace = new_workplace()
    shutil.copytree(own.folder, workplace.folder, dirs_exist_ok=True)
    return workplace


def test_a_file_is_a_level_by_the_name_it_states(own: Any) -> None:
    assert set(read(own, "select level from queue").level) == {"own-emt"}
    assert set(read(own, "select level from prediction").level) == {"own-emt"}
    refused = read(own, "select * from campaign_item where state = 'refused'")
    assert "Fe" in " ".join(refused.reason)  # EMT has no iron, nor has the model


def test_it_is_verified_as_it_was_recorded_though_its_file_is_gone(
    own: Any, new_workplace: Callable[[], Any]
) -> None:
    workplace = copied(own, new_workplace)
    shutil.rmtree(workplace.folder / "levels")
    said = workplace.run("verify", "tiny", "--engine", "emt", "--limit", "1", "--workers", "1")
    assert said.status == 0, said.err
    labels = read(workplace, "select * from label")
    assert list(labels.level) == ["own-emt"]
    assert 0 < labels.fmax[0] <= 0.1


def test_a_changed_file_under_a_recorded_name_is_refused(
    own: Any, new_workplace: Callable[[], Any]
) -> None:
    workplace = copied(own, new_workplace)
    changed = OWN_EMT.replace("0.1", "0.02")
    (workplace.folder / "levels" / "own.yaml").write_text(changed)
    workplace.edit("name: tiny", "name: again")
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 2
    assert "one name and one hash" in said.err


def test_a_record_that_was_changed_is_not_computed(
    own: Any, new_workplace: Callable[[], Any]
) -> None:
    workplace = copied(own, new_workplace)
    with sqlite3.connect(workplace.database) as connection:
        connection.execute(
            "update level_of_theory set settings = replace(settings, 'BFGS', 'FIRE')"
        )
    said = workplace.run("verify", "tiny")
    assert said.status == 2
    assert "was changed, or this release computes it otherwise" in said.err


def test_a_level_without_its_engine_names_the_package_to_install(
    own: Any, new_workplace: Callable[[], Any]
) -> None:
    workplace = copied(own, new_workplace)
    with sqlite3.connect(workplace.database) as connection:
        connection.execute("update campaign set level = 'vasp-oc20'")
    said = workplace.run("verify", "tiny", SABATIER_VASP_COMMAND="no-such-vasp")
    assert said.status == 2
    assert "no-such-vasp is not found: VASP is licensed" in said.err
