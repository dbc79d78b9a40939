"""Fine-tune a difference: fit it again on the labels that it was learnt from and the new ones.

Units: eV.
"""

from model.checkpoint import BASE_FOLDER, Checkpoint
from model.data.kept_rows import read_replay
from model.data.splits import CALIBRATE, LABEL_SHARES, count_pairs, dataset_id, rows_of_part
from model.fine_tuning.job import TuningJob
from model.prediction.difference import Potential
from model.stored_values import checked_values
from model.training.difference import train_difference


def refit_difference(job: TuningJob) -> Checkpoint:
    """Return the candidate: fitted on old and new labels, with the parent's base and hold-out.

    Labels for calibration are learnt as well: sigma is calibrated on errors of labels left out. A
    pair that was learnt before has its new label.

    Args:
        job: The parent, the labels with their parts, and the folder.

    Returns:
        The sealed candidate in ``job.done``.

    Raises:
        ModelError: a label lacks a potential's energy, or has one of another hash.
    """
    new = [*job.to_learn(), *rows_of_part(job.labels, CALIBRATE)]
    again = {row.pair for row in new}
    old = [row for row in read_replay(job.parent) if row.pair not in again]
    base = job.parent.folder / BASE_FOLDER
    return train_difference(
        [*old, *new],
        job.parent,
        job.done,
        on=checked_values(tuple[Potential, ...], job.settings()["on"], "the potentials"),
        base=base if base.is_dir() else None,
        seed=job.recipe.seed,
        card={
            "parent": job.parent.sha256,
            "dataset": dataset_id(job.labels),
            "method": "refit",
            "new_labels": {
                part: count_pairs(rows_of_part(job.labels, part)) for part in LABEL_SHARES
            },
        },
    )
