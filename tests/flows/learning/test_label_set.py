"""``sabatier label``: portions that go on where the last one ended."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.config.label_plan import load_label_plan
from flows.errors import CampaignError
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


def label(plan: Path, out: Path, placements: int) -> str:
    words = ["label", str(plan), "--level", "emt", "--processes", "1"]
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


def test_a_crystal_that_cannot_be_made_is_named(plan: Path) -> None:
    plan.write_text(PLAN.replace("[Cu, Ag, Pt]", "[Cu, Ga]"))
    with pytest.raises(CampaignError, match="Ga of family plain cannot"):
        load_label_plan(plan)


def test_a_misspelt_key_is_named_with_its_line(plan: Path) -> None:
    plan.write_text(PLAN.replace("per_slab", "per_slaps"))
    with pytest.raises(CampaignError, match=r"line 2: unknown key 'per_slaps'"):
        load_label_plan(plan)
