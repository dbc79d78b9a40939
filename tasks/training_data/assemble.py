"""Write the training table: published sets and our own relaxations in one Parquet file.

    python -m tasks.training_data.assemble --data DIR --emt DIR --labels DIR --out FILE

``--labels`` are folders that ``sabatier label`` wrote, each with labels of its own level.

Relaxed sets enter twice: re-placed (kind ``unrelaxed``) and as they are (``relaxed``), under one
pair. What cannot be re-placed enters in neither form and is counted with its reason. A checkpoint
that ships is trained on this table, so a set without a licence is refused.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from ase import Atoms

from model.data.rows import TABLE_SCHEMA
from model.text.configuration_text import parse_text
from tasks.enumeration import species_name
from tasks.errors import Refusal, UserError
from tasks.structures.standard_frame import (
    bulk_formula,
    clean_frame,
    joined_adsorbate,
    standard_frame,
)
from tasks.training_data.label_folder import label_files
from tasks.training_data.label_set import read_labels, rows_of_labels
from tasks.training_data.recovered_placements import PlacementRecovery, RecoveredPlacement
from tasks.training_data.sources import (
    BENCHMARKS,
    SETS,
    LabelledStructure,
    SetSpec,
    miller_from_facet,
    read_frames,
    read_records,
    sets_by_name,
)
from tasks.training_data.table import (
    Label,
    TrainingRow,
    read_training_tables,
    rewritten_texts,
    text_row,
    training_row,
    write_table,
)

logger = logging.getLogger(__name__)

DEFAULT = tuple(spec.name for spec in SETS)


@dataclass(frozen=True)
class SetReport:
    """How one set went: rows, refusals by reason, and how far adsorbates moved in relaxation."""

    name: str
    frames: int
    rows: int
    refused: tuple[Refusal, ...]
    moved_ang: tuple[float, ...]

    def lines(self) -> list[str]:
        """Return the report as lines."""
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
    """Return the rows of one published set and a report on it.

    Args:
        folder: Where the published sets lie.
        spec: The set and its form.

    Returns:
        Rows with energies in eV, and how many frames were read and refused, with reasons.
    """
    if spec.form == "text":
        texts = [_text(record, spec) for record in read_records(folder, spec)]
        return texts, SetReport(spec.name, len(texts), len(texts), (), ())
    replacer = PlacementRecovery(spec)
    rows: list[TrainingRow] = []
    refused: list[Refusal] = []
    moved: list[float] = []
    frames = 0
    for frame in read_frames(folder, spec):
        frames += 1
        made = replacer(frame) if spec.form == "relaxed" else _as_stored(frame, spec)
        if isinstance(made, Refusal):
            refused.append(made)
        elif isinstance(made, RecoveredPlacement):
            moved.append(made.moved_ang)
            label = _label(frame, made.bulk_formula)
            rows.append(training_row(label, "unrelaxed", made.unrelaxed))
            rows.append(training_row(label, "relaxed", made.relaxed))
        else:
            rows += made
    return rows, SetReport(spec.name, frames, len(rows), tuple(refused), tuple(moved))


def shipped_sets(names: Sequence[str]) -> list[SetSpec]:
    """Return the named sets; one whose licence keeps weights from shipping is an error."""
    specs = sets_by_name(names, (*SETS, *BENCHMARKS))
    if barred := [spec.name for spec in specs if not spec.ships]:
        raise UserError(
            f"a table for checkpoints that ship holds licensed sets only, and {', '.join(barred)} "
            "states no licence; write it for benchmarks with tasks.training_data.benchmark_tables"
        )
    return specs


def assemble_table(
    data: Path,
    emt: Path | None,
    out: Path,
    names: Sequence[str] = DEFAULT,
    labels: Sequence[Path] = (),
) -> Iterator[SetReport]:
    """Write the training table, set by set.

    Args:
        data: The folder of the published sets.
        emt: The folder of ``emt_set``'s parts; left out where it is None.
        out: The Parquet file to write, once all sets are read.
        names: The published sets to take.
        labels: Folders of sets of labels.

    Yields:
        The report of each set.

    Raises:
        UserError: a set is not known or has no licence, or a folder holds no part or no label.
    """
    tables = []
    for spec in shipped_sets(names):
        rows, report = set_rows(data, spec)
        tables.append(pa.Table.from_pylist([asdict(row) for row in rows], schema=TABLE_SCHEMA))
        yield report
    if emt is not None:
        parts = sorted(emt.glob("part-*.parquet"))
        if not parts:
            raise UserError(f"{emt} holds no part-*.parquet; run tasks.training_data.emt_set first")
        tables.append(rewritten_texts(read_training_tables(parts)))
        yield SetReport("emt", len(parts), tables[-1].num_rows, (), ())
    for folder in labels:
        rows, report = _labels(folder)
        tables.append(pa.Table.from_pylist([asdict(row) for row in rows], schema=TABLE_SCHEMA))
        yield report
    write_table(out, pa.concat_tables(tables))


def _labels(folder: Path) -> tuple[list[TrainingRow], SetReport]:
    """Return the rows of a set of labels; those with a flag are refused by its name."""
    found = read_labels(label_files(folder))
    rows = list(rows_of_labels(found))
    learnt = {row.pair for row in rows}
    refused = tuple(
        Refusal(label["pair"], "placement", ", ".join(label["flags"]) or "no energy")
        for label in found.select(["pair", "flags"]).to_pylist()
        if label["pair"] not in learnt
    )
    return rows, SetReport(folder.name, found.num_rows, len(rows), refused, ())


def _as_stored(frame: LabelledStructure, spec: SetSpec) -> list[TrainingRow] | Refusal:
    """Return the rows of a frame that needs no placement: unrelaxed already, or a clean slab."""
    try:
        if spec.form == "clean":
            slab = clean_frame(frame.atoms)
            return [training_row(_label(frame, bulk_formula(slab)), "clean", slab)]
        start = standard_frame(frame.atoms, spec.adsorbate_tag)
        label = _label(frame, bulk_formula(start[start.get_tags() != 2]))
        if spec.names == "formula":
            label = replace(label, adsorbate=_species(start, frame.adsorbate))
        rows = [training_row(label, "initial", start)]
        if frame.end is not None:
            end = standard_frame(frame.end, spec.adsorbate_tag)
            rows.append(training_row(label, "relaxed", end))
    except UserError as error:
        return Refusal(frame.uid, "placement", str(error))
    return rows


def _species(adslab: Atoms, formula: str) -> str:
    """Return the name of the molecule on a slab, which tells isomers apart."""
    adsorbate = adslab[adslab.get_tags() == 2]
    try:
        return species_name(Atoms(adsorbate.numbers, joined_adsorbate(adsorbate)))
    except UserError:  # some published placements are in pieces: nothing but the formula is sure
        return formula


def _text(record: dict[str, object], spec: SetSpec) -> TrainingRow:
    """Return the row of a published text, which has to read as one."""
    text = parse_text(str(record["text"]))
    label = Label(
        pair=str(record["uid"]),
        group=str(record[spec.group]),
        set=spec.name,
        level=spec.level,
        adsorbate=text.adsorbate,
        bulk=text.bulk,
        miller=miller_from_facet(str(record["facet"])),
        fold=int(str(record["fold"])),
        energy_ev=float(str(record["e_ads"])),
    )
    return text_row(label, str(record["text"]))


def _label(frame: LabelledStructure, bulk_formula: str) -> Label:
    return Label(
        pair=frame.uid,
        group=frame.group,
        set=frame.set,
        level=frame.level,
        adsorbate=frame.adsorbate,
        bulk=bulk_formula,
        miller=frame.miller,
        fold=frame.fold,
        energy_ev=frame.energy_ev,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the training table and log how each set went."""
    parser = argparse.ArgumentParser(description="Write the training table.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--emt", type=Path, help="folder of tasks.training_data.emt_set")
    parser.add_argument(
        "--labels", type=Path, nargs="+", default=(), help="folders that sabatier label wrote"
    )
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--sets", nargs="+", default=DEFAULT, help="published sets to take")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    try:
        wanted = options.data, options.emt, options.out, options.sets, options.labels
        for report in assemble_table(*wanted):
            logger.info("\n".join(report.lines()))
    except UserError as error:
        parser.exit(2, f"sabatier: {error}\n")


if __name__ == "__main__":
    main()
