"""The training table: one Parquet row for each labelled structure, structures as list columns.

Units   energy_ev in eV, positions and cell in Å. ``cell`` is 3 x 3 row vectors, flattened, as are
``positions``. Rows of one ``pair`` share a label: the placement and the end of its relaxation.
``group`` names the surface that splits by surface keep on one side. A row of kind ``clean`` has no
adsorbate atom, one of kind ``text`` no atom at all: its lists are empty. ``energies`` are relaxed
adsorption energies of the pair at other levels of theory, such as that of a universal potential.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms

from model.contract import BondRule, LevelEnergy
from model.data.rows import ENERGIES, TABLE_SCHEMA
from model.files import new_file
from model.text.configuration_text import ConfigurationText
from tasks.enumeration import Miller
from tasks.errors import UserError
from tasks.prediction.featurise import configuration_text

BOND_RULE: BondRule = "scaled"  # of the texts of new tables

Kind = Literal["unrelaxed", "relaxed", "initial", "clean", "text"]


@dataclass(frozen=True)
class TrainingRow:
    """One labelled structure in the form of the table."""

    uid: str
    pair: str
    group: str
    set: str
    level: str
    adsorbate: str
    bulk: str
    miller: Miller
    text: str
    bond_rule: BondRule
    kind: Kind
    fold: int
    energy_ev: float
    numbers: tuple[int, ...]
    positions: tuple[float, ...]
    cell: tuple[float, ...]
    tags: tuple[int, ...]
    energies: tuple[LevelEnergy, ...] = ()


@dataclass(frozen=True)
class Label:
    """The columns that the rows of one pair share: source, adsorbate, slab, level and energies."""

    pair: str
    group: str
    set: str
    level: str
    adsorbate: str
    bulk: str
    miller: Miller
    fold: int
    energy_ev: float
    energies: tuple[LevelEnergy, ...] = ()


def training_row(label: Label, kind: Kind, atoms: Atoms) -> TrainingRow:
    """Return the row of one structure; its text is written from its own atoms, by ``BOND_RULE``."""
    if kind == "clean":
        text = ConfigurationText(label.adsorbate, label.bulk, label.miller, ()).format()
    else:
        text = configuration_text(atoms, label.adsorbate, label.bulk, label.miller, BOND_RULE)
    return TrainingRow(
        uid=f"{label.pair}#{kind}",
        kind=kind,
        text=text,
        bond_rule=BOND_RULE,
        numbers=tuple(atoms.numbers.tolist()),
        positions=tuple(atoms.positions.ravel().tolist()),
        cell=tuple(atoms.cell.array.ravel().tolist()),
        tags=tuple(atoms.get_tags().tolist()),
        **_columns(label),
    )


def text_row(label: Label, text: str, rule: BondRule = "radii") -> TrainingRow:
    """Return the row of a text without a structure; published texts follow ``radii``."""
    return TrainingRow(
        uid=f"{label.pair}#text",
        kind="text",
        text=text,
        bond_rule=rule,
        numbers=(),
        positions=(),
        cell=(),
        tags=(),
        **_columns(label),
    )


def _columns(label: Label) -> dict[str, Any]:
    return {each.name: getattr(label, each.name) for each in fields(label)}


def write_rows(path: Path, rows: Iterable[TrainingRow]) -> int:
    """Write a table under another name and rename it; return the number of rows."""
    return write_table(
        path, pa.Table.from_pylist([asdict(row) for row in rows], schema=TABLE_SCHEMA)
    )


def write_table(path: Path, table: pa.Table) -> int:
    """Write a Parquet table beside its path, rename it, and return its number of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_file(path) as fresh:
            pq.write_table(table, fresh, compression="zstd")
    except OSError as error:
        raise UserError(f"the training table {path} cannot be written: {error}") from error
    return int(table.num_rows)


def read_tables(paths: Sequence[Path]) -> pa.Table:
    """Return the rows of several tables, in the order of their file names."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(paths)])


def read_training_tables(paths: Sequence[Path]) -> pa.Table:
    """Return training rows of several tables; older ones lack groups, bond rules and energies."""
    return pa.concat_tables([_in_schema(pq.read_table(path)) for path in sorted(paths)])


def rewritten_texts(table: pa.Table) -> pa.Table:
    """Return training rows with all texts of structures by ``BOND_RULE``."""
    rows = table.to_pylist()
    for row in rows:
        if row["bond_rule"] != BOND_RULE and row["kind"] not in ("clean", "text"):
            atoms = Atoms(
                row["numbers"],
                np.reshape(row["positions"], (-1, 3)),
                cell=np.reshape(row["cell"], (3, 3)),
                pbc=True,
                tags=row["tags"],
            )
            miller = tuple(row["miller"])
            row["text"] = configuration_text(
                atoms, row["adsorbate"], row["bulk"], miller, BOND_RULE
            )
        if row["kind"] != "text":
            row["bond_rule"] = BOND_RULE
    return pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)


def _in_schema(table: pa.Table) -> pa.Table:
    if "group" not in table.column_names:
        table = table.append_column("group", table["bulk"])
    if "bond_rule" not in table.column_names:
        table = table.append_column("bond_rule", pa.array(["radii"] * len(table)))
    if ENERGIES.name not in table.column_names:
        table = table.append_column(ENERGIES, pa.nulls(len(table), ENERGIES.type))
    return table.select(TABLE_SCHEMA.names).cast(TABLE_SCHEMA)
