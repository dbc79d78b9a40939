from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.labels.differences import WRONG_BY, fewer_trees, labelled
from support.synthetic import table as plain_table

from flows.errors import CampaignError
from flows.learning.training import train
from model.contract import Configuration, LevelEnergy
from model.data.kept_rows import read_hold_out, read_replay
from model.data.rows import ENERGIES, Row
from model.data.splits import LABEL_SHARES, assign_part
from model.errors import ModelError
from model.fine_tuning.fine_tune import fine_tune
from model.fine_tuning.gate import judge_candidate
from model.prediction.predictor import load_predictor
from tasks.levels import level as named_level
from tasks.prediction.checkpoint_domain import checkpoint_domain

EMT_HASH = named_level("emt", Path()).level_hash
ON_EMT = ["difference.on=[emt]"]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with fewer_trees():
        yield


def with_emt(level_hash: str = EMT_HASH) -> list[Row]:
    """Return every fourth of the made-up rows, with energies that EMT is said to give."""
    return [
        replace(row, energies=(LevelEnergy("emt", level_hash, row.energies[0].energy_ev),))
        for row in labelled(scatter_ev=0.05)[::4]
    ]


def written(folder: Path, rows: list[Row]) -> Path:
    """Write a training table with its column of energies."""
    energies = pa.array([[asdict(e) for e in row.energies] for row in rows], ENERGIES.type)
    table = plain_table(rows, group=[row.group for row in rows])
    pq.write_table(table.append_column(ENERGIES, energies), folder / "table.parquet")
    return folder / "table.parquet"


def test_a_difference_is_trained_from_the_rows_that_carry_energies(tmp_path: Path) -> None:
    rows = with_emt()
    bare = [replace(row, uid=f"{row.uid} bare", energies=()) for row in rows[:7]]
    (made,) = train("difference", written(tmp_path, rows + bare), tmp_path / "d", changes=ON_EMT)
    assert made.folder == tmp_path / "d" / "checkpoint"
    assert made.read_json("card.json")["rows_left_out"] == 7
    assert checkpoint_domain(made.folder).potentials == {"emt": EMT_HASH}
    learnt, aside = read_replay(made), read_hold_out(made)
    assert len(learnt) + len(aside) == len(rows)
    assert {row.group for row in learnt}.isdisjoint(row.group for row in aside)
    (answer,) = load_predictor(made.folder).predict([aside[0].configuration()])
    assert abs(answer.energy_ev - aside[0].energy_ev) < 0.3
    assert answer.basis == "emt"


def test_energies_of_a_level_that_was_changed_since_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, with_emt("c" * 64))
    with pytest.raises(ModelError, match=rf"hash {EMT_HASH[:12]}, adslab\d+ has one of cccc"):
        train("difference", file, tmp_path / "d", changes=ON_EMT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["difference.on=[diep-r2scan]"], "energies at diep-r2scan, none of the 57 rows"),
        ([*ON_EMT, "difference.levels=[other]"], "none of the 57 rows of .* has them at other"),
        ([*ON_EMT, "difference.trees=9"], r"difference\.trees: Extra inputs are not permitted"),
        (["difference.on=[]"], r"difference\.on: .*at least 1 item"),
    ],
)
def test_a_recipe_that_no_row_fits_is_refused(
    tmp_path: Path, changes: list[str], said: str
) -> None:
    with pytest.raises(CampaignError, match=said):
        train("difference", written(tmp_path, with_emt()), tmp_path / "d", changes=changes)


def test_a_difference_has_no_stages(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="a difference has no stages, got until 'joint'"):
        train("difference", tmp_path / "t", tmp_path / "d", until="joint", changes=ON_EMT)


NOT_YET = [*ON_EMT, "difference.levels=[gpaw-pbe-fast]", "difference.assumed_sigma_ev=0.3"]


def with_emt_energy(row: Row) -> Configuration:
    """Return what a campaign asks at a level that nobody has labels of, once EMT relaxed it."""
    asked = replace(row.configuration(), level="gpaw-pbe-fast")
    return replace(asked, energies_ev={"emt": row.energies[0].energy_ev})


def test_without_labels_a_difference_is_taken_as_nothing_with_a_stated_sigma(
    tmp_path: Path, checkpoint: Path
) -> None:
    (made,) = train(
        "difference", None, tmp_path, changes=[*NOT_YET, f"difference.base={checkpoint}"]
    )
    row = with_emt()[0]
    relaxed = with_emt_energy(row)
    predictor = load_predictor(made.folder)
    first, second = predictor.predict([relaxed, replace(relaxed, energies_ev={})])
    assert (first.basis, first.energy_ev) == ("emt", row.energies[0].energy_ev)
    assert first.sigma_ev == pytest.approx(0.3)
    (of_base,) = load_predictor(checkpoint).predict([replace(relaxed, level="emt")])
    assert (second.basis, second.energy_ev) == ("", of_base.energy_ev)
    assert second.sigma_ev >= 0.3
    assert made.read_json("card.json")["levels"]["gpaw-pbe-fast"]["labels"] == 0


def test_the_first_labels_teach_the_difference_that_was_assumed(
    tmp_path: Path, checkpoint: Path
) -> None:
    (made,) = train(
        "difference", None, tmp_path, changes=[*NOT_YET, f"difference.base={checkpoint}"]
    )
    labels = [
        replace(
            row,
            level="gpaw-pbe-fast",
            part=assign_part(f"{row.group} {row.adsorbate}", LABEL_SHARES),
        )
        for row in with_emt()
    ]
    tuned = fine_tune(made.folder, labels, tmp_path / "tuned")
    verdict = judge_candidate(made.folder, tuned.folder, labels, "gpaw-pbe-fast", seed=0)
    assert verdict.accepted, verdict.reasons
    found = verdict.numbers["errors"]["labels"]
    assert found["mae_after_ev"] < 0.5 * found["mae_before_ev"]
    oxygen = next(row for row in with_emt() if row.adsorbate == "O")
    before, after = (
        load_predictor(each.folder).predict([with_emt_energy(oxygen)])[0] for each in (made, tuned)
    )
    assert after.energy_ev - before.energy_ev == pytest.approx(WRONG_BY["O"], abs=0.15)
    assert after.sigma_ev < before.sigma_ev


@pytest.mark.parametrize(
    ("changes", "has_table", "said"),
    [
        (ON_EMT, False, r"learnt from a table \(--table\)"),
        (NOT_YET, False, r"difference\.base and one level"),
        (NOT_YET, True, "for a level without labels; leave the table out"),
        ([*NOT_YET, "difference.base=mini", "difference.levels=[a, b]"], False, "one level in"),
        (
            [*NOT_YET, "difference.base=mini", "difference.levels=[beef-vdw-ch4]"],
            False,
            "beef-vdw-ch4 counts from .*CH4.*, emt from ",
        ),
    ],
)
def test_a_difference_is_either_learnt_or_assumed(
    tmp_path: Path, changes: list[str], has_table: bool, said: str
) -> None:
    table = written(tmp_path, with_emt()) if has_table else None
    with pytest.raises(CampaignError, match=said):
        train("difference", table, tmp_path / "d", changes=changes)


def test_other_recipes_need_a_table(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="learns from a training table; name it with --table"):
        train("mini", None, tmp_path / "d")
