"""Which part a labelled row plays for ever: learnt from, calibrated on, or judged by.

The part follows from the hash of a name alone, so that it stays when rows are added.
"""

import hashlib
from collections.abc import Mapping, Sequence

from model.data.rows import Row
from model.errors import ModelError

TRAIN, CALIBRATE, GATE = "train", "calibrate", "gate"
# Of what was held out when a checkpoint was first trained.
HOLD_OUT_SHARES = {CALIBRATE: 0.5, GATE: 0.5}
LABEL_SHARES = {TRAIN: 0.70, CALIBRATE: 0.15, GATE: 0.15}


def assign_part(name: str, shares: Mapping[str, float]) -> str:
    """Return the part that a name falls into; ``shares`` sum to 1 and their order counts."""
    spot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    reached = 0.0
    for part, share in shares.items():
        reached += share
        if spot < reached:
            return part
    return part


def rows_of_part(rows: Sequence[Row], part: str) -> list[Row]:
    """Return the rows of one part."""
    return [row for row in rows if row.part == part]


def dataset_id(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the rows' names, parts and energies, in whatever order they come."""
    lines = sorted(f"{row.uid} {row.level} {row.part} {row.energy_ev!r}" for row in rows)
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
