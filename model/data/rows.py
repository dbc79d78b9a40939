"""Training rows: a structure, its text, its level of theory and the energy to learn.

One Parquet file holds them all; structures are list columns. Units: eV, Å.
Kinds   ``unrelaxed`` and ``initial`` placements, ``relaxed`` ends, ``clean`` slabs without an
adsorbate atom, ``text`` without any atom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.contract import Configuration
from model.errors import ModelError

COLUMNS = (
    *("uid", "pair", "set", "level", "adsorbate", "text", "kind", "fold", "energy_ev"),
    *("numbers", "positions", "cell", "tags"),
)
# Kinds of row that a screening also sees: nothing in them knows the relaxed adslab.
UNRELAXED = ("unrelaxed", "initial", "clean", "text")


@dataclass(frozen=True)
class Row:
    """One labelled structure. Rows of one ``pair`` share a label, relaxed and unrelaxed.

    ``group`` names the surface, so that a split can keep it on one side; empty where not known.
    ``part`` says what a row that came later, or was held out, is for: ``model.data.splits``.
    """

    uid: str
    pair: str
    set: str
    level: str
    adsorbate: str
    text: str
    kind: str
    fold: int
    energy_ev: float
    numbers_N: NDArray[np.int64]
    positions_N3: NDArray[np.float64]
    cell_33: NDArray[np.float64]
    tags_N: NDArray[np.int64]
    group: str = ""
    part: str = ""

    def configuration(self) -> Configuration:
        """Return what a predictor reads of this row."""
        return Configuration(
            candidate_id=self.uid,
            level=self.level,
            text=self.text,
            numbers_N=self.numbers_N,
            positions_N3=self.positions_N3,
            cell_33=self.cell_33,
            tags_N=self.tags_N,
        )


_ENOUGH = 300  # held-out pairs with which coverage is known to 2 %
_AT_MOST = 0.2  # of a set's pairs, however few that is


def read_rows(file: Path) -> list[Row]:
    """Read a training table.

    Raises:
        ModelError: a column is missing, or a label or a position is not a number.
    """
    try:
        table = pq.read_table(file)
    except (OSError, ValueError) as cause:
        raise ModelError(f"{file} is not a Parquet training table: {cause}") from cause
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise ModelError(f"training table {file} lacks the columns {', '.join(missing)}")
    # Tables written before there were groups: the bulk stands for the surface.
    group = next((name for name in ("group", "bulk") if name in table.column_names), "pair")
    part = [name for name in ("part",) if name in table.column_names]
    names = list(dict.fromkeys((*COLUMNS, group, *part)))
    rows = [_row(values, group) for values in table.select(names).to_pylist()]
    for row in rows:
        if not (np.isfinite(row.energy_ev) and np.isfinite(row.positions_N3).all()):
            raise ModelError(f"row {row.uid} of {file} holds a number that is not finite")
    return rows


def _row(values: dict[str, Any], group: str) -> Row:
    return Row(
        **{name: values[name] for name in COLUMNS[:9]},
        numbers_N=np.asarray(values["numbers"], dtype=np.int64),
        positions_N3=np.asarray(values["positions"], dtype=np.float64).reshape(-1, 3),
        cell_33=np.asarray(values["cell"] or np.zeros(9), dtype=np.float64).reshape(3, 3),
        tags_N=np.asarray(values["tags"], dtype=np.int64),
        group=values[group],
        part=values.get("part", ""),
    )


def count_sets(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many rows each set has."""
    names = sorted({row.set for row in rows})
    return {name: sum(row.set == name for row in rows) for name in names}


def split(
    rows: Sequence[Row],
    *,
    report_fold: int,
    held_out_share: float = 0.1,
    by: Literal["pair", "surface"] = "pair",
) -> tuple[list[Row], list[Row], list[Row]]:
    """Return rows to train on, to hold out for calibration, and to report.

    Rows of one pair stay together, and with ``by="surface"`` those of one set on one surface, so
    that held-out errors are those on surfaces never seen. Every set gives ``held_out_share`` of its
    pairs, a small one more: intervals are read off the held-out errors, and those of 100 rows are
    off by 3 % in coverage (one standard deviation) before anything else is. Held-out and reported
    rows are unrelaxed, as in a screening.
    """
    aside = _held_out_pairs([r for r in rows if r.fold != report_fold], held_out_share, by)
    train: list[Row] = []
    held_out: list[Row] = []
    reported: list[Row] = []
    for row in rows:
        unrelaxed = row.kind in UNRELAXED
        if row.fold == report_fold:
            reported += [row] if unrelaxed else []
        elif row.pair in aside:
            held_out += [row] if unrelaxed else []
        else:
            train.append(row)
    return train, held_out, reported


def _held_out_pairs(rows: Sequence[Row], share: float, by: Literal["pair", "surface"]) -> set[str]:
    """Return the pairs of kin (pairs, or surfaces) taken by lot until each set has given enough."""
    sets: dict[str, dict[str, set[str]]] = {}  # set -> kin -> pairs
    for row in rows:
        kin = row.pair if by == "pair" else row.group or row.pair
        sets.setdefault(row.set, {}).setdefault(kin, set()).add(row.pair)
    aside: set[str] = set()
    for name in sorted(sets):
        here = sets[name]
        pairs = sum(len(some) for some in here.values())
        wanted = max(share * pairs, min(_ENOUGH, _AT_MOST * pairs))
        taken = 0
        order = np.random.default_rng(0).permutation(len(here))
        for kin in np.array(sorted(here))[order[1:]]:  # one stays to train on
            if taken < wanted:
                aside |= here[kin]
                taken += len(here[kin])
    return aside
