"""A difference is fitted again on old and new labels, and judged like any other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.labels.differences import ON, fewer_trees, labelled

from model.checkpoint import Checkpoint
from model.data.kept_rows import HOLD_OUT, read_hold_out, read_replay
from model.data.rows import Row
from model.data.splits import GATE, LABEL_SHARES, assign_part, rows_of_part
from model.errors import ModelError
from model.fine_tuning.fine_tune import fine_tune
from model.fine_tuning.gate import judge_candidate
from model.training.difference import train_difference


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with fewer_trees():
        yield


def known() -> list[Row]:
    """Return labels of surfaces without copper, on which the potential errs by an offset."""
    return [row for row in labelled(scatter_ev=0.02, by_metal_ev=0.6) if "Cu" not in row.group]


def new_labels() -> list[Row]:
    """Return labels of surfaces with copper, where it is wrong by more, with their parts."""
    return [
        replace(row, part=assign_part(f"{row.group} {row.adsorbate}", LABEL_SHARES))
        for row in labelled(scatter_ev=0.02, by_metal_ev=0.6)
        if row.group.startswith("Cu")
    ]


@pytest.fixture
def parent(tmp_path: Path) -> Checkpoint:
    rows = known()
    return train_difference(rows[::3], rows[1::6], tmp_path / "parent", on=ON, seed=0)


def test_it_learns_old_and_new_labels_and_keeps_the_hold_out(
    parent: Checkpoint, tmp_path: Path
) -> None:
    labels = new_labels()
    tuned = fine_tune(parent.folder, labels, tmp_path / "tuned")
    learnt = [row for row in labels if row.part != GATE]
    assert len(read_replay(tuned)) == len(read_replay(parent)) + len(learnt)
    assert (tuned.folder / HOLD_OUT).read_bytes() == (parent.folder / HOLD_OUT).read_bytes()
    card = tuned.read_json("card.json")
    assert (card["parent"], card["method"]) == (parent.sha256, "refit")
    again = fine_tune(parent.folder, labels, tmp_path / "tuned")
    assert again.sha256 == tuned.sha256


def test_a_pair_that_was_learnt_before_has_its_new_label(
    parent: Checkpoint, tmp_path: Path
) -> None:
    first = read_replay(parent)[0]
    label = replace(known()[0], energy_ev=first.energy_ev + 1.0, part="train")
    tuned = fine_tune(parent.folder, [label, *new_labels()], tmp_path / "tuned")
    energies = [row.energy_ev for row in read_replay(tuned) if row.pair == first.pair]
    assert energies == [first.energy_ev + 1.0]


@pytest.mark.medium
def test_the_gate_lets_it_serve_where_it_learnt_what_its_parent_did_not_know(
    parent: Checkpoint, tmp_path: Path
) -> None:
    labels = new_labels()
    assert len(rows_of_part(labels, GATE)) >= 5
    tuned = fine_tune(parent.folder, labels, tmp_path / "tuned")
    verdict = judge_candidate(parent.folder, tuned.folder, labels, "made-up", seed=0)
    found = verdict.numbers["errors"]["labels"]
    assert found["mae_after_ev"] < 0.7 * found["mae_before_ev"]
    assert verdict.numbers["errors"]["hold_out"]["rows"] == len(read_hold_out(parent))


def test_labels_that_were_not_relaxed_by_the_potential_are_refused(
    parent: Checkpoint, tmp_path: Path
) -> None:
    labels = [replace(row, energies=()) for row in new_labels()]
    with pytest.raises(ModelError, match="carries the energy of its pair at potential"):
        fine_tune(parent.folder, labels, tmp_path / "tuned")


def test_labels_of_a_level_that_it_never_learnt_are_refused(
    parent: Checkpoint, tmp_path: Path
) -> None:
    labels = [replace(row, level="other") for row in new_labels()]
    with pytest.raises(ModelError, match="answers at made-up, got labels at other"):
        fine_tune(parent.folder, labels, tmp_path / "tuned")
