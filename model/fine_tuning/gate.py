"""Decide whether a candidate may serve: no worse on old rows, better on new ones, as calibrated.

The rules, on the part ``gate`` of the frozen hold-out and of the labels, which no checkpoint ever
learnt from:

1.  Every answer is a number.
2.  The mean absolute error is no worse, on the hold-out, on its rows at the campaign's level, and
    overall (with the labels): the one-sided 95 % bound of its growth is at most 5 % of what it was,
    or 5 meV. And a line of fine-tunings loses at most 10 % on the hold-out in all, so that many
    small steps are no long way down.
3.  At the campaign's level of theory it is better: that bound is below 0, where the hold-out's rows
    at the level and the new labels count a half each. Pooled, the many old rows would decide, and a
    model twice as good where the campaign searches would be refused for not gaining where it does
    not.
4.  The coverage of 90 % intervals is at most 3 points further from 90 % than before, so that
    coming nearer is never refused.
5.  Labels do not run against the predictions of the serving checkpoint, as those with a wrong sign
    or reference do: their rank correlation is not below 0 with 95 % confidence.

Sigma of a checkpoint that was never fine-tuned was fitted on the whole hold-out, so that its
coverage there is 90 % by making; that makes rule 4 stricter, never laxer. Units: eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import MANIFEST, Checkpoint, open_checkpoint
from model.data.kept_rows import HOLD_OUT, read_hold_out
from model.data.rows import UNRELAXED, Row
from model.data.splits import GATE, rows_of_part
from model.errors import ModelError
from model.fine_tuning.gate_rules import CheckpointErrors, GateFindings, apply_rules
from model.prediction.predictor import load_predictor


@dataclass(frozen=True)
class GateVerdict:
    """Whether a candidate may serve, why not, and every number that was looked at."""

    accepted: bool
    reasons: tuple[str, ...]  # none where it is accepted
    numbers: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"accepted": self.accepted, "reasons": list(self.reasons), "numbers": self.numbers}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "GateVerdict":
        """Return the verdict that ``to_json`` wrote."""
        return cls(values["accepted"], tuple(values["reasons"]), values["numbers"])


def judge_candidate(
    serving: str | Path,
    candidate: str | Path,
    labels: Sequence[Row],
    level: str,
    *,
    seed: int,
    before: GateVerdict | None = None,
    device: str = "cpu",
) -> GateVerdict:
    """Return whether ``candidate`` may replace ``serving``.

    Args:
        serving: Name or folder of the checkpoint that predictions are made with.
        candidate: Folder of the fine-tuned checkpoint.
        labels: All labels of the fine-tuning; those of the part ``gate`` are looked at, as a
            screening sees them: unrelaxed.
        level: The campaign's level of theory, at which the candidate must be better.
        seed: Of the bootstrap.
        before: The verdict by which ``serving`` came to serve, None where it was never fine-tuned.
        device: Where networks run (``cpu``, ``cuda``).

    Returns:
        The verdict: accepted or not, why not, and every number that was looked at (eV).

    Raises:
        ModelError: the two hold out different rows, so that nothing can be compared.
    """
    old, new = open_checkpoint(serving), open_checkpoint(candidate)
    _require_same_hold_out(old, new)
    held_out, fresh_labels = (
        [row for row in rows_of_part(rows, GATE) if row.kind in UNRELAXED]
        for rows in (read_hold_out(old), labels)
    )
    is_label_R = np.arange(len(held_out) + len(fresh_labels)) >= len(held_out)
    rows = [*held_out, *fresh_labels]
    old_errors = _errors(old, rows, device)
    try:
        new_errors = _errors(new, rows, device)
    except ModelError as error:  # a weight is no number
        judged = GateFindings((f"the candidate does not answer: {error}",), {})
    else:
        first_ev = None if before is None else before.numbers.get("first_hold_out_ev")
        judged = apply_rules(
            rows, is_label_R, old_errors, new_errors, level, seed=seed, first_hold_out_ev=first_ev
        )
    names = {"serving": old.sha256, "candidate": new.sha256, "level": level, "seed": seed}
    return GateVerdict(not judged.reasons, judged.reasons, names | judged.numbers)


def _require_same_hold_out(old: Checkpoint, new: Checkpoint) -> None:
    hashes = [one.read_json(MANIFEST)["files"].get(HOLD_OUT, "none") for one in (old, new)]
    if hashes[0] != hashes[1]:
        raise ModelError(
            f"checkpoints are compared on one frozen hold-out, and {old.sha256[:12]} and "
            f"{new.sha256[:12]} hold out different rows; fine-tune from the serving checkpoint"
        )


def _errors(checkpoint: Checkpoint, rows: Sequence[Row], device: str) -> CheckpointErrors:
    predictor = load_predictor(checkpoint.folder, device)
    predictions = predictor.predict([row.configuration() for row in rows])
    error_R = [one.energy_ev - row.energy_ev for one, row in zip(predictions, rows, strict=True)]
    return CheckpointErrors(np.array(error_R), np.array([one.sigma_ev for one in predictions]))
