"""Write the training table: published sets and our own EMT relaxations in one Parquet file.

    python -m tasks.training_data.assemble --data DIR --emt DIR --out FILE

Relaxed sets enter twice: re-placed (kind ``unrelaxed``) and as they are (``relaxed``), under one
pair. What cannot be re-placed enters in neither form and is counted with its reason.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.errors import Refused, UserError
from tasks.training_data.frames import bulk_formula, standard_frame
from tasks.training_data.replace import Replaced, Replacer
from tasks.training_data.sources import SETS, Frame, SetSpec, read_frames
from tasks.training_data.table import (
    SCHEMA,
    Label,
    TrainingRow,
    read_tables,
    training_row,
    write_table,
)


@dataclass(frozen=True)
class SetReport:
    """How one set went: rows, refusals by reason, and how far adsorbates moved in relaxation."""

    name: str
    frames: int
    rows: int
    refused: tuple[Refused, ...]
    moved_ang: tuple[float, ...]

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        kept = self.frames - len(self.refused)
        lines = [f"{self.name}: {kept} of {self.frames} frames, {self.rows} rows"]
        if self.moved_ang:
            quartiles = ", ".join(
                f"{q:.2f}" for q in np.percentile(self.moved_ang, (25, 50, 75, 95))
            )
            lines.append(f"  placed to relaxed adsorbate, Å (25, 50, 75, 95 %): {quartiles}")
        reasons = Counter(item.reason.partition(":")[0] for item in self.refused)
        lines += [f"  {count} refused: {reason}" for reason, count in reasons.most_common()]
        return lines


def set_rows(folder: Path, spec: SetSpec) -> tuple[list[TrainingRow], SetReport]:
    """Return the rows of one published set and how it went."""
    replacer = Replacer()
    rows: list[TrainingRow] = []
    refused: list[Refused] = []
    moved: list[float] = []
    frames = 0
    for frame in read_frames(folder, spec):
        frames += 1
        made = replacer(frame) if spec.relaxed else _initial(frame)
        if isinstance(made, Refused):
            refused.append(made)
        elif isinstance(made, Replaced):
            moved.append(made.moved_ang)
            label = _label(frame, made.bulk_formula)
            rows.append(training_row(label, "unrelaxed", made.unrelaxed))
            rows.append(training_row(label, "relaxed", made.relaxed))
        else:
            rows.append(made)
    return rows, SetReport(spec.name, frames, len(rows), tuple(refused), tuple(moved))


def assemble(data: Path, emt: Path | None, out: Path) -> Iterator[SetReport]:
    """Write the training table to ``out``, yielding the report of each set on the way."""
    tables = []
    for spec in SETS:
        rows, report = set_rows(data, spec)
        tables.append(pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA))
        yield report
    if emt is not None:
        parts = sorted(emt.glob("part-*.parquet"))
        if not parts:
            raise UserError(f"{emt} holds no part-*.parquet; run tasks.training_data.emt_set first")
        tables.append(read_tables(parts, SCHEMA.names).cast(SCHEMA))
        yield SetReport("emt", len(parts), tables[-1].num_rows, (), ())
    write_table(out, pa.concat_tables(tables))


def _initial(frame: Frame) -> TrainingRow | Refused:
    """Return the row of a frame that is unrelaxed already."""
    try:
        atoms = standard_frame(frame.atoms)
        slab = atoms[atoms.get_tags() != 2]
        return training_row(_label(frame, bulk_formula(slab)), "initial", atoms)
    except UserError as error:
        return Refused(frame.uid, "placement", str(error))


def _label(frame: Frame, bulk_formula: str) -> Label:
    return Label(
        pair=frame.uid,
        set=frame.set,
        level=frame.level,
        adsorbate=frame.adsorbate,
        bulk=bulk_formula,
        miller=frame.miller,
        fold=frame.fold,
        energy_ev=frame.energy_ev,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the training table and print how each set went."""
    parser = argparse.ArgumentParser(description="Write the training table.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--emt", type=Path, help="folder of tasks.training_data.emt_set")
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    options = parser.parse_args(arguments)
    try:
        for report in assemble(options.data, options.emt, options.out):
            print("\n".join(report.lines()), flush=True)
    except UserError as error:
        print(f"sabatier: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
