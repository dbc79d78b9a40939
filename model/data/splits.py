"""Split rows: to train on, to calibrate with, or to judge by; a row keeps its part for ever.

The part follows from the hash of a name alone, so that it stays when rows are added.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from model.data.rows import UNRELAXED, Row
from model.errors import ModelError

TRAIN, CALIBRATE, GATE = "train", "calibrate", "gate"
# Of what was held out when a checkpoint was first trained.
HOLD_OUT_SHARES = {CALIBRATE: 0.5, GATE: 0.5}
LABEL_SHARES = {TRAIN: 0.70, CALIBRATE: 0.15, GATE: 0.15}


def assign_part(name: str, shares: Mapping[str, float]) -> str:
    """Return the part that a name falls into; ``shares`` sum to 1 and their order counts."""
    position = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    reached = 0.0
    for part, share in shares.items():
        reached += share
        if position < reached:
            return part
    return part


def rows_of_part(rows: Sequence[Row], part: str) -> list[Row]:
    """Return the rows of one part."""
    return [row for row in rows if row.part == part]


def dataset_id(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the rows' names, parts and energies, in whatever order they come."""
    lines = sorted(
        f"{row.uid} {row.level} {row.part} {row.energy_ev!r}"
        + "".join(f" {each.level_hash} {each.energy_ev!r}" for each in row.energies)
        for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count_pairs(rows: Sequence[Row]) -> int:
    """Return how many labels rows carry: both views of a placement carry one."""
    return len({row.pair for row in rows})


def require_label_parts(rows: Sequence[Row]) -> None:
    """Refuse labels of which a part is not known, or that stand in two.

    Raises:
        ModelError: such a row is named.
    """
    parts: dict[str, str] = {}
    for row in rows:
        if row.part not in LABEL_SHARES:
            raise ModelError(
                f"a label is for {', '.join(LABEL_SHARES)}, got part {row.part!r} for {row.uid}"
            )
        if parts.setdefault(row.pair, row.part) != row.part:
            raise ModelError(f"both views of a pair play one part, those of {row.pair} play two")


_ENOUGH = 300  # held-out pairs with which coverage is known to 2 %


_AT_MOST = 0.2  # of a set's pairs, however few that is


def split(
    rows: Sequence[Row],
    *,
    report_fold: int,
    held_out_share: float = 0.1,
    by: Literal["pair", "surface"] = "pair",
) -> tuple[list[Row], list[Row], list[Row]]:
    """Return rows to train on, to hold out for calibration, and to report.

    Args:
        rows: A training table.
        report_fold: The fold that is reported and never trained on.
        held_out_share: Share of its pairs that every set holds out, a small set more: intervals are
            read off the held-out errors, and those of 100 rows are off by 3 % in coverage (one
            standard deviation) before anything else is.
        by: What stays on one side: the rows of a pair, or those of one set on one surface, so that
            held-out errors are those on surfaces never seen.

    Returns:
        Three lists of rows. Held-out and reported rows are unrelaxed, as in a screening.
    """
    held_out_pairs = _held_out_pairs([r for r in rows if r.fold != report_fold], held_out_share, by)
    train: list[Row] = []
    held_out: list[Row] = []
    reported: list[Row] = []
    for row in rows:
        unrelaxed = row.kind in UNRELAXED
        if row.fold == report_fold:
            reported += [row] if unrelaxed else []
        elif row.pair in held_out_pairs:
            held_out += [row] if unrelaxed else []
        else:
            train.append(row)
    return train, held_out, reported


def _held_out_pairs(rows: Sequence[Row], share: float, by: Literal["pair", "surface"]) -> set[str]:
    """Return the pairs held out: pairs, or whole surfaces, drawn until each set has enough."""
    sets: dict[str, dict[str, set[str]]] = {}  # set -> group -> pairs
    for row in rows:
        group = row.pair if by == "pair" else row.group or row.pair
        sets.setdefault(row.set, {}).setdefault(group, set()).add(row.pair)
    held_out: set[str] = set()
    for name in sorted(sets):
        here = sets[name]
        pairs = sum(len(some) for some in here.values())
        target = max(share * pairs, min(_ENOUGH, _AT_MOST * pairs))
        taken = 0
        order = np.random.default_rng(0).permutation(len(here))
        for group in np.array(sorted(here))[order[1:]]:  # one stays to train on
            if taken < target:
                held_out |= here[group]
                taken += len(here[group])
    return held_out
