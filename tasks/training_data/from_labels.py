"""Verified labels of one level of theory as rows that a checkpoint is fine-tuned on.

Each label gives two rows of one pair: the placement as it was queued, which is what a screening
sees, and where its relaxation ended. Which part a label plays (learnt, calibrated on, judged by)
follows from its slab and adsorbate, so that it stays as labels are added and sites of one
adsorbate on one slab are never on two sides.

Units: eV, Å.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from model.contract import BondRule, LevelEnergy
from model.data.rows import Row
from model.data.splits import LABEL_SHARES, TRAIN, assign_part, dataset_id
from model.errors import ModelError
from model.fine_tuning.tune import MIN_LABELS
from model.text.configuration_text import parse_text
from screening_db.learning.labels import LabelSet, TrainingLabel
from tasks.errors import UserError
from tasks.prediction.featurise import configuration_text
from tasks.structures.formats import structure_from_text

SET = "labels"  # what the rows are called beside those of published sets
NO_FOLD = -1
# Verified labels of which as many as fine-tuning needs fall into the part that is learnt.
LABELS_NEEDED = math.ceil(MIN_LABELS / LABEL_SHARES[TRAIN])


@dataclass(frozen=True)
class ExcludedLabel:
    """A label that is not learnt from, and why."""

    candidate_id: str
    reason: str


@dataclass(frozen=True)
class TrainingSet:
    """Labels of one level of theory as rows; ``dataset_id`` is the hash of names and energies."""

    rows: tuple[Row, ...]
    dataset_id: str
    level: str
    level_hash: str
    n_labels: int
    parts: dict[str, int]  # labels, by what they are for
    excluded: tuple[ExcludedLabel, ...]  # with those that the database refused
    imported: tuple[str, ...] = ()  # where those of ``rows`` that others computed are from


def training_rows(
    labels: LabelSet,
    level_hash: str,
    rule: BondRule,
    *,
    held_out: Collection[str] = (),
    energies: Mapping[str, Sequence[LevelEnergy]] | None = None,
) -> TrainingSet:
    """Return the rows of all labels that can be learnt from, in the order of their candidates.

    Args:
        labels: Verified energies (eV) of one level of theory.
        level_hash: The hash of that level's settings.
        rule: The bond rule of the checkpoint that is to learn them.
        held_out: Pairs that the checkpoint is judged by (``model.data.kept_rows.held_out_pairs``):
            a campaign may well compute one of them, and must not teach it.
        energies: What other levels relaxed the candidates to, where the checkpoint starts from
            such energies: candidates without are left out.

    Returns:
        Two rows for each label, unrelaxed and relaxed, with the labels left out and why.

    Raises:
        UserError: no label is left, or one is of another level.
    """
    rows: list[Row] = []
    imported: list[str] = []
    excluded = [ExcludedLabel(label.candidate_id, label.why) for label in labels.refused]
    for label in sorted(labels.taken, key=lambda each: each.candidate_id):
        _require_level(label, labels.level)
        known = () if energies is None else tuple(energies.get(label.candidate_id, ()))
        reason = _exclusion(label, held_out)
        if not reason and energies is not None and not known:
            reason = "not relaxed: the checkpoint starts from energies of another level"
        if reason:
            excluded.append(ExcludedLabel(label.candidate_id, reason))
        else:
            rows += _rows(label, rule, known)
            imported += [label.source] if label.source else []
    if not rows:
        raise UserError(_nothing_left(labels.level, excluded))
    return TrainingSet(
        rows=tuple(rows),
        dataset_id=dataset_id(rows),
        level=labels.level,
        level_hash=level_hash,
        n_labels=len(rows) // 2,
        parts={part: sum(row.part == part for row in rows) // 2 for part in LABEL_SHARES},
        excluded=tuple(excluded),
        imported=tuple(imported),
    )


def _require_level(label: TrainingLabel, level: str) -> None:
    if label.level != level:
        raise UserError(
            f"energies of two levels never meet in one target: the labels are of {level}, and "
            f"{label.candidate_id} is of {label.level}"
        )


def _exclusion(label: TrainingLabel, held_out: Collection[str]) -> str:
    """Return why a label of the level is not learnt from, or nothing."""
    if label.candidate_id in held_out:
        return "held out: the checkpoint is judged by it"
    if label.start is None:
        return "no placement: where it started is no longer kept"
    if not label.relaxed_text:
        return "no text: it was verified before texts were kept; verify it again"
    if not math.isfinite(label.energy_ev):
        return f"no number: its energy is {label.energy_ev}"
    return ""


def _rows(label: TrainingLabel, rule: BondRule, known: tuple[LevelEnergy, ...]) -> list[Row]:
    """Return the unrelaxed and the relaxed row of a label."""
    assert label.start is not None  # noqa: S101  excluded before
    try:
        named = parse_text(label.relaxed_text)
    except ModelError as error:
        raise UserError(f"the text of label {label.candidate_id} cannot be read: {error}") from None
    rows = []
    for kind, structure in (("unrelaxed", label.start), ("relaxed", label.relaxed)):
        atoms = structure_from_text(structure)
        text = configuration_text(atoms, label.adsorbate, named.bulk, named.miller, rule)
        rows.append(replace(_row(label, kind, text, rule, atoms), energies=known))
    return rows


def _row(label: TrainingLabel, kind: str, text: str, rule: BondRule, atoms: Atoms) -> Row:
    return Row(
        uid=f"{label.candidate_id}#{kind}",
        pair=label.candidate_id,
        set=SET,
        level=label.level,
        adsorbate=label.adsorbate,
        text=text,
        bond_rule=rule,
        kind=kind,
        fold=NO_FOLD,
        energy_ev=label.energy_ev,
        numbers_N=atoms.numbers.astype(np.int64),
        positions_N3=atoms.positions.copy(),
        cell_33=atoms.cell.array.copy(),
        tags_N=atoms.get_tags().astype(np.int64),
        group=label.slab_id,
        part=assign_part(f"{label.slab_id} {label.adsorbate}", LABEL_SHARES),
    )


def _nothing_left(level: str, excluded: list[ExcludedLabel]) -> str:
    reasons = Counter(each.reason.partition(":")[0] for each in excluded)
    said = ", ".join(f"{count} {why}" for why, count in reasons.most_common())
    return (
        f"no label at {level} is left to learn from ({said or 'there is none'}); fine-tuning "
        f"needs about {LABELS_NEEDED}: verify more candidates"
    )
