"""``sabatier label``: portions that go on where the last one ended."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.config.label_plan import load_label_plan
from flows.errors import CampaignError
from tasks.errors import UserError
from tasks.training_data.label_folder import (
    SET_FILE,
    gather_parts,
    label_files,
    missing_draws,
)
from tasks.training_data.label_set import read_labels

pytestmark = pytest.mark.medium
PLAN = """\
name: two-families
per_slab: 2
families:
  plain:
    share: 3
    bulks: {elements: [Cu, Ag, Pt]}
    surfaces: {millers: [[1, 1, 1]], min_thickness: 4.0, min_in_plane: 4.5}
    adsorbates: [H, O, CO]
  skins:
    share: 1
    bulks: {elements: [Ni]}
    surfaces:
      millers: [[1, 1, 1]]
      min_thickness: 4.0
      min_in_plane: 4.5
      skin: {elements: [Pt]}
      only_edited: true
    adsorbates: [N]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def label(plan: Path, out: Path, placements: int, level: str = "emt") -> str:
    words = ["label", str(plan), "--level", level, "--processes", "1"]
    done = CliRunner().invoke(
        app, [*words, "--placements", str(placements), "--out", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def test_portions_make_the_set_that_one_run_makes(plan: Path, tmp_path: Path) -> None:
    label(plan, tmp_path / "portions", 4)
    said = label(plan, tmp_path / "portions", 8)
    label(plan, tmp_path / "whole", 8)
    portions = sorted((tmp_path / "portions").glob("labels-*.parquet"))
    assert [file.name for file in portions] == [
        "labels-000000-000001.parquet",
        "labels-000002-000003.parquet",
    ]
    both, whole = (
        read_labels(sorted(folder.glob("labels-*.parquet"))).drop_columns(["seconds"])
        for folder in (tmp_path / "portions", tmp_path / "whole")
    )
    assert both.equals(whole)
    assert "8 placements" in said
    assert "skins: 2 placements" in said


def test_what_is_there_is_not_computed_again(plan: Path, tmp_path: Path) -> None:
    label(plan, tmp_path / "set", 4)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "set").glob("labels-*")}
    label(plan, tmp_path / "set", 4)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "set").glob("labels-*")} == before


def test_parts_of_a_killed_run_are_gathered(plan: Path, tmp_path: Path) -> None:
    label(plan, tmp_path / "set", 4)
    (shard,) = (tmp_path / "set").glob("labels-*")
    rows = pq.read_table(shard)
    pq.write_table(rows.slice(2), tmp_path / "set" / ".parts" / "part-000001.parquet")
    pq.write_table(rows.slice(0, 2), shard)
    label(plan, tmp_path / "set", 4)
    shards = sorted((tmp_path / "set").glob("labels-*"))
    assert read_labels(shards).equals(rows)
    assert not list((tmp_path / "set" / ".parts").iterdir())


def test_another_level_or_plan_needs_another_folder(plan: Path, tmp_path: Path) -> None:
    """Neither are its labels mixed with those of the folder, nor are those shown as its own."""
    label(plan, tmp_path / "set", 4)
    before = sorted(path.name for path in (tmp_path / "set").rglob("*"))
    (tmp_path / "tight.yaml").write_text(
        "based_on: emt\nname: emt-tight\ncalculation: {relaxation: {fmax_ev_ang: 0.03}}\n"
    )
    rule = "a folder holds labels of one level and one plan; those in "
    with pytest.raises(UserError, match=f"{rule}.*this run is of level emt-tight"):
        label(plan, tmp_path / "set", 8, "tight.yaml")
    for old, new in (("Cu, Ag", "Ag, Au"), ("share: 3", "share: 2"), ("4.5}", "5.0}")):
        plan.write_text(PLAN.replace(old, new))
        with pytest.raises(UserError, match=rule):
            label(plan, tmp_path / "set", 4)
    plan.write_text(PLAN + "seed: 1\n")
    with pytest.raises(UserError, match=rule):
        label(plan, tmp_path / "set", 4)
    assert sorted(path.name for path in (tmp_path / "set").rglob("*")) == before


def test_labels_that_do_not_say_of_what_they_are_get_no_more(plan: Path, tmp_path: Path) -> None:
    label(plan, tmp_path / "set", 4)
    (tmp_path / "set" / SET_FILE).unlink()
    with pytest.raises(UserError, match="holds labels and no such file; give a new folder"):
        label(plan, tmp_path / "set", 4)


def test_slabs_that_are_refused_are_made_up_for_once(plan: Path, tmp_path: Path) -> None:
    """Where the limit of atoms lets no slab of the skins through, other draws come."""
    plan.write_text(PLAN.replace("only_edited: true", "only_edited: true\n      max_atoms: 2"))
    assert "6 placements" in label(plan, tmp_path / "set", 6)
    rows = pq.read_table(label_files(tmp_path / "set"))
    assert set(rows.column("draw").to_pylist()) == {0, 1, 3}
    assert json.loads((tmp_path / "set" / SET_FILE).read_text())["empty_draws"] == [2]
    stated = load_label_plan(plan)
    assert missing_draws(tmp_path / "set", stated, 6) == []
    assert [draw.number for draw in missing_draws(tmp_path / "set", stated, 8)] == [4]


def test_parts_that_a_shard_holds_are_dropped(plan: Path, tmp_path: Path) -> None:
    """A run that is killed between its shard and its parts leaves both."""
    label(plan, tmp_path / "set", 4)
    (shard,) = (tmp_path / "set").glob("labels-*")
    rows = pq.read_table(shard)
    pq.write_table(rows.slice(2), tmp_path / "set" / ".parts" / "part-000001.parquet")
    gather_parts(tmp_path / "set")
    assert [pq.read_table(file) for file in label_files(tmp_path / "set")] == [rows]
    assert not list((tmp_path / "set" / ".parts").iterdir())


def test_a_crystal_that_cannot_be_made_is_named(plan: Path) -> None:
    plan.write_text(PLAN.replace("[Cu, Ag, Pt]", "[Cu, Ga]"))
    with pytest.raises(CampaignError, match="Ga of family plain cannot"):
        load_label_plan(plan)


def test_a_misspelt_key_is_named_with_its_line(plan: Path) -> None:
    plan.write_text(PLAN.replace("per_slab", "per_slaps"))
    with pytest.raises(CampaignError, match=r"line 2: unknown key 'per_slaps'"):
        load_label_plan(plan)


def test_an_adsorbate_without_a_reference_is_refused_before_anything_is_computed(
    plan: Path, tmp_path: Path
) -> None:
    plan.write_text(PLAN.replace("adsorbates: [N]", "adsorbates: [N, Cl]"))
    with pytest.raises(UserError, match=r"^Cl: adsorbate that level emt cannot verify"):
        label(plan, tmp_path / "set", 4)
    assert not (tmp_path / "set").exists()
