"""Training rows: a structure, its text, its level of theory and the energy to learn.

One Parquet file holds them all; structures are list columns. Units: eV, Å.
Kinds   ``unrelaxed`` and ``initial`` placements, ``relaxed`` ends, ``clean`` slabs without an
adsorbate atom, ``text`` without any atom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.contract import BondRule, Configuration, LevelEnergy
from model.errors import ModelError

_STRING = pa.string()
_ENERGY = pa.struct([("level", _STRING), ("level_hash", _STRING), ("energy_ev", pa.float64())])
# Of the pair at other levels of theory (``LevelEnergy``); optional.
ENERGIES = pa.field("energies", pa.list_(_ENERGY))
_NAMES = [(name, _STRING) for name in ("uid", "pair", "group", "set", "level", "adsorbate")]
_LABEL = [("fold", pa.int32()), ("energy_ev", pa.float64())]
# The training table. Rows of a checkpoint are smaller: without what the text says again, with the
# part that each row plays, and with structures in narrower types.
TABLE_SCHEMA = pa.schema(
    [
        *_NAMES,
        *[("bulk", _STRING), ("miller", pa.list_(pa.int32()))],
        *[("text", _STRING), ("bond_rule", _STRING), ("kind", _STRING)],
        *_LABEL,
        *[("numbers", pa.list_(pa.int32())), ("positions", pa.list_(pa.float64()))],
        *[("cell", pa.list_(pa.float64())), ("tags", pa.list_(pa.int32()))],
        ENERGIES,
    ]
)
COMPACT_SCHEMA = pa.schema(
    [
        *_NAMES,
        *[("text", _STRING), ("bond_rule", _STRING), ("kind", _STRING), ("part", _STRING)],
        *_LABEL,
        *[("numbers", pa.list_(pa.int16())), ("positions", pa.list_(pa.float32()))],
        *[("cell", pa.list_(pa.float32())), ("tags", pa.list_(pa.int8()))],
    ]
)
MOST_TABLE_VALUES = 1_000_000_000  # a million rows with structures
_STRUCTURE = ("numbers", "positions", "cell", "tags")
# Both may have them; tables written before there were groups or bond rules have none.
_LATER = ("group", "part", "bond_rule")
_REQUIRED = [name for name in COMPACT_SCHEMA.names if name not in _LATER]
# Kinds of row that a screening also sees: nothing in them knows the relaxed adslab.
UNRELAXED = ("unrelaxed", "initial", "clean", "text")


@dataclass(frozen=True)
class Row:
    """One labelled structure. Rows of one ``pair`` share a label, relaxed and unrelaxed.

    ``group`` names the surface, so that a split can keep it on one side; empty where unknown.
    ``part`` says what a row that came later, or was held out, is for: ``model.data.splits``.
    ``bond_rule`` is the rule that the text was written by. ``energies`` are the pair's relaxed
    adsorption energies at other levels of theory, at most one of each name.
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
    bond_rule: BondRule = "radii"
    energies: tuple[LevelEnergy, ...] = ()

    def configuration(self) -> Configuration:
        """Return the row as a predictor reads it, without its energy."""
        return Configuration(
            candidate_id=self.uid,
            level=self.level,
            text=self.text,
            numbers_N=self.numbers_N,
            positions_N3=self.positions_N3,
            cell_33=self.cell_33,
            tags_N=self.tags_N,
            energies_ev={each.level: each.energy_ev for each in self.energies},
        )


def read_training_table(file: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file whose head states no more values than a training table holds.

    A few hundred bytes may stand for billions of equal values.

    Raises:
        ModelError: it states more, or cannot be read.
    """
    try:
        opened = pq.ParquetFile(file)
        groups = [opened.metadata.row_group(i) for i in range(opened.num_row_groups)]
        values = sum(g.column(i).num_values for g in groups for i in range(g.num_columns))
        if values > MOST_TABLE_VALUES:
            raise ModelError(
                f"a training table has at most {MOST_TABLE_VALUES:,} values, {file} states "
                f"{values:,}; split it, or restore it where it is of a checkpoint"
            )
        table: pa.Table = opened.read(columns)
    except (OSError, ValueError, pa.ArrowException) as cause:
        raise ModelError(f"{file} is not a Parquet training table: {cause}") from cause
    return table


def read_rows(file: Path) -> list[Row]:
    """Read a training table.

    Raises:
        ModelError: a column is missing, a label, a position or a potential's energy is not a
            number, or a row has two energies of one level.
    """
    table = read_training_table(file)
    if missing := [name for name in _REQUIRED if name not in table.column_names]:
        raise ModelError(f"training table {file} lacks the columns {', '.join(missing)}")
    # Tables written before there were groups: the bulk stands for the surface.
    group = next((name for name in ("group", "bulk") if name in table.column_names), "pair")
    later = [name for name in ("part", "bond_rule", ENERGIES.name) if name in table.column_names]
    names = list(dict.fromkeys((*_REQUIRED, group, *later)))
    rows = [_row(values, group) for values in table.select(names).to_pylist()]
    for row in rows:
        if not (np.isfinite(row.energy_ev) and np.isfinite(row.positions_N3).all()):
            raise ModelError(f"row {row.uid} of {file} holds a number that is not finite")
        _check_energies(row, file)
    return rows


def _check_energies(row: Row, file: Path) -> None:
    for each in row.energies:
        if not (each.level and each.level_hash and np.isfinite(each.energy_ev)):
            raise ModelError(
                f"an energy at another level has its name, its hash and a number, row {row.uid} of "
                f"{file} holds {each}; correct the table"
            )
    if len({each.level for each in row.energies}) < len(row.energies):
        raise ModelError(
            f"a row has one energy at each level, row {row.uid} of {file} has two at one of "
            f"{', '.join(sorted(each.level for each in row.energies))}; correct the table"
        )


def _row(values: dict[str, Any], group: str) -> Row:
    return Row(
        **{name: values[name] for name in _REQUIRED if name not in _STRUCTURE},
        numbers_N=np.asarray(values["numbers"], dtype=np.int64),
        positions_N3=np.asarray(values["positions"], dtype=np.float64).reshape(-1, 3),
        cell_33=np.asarray(values["cell"] or np.zeros(9), dtype=np.float64).reshape(3, 3),
        tags_N=np.asarray(values["tags"], dtype=np.int64),
        group=values[group],
        part=values.get("part", ""),
        bond_rule=values.get("bond_rule", "radii"),
        energies=tuple(_energy(each) for each in values.get(ENERGIES.name) or ()),
    )


def _energy(values: dict[str, Any]) -> LevelEnergy:
    energy_ev = values["energy_ev"]
    return LevelEnergy(
        values["level"] or "",
        values["level_hash"] or "",
        float("nan") if energy_ev is None else energy_ev,
    )


def bond_rule_of(rows: Sequence[Row]) -> BondRule:
    """Return the rule that the texts of all rows follow.

    Raises:
        ModelError: there are rows of two rules, or none.
    """
    rules = sorted({row.bond_rule for row in rows})
    if len(rules) != 1:
        raise ModelError(
            f"the texts that one checkpoint learns from follow one bond rule, got "
            f"{' and '.join(rules) or 'no row'}; write the table again with this version"
        )
    return rules[0]


def count_sets(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many rows each set has."""
    names = sorted({row.set for row in rows})
    return {name: sum(row.set == name for row in rows) for name in names}
