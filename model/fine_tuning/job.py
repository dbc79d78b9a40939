"""The inputs of one fine-tuning, checked before anything is computed.

Units: eV.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import DIFFERENCE, QE_CATALYTIC, Checkpoint, write_json
from model.data.kept_rows import read_hold_out
from model.data.rows import Row
from model.data.splits import (
    CALIBRATE,
    TRAIN,
    count_pairs,
    dataset_id,
    require_label_parts,
    rows_of_part,
)
from model.errors import ModelError
from model.files import new_file
from model.fine_tuning.tune import resolve_recipe
from model.network.ensemble import MEMBER
from model.training.recipes import TuneRecipe

_SAME_ANG = 0.01  # rows that are kept are rounded to a tenth of it


@dataclass(frozen=True)
class TuningJob:
    """One fine-tuning of a checkpoint; it is sent to the processes that train a member each."""

    parent: Checkpoint
    labels: tuple[Row, ...]
    folder: Path
    recipe: TuneRecipe  # with nothing left open
    device: str

    @property
    def done(self) -> Path:
        """Return the folder of the finished candidate."""
        return self.folder / "checkpoint"

    @property
    def members(self) -> int:
        """Return how many networks answer together."""
        return len(list(self.parent.folder.glob(MEMBER.format("*"))))

    def settings(self) -> dict[str, Any]:
        """Return the parent's settings."""
        return self.parent.settings()

    def to_learn(self) -> list[Row]:
        """Return the labels to learn from."""
        return rows_of_part(self.labels, TRAIN)

    def to_calibrate(self) -> list[Row]:
        """Return rows that no member was trained on: of the hold-out and of the labels."""
        return rows_of_part([*read_hold_out(self.parent), *self.labels], CALIBRATE)

    def member_folder(self, member: int) -> Path:
        """Return where one member keeps its state."""
        return self.folder / f"member-{member}"


def tuning_job(
    parent: Checkpoint, labels: Sequence[Row], folder: Path, recipe: TuneRecipe, device: str
) -> TuningJob:
    """Return the job, its recipe made definite by the number of labels.

    Args:
        parent: Checkpoint to start from.
        labels: Rows with their parts, energies in eV.
        folder: Where states and the candidate are written.
        recipe: How to train; ``auto`` values are chosen by the number of labels.
        device: Where networks run (``cpu``, ``cuda``).

    Returns:
        The job; nothing is written yet.

    Raises:
        ModelError: the parent cannot be tuned, or the labels cannot tune it.
    """
    if parent.kind not in (QE_CATALYTIC, DIFFERENCE):
        raise ModelError(
            f"checkpoints of kind {QE_CATALYTIC} and {DIFFERENCE} are fine-tuned, "
            f"{parent.sha256[:12]} is a {parent.kind}; train it again on a larger table"
        )
    require_label_parts(labels)
    job = TuningJob(parent, tuple(labels), folder, recipe, device)
    _require_answered(job)
    _require_not_held_out(job.to_learn(), read_hold_out(parent))
    if parent.kind == DIFFERENCE:  # it is fitted anew, by a way that its labels choose
        return job
    return replace(job, recipe=resolve_recipe(recipe, count_pairs(job.to_learn())))


def require_same(job: TuningJob) -> None:
    """Record the job in its folder, and refuse it where an earlier run recorded another.

    Raises:
        ModelError: parent, labels, recipe or device differ.
    """
    values = {
        "parent": job.parent.sha256,
        "dataset": dataset_id(job.labels),
        "recipe": asdict(job.recipe),
        "device": job.device,
    }
    job.folder.mkdir(parents=True, exist_ok=True)
    file = job.folder / "tuning.json"
    if not file.exists():
        with new_file(file) as fresh:
            write_json(fresh, values)
    earlier = json.loads(file.read_text())
    if odd := [name for name in values if earlier.get(name) != values[name]]:
        raise ModelError(
            f"fine-tuning in {job.folder} was started with another {', '.join(odd)}; continue with "
            "the same, or give another folder"
        )


def _require_answered(job: TuningJob) -> None:
    values = job.settings()
    levels = sorted(values["levels"] if "levels" in values else values["network"]["levels"])
    if strange := sorted({row.level for row in job.labels} - set(levels)):
        raise ModelError(
            f"checkpoint {job.parent.sha256[:12]} answers at {', '.join(levels)}, got labels at "
            f"{', '.join(strange)}; a new level needs a training of its own"
        )
    for row in job.labels:
        if not math.isfinite(row.energy_ev):
            raise ModelError(f"a label must be a number, got {row.energy_ev} for {row.uid}")


def _require_not_held_out(new: Sequence[Row], held_out: Sequence[Row]) -> None:
    """Refuse labels to learn from that are rows of the hold-out, by which candidates are judged."""
    pairs = {row.pair for row in held_out}
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in held_out:
        alike.setdefault((row.level, row.text), []).append(row)
    leaks = [
        row.uid
        for row in new
        if row.pair in pairs
        or any(_is_same_structure(row, other) for other in alike.get((row.level, row.text), ()))
    ]
    if leaks:
        raise ModelError(
            f"rows that are held out are never trained on, and {len(leaks)} labels are among "
            f"them, first {leaks[0]}; leave them out (model.data.kept_rows.held_out_pairs)"
        )


def _is_same_structure(one: Row, other: Row) -> bool:
    """Return whether two rows are one structure, under any names."""
    return np.array_equal(one.numbers_N, other.numbers_N) and np.allclose(
        one.positions_N3, other.positions_N3, rtol=0.0, atol=_SAME_ANG
    )
