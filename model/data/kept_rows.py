"""Rows inside a checkpoint: the hold-out that it is judged by, and a replay of its training rows.

``hold-out.parquet``  rows that no member learnt from and none of its descendants ever may; their
                      part says whether sigma is fitted on them or candidates are judged by them.
``replay.parquet``    a sample of its training rows, both views of a placement.

Units: eV, Å. Positions are rounded, those of a replay more: training shakes atoms by 0.05 Å.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.checkpoint import Checkpoint
from model.data.rows import COMPACT_SCHEMA, ENERGIES, Row, read_rows
from model.data.splits import HOLD_OUT_SHARES, assign_part
from model.errors import ModelError

HOLD_OUT, REPLAY = "hold-out.parquet", "replay.parquet"
REPLAYED = 350  # pairs of a set: what the wheel has room for
_DECIMALS = {HOLD_OUT: 3, REPLAY: 2}


def write_kept_rows(folder: Path, train: Sequence[Row], held_out: Sequence[Row]) -> None:
    """Write both files into a checkpoint's folder, which is sealed after it."""
    parted = [replace(row, part=assign_part(row.pair, HOLD_OUT_SHARES)) for row in held_out]
    write_compact_rows(folder / HOLD_OUT, parted)
    write_compact_rows(folder / REPLAY, replay_sample(train))


def copy_kept_rows(parent: Checkpoint, folder: Path) -> None:
    """Copy both files of a checkpoint into the folder of one that descends from it."""
    for name in (HOLD_OUT, REPLAY):
        shutil.copyfile(parent.folder / name, folder / name)


def read_hold_out(checkpoint: Checkpoint) -> list[Row]:
    """Return the rows that a checkpoint holds out, each with its part.

    Raises:
        ModelError: the checkpoint has none.
    """
    return _read(checkpoint, HOLD_OUT)


def read_replay(checkpoint: Checkpoint) -> list[Row]:
    """Return the training rows that a checkpoint keeps for replay.

    Raises:
        ModelError: the checkpoint has none.
    """
    return _read(checkpoint, REPLAY)


def held_out_pairs(checkpoint: Checkpoint) -> frozenset[str]:
    """Return the pairs that a checkpoint holds out: a label of one is not learnt from.

    Raises:
        ModelError: the checkpoint has none.
    """
    return frozenset(row.pair for row in read_hold_out(checkpoint))


def replay_sample(train: Sequence[Row]) -> list[Row]:
    """Return all rows of at most ``REPLAYED`` pairs of each set, drawn with a fixed seed."""
    pairs: dict[str, set[str]] = {}
    for row in train:
        pairs.setdefault(row.set, set()).add(row.pair)
    kept: set[tuple[str, str]] = set()
    for name, of_set in pairs.items():
        order = np.random.default_rng(0).permutation(len(of_set))[:REPLAYED]
        kept |= {(name, str(pair)) for pair in np.array(sorted(of_set))[order]}
    return [row for row in train if (row.set, row.pair) in kept]


def write_compact_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write rows as ``model.data.rows.read_rows`` reads them, equal rows as equal files."""
    decimals = _DECIMALS[file.name]
    schema = (
        COMPACT_SCHEMA.append(ENERGIES) if any(row.energies for row in rows) else COMPACT_SCHEMA
    )
    pq.write_table(
        pa.Table.from_pylist([_values(row, decimals) for row in rows], schema=schema),
        file,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,  # slabs that recur pack better as they are: half the size
    )


def _values(row: Row, decimals: int) -> dict[str, object]:
    structure = {
        "numbers": row.numbers_N.tolist(),
        "positions": row.positions_N3.round(decimals).ravel().tolist(),
        "cell": row.cell_33.ravel().tolist(),
        "tags": row.tags_N.tolist(),
        ENERGIES.name: [asdict(each) for each in row.energies],
    }
    names = (*COMPACT_SCHEMA.names, ENERGIES.name)
    return {name: structure.get(name, getattr(row, name, None)) for name in names}


def _read(checkpoint: Checkpoint, name: str) -> list[Row]:
    if not (checkpoint.folder / name).is_file():
        raise ModelError(
            f"fine-tuning needs {HOLD_OUT} and {REPLAY}, and checkpoint {checkpoint.sha256[:12]} "
            f"has no {name}; train it again with this version"
        )
    return read_rows(checkpoint.folder / name)
