"""Import labels that others computed: read, check, store, and say the outcome of each row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.config.settings import read_settings
from flows.display.own_labels import show_import
from flows.display.progress import progress_bar
from flows.records.imported_rows import imported_calculation
from flows.records.locations import chosen_database
from flows.records.to_rows import adsorbate_row, level_row
from model.files import new_file
from screening_db.database import Database
from screening_db.learning.imported_labels import ImportResult, record_imported_labels
from screening_db.queries import slab_formulas, slabs_by_id
from screening_db.records.screening import record_adsorbates, record_level
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.training_data.imported.reconstruction import ReadLabels, StatedSurface, read_labels_of
from tasks.training_data.imported.sources import read_label_sources
from tasks.training_data.imported.stated_references import EnergyKind, StatedReferences
from tasks.training_data.imported.tables import gas_energies, read_gas_table

# What becomes of a row, in the order in which they are counted.
ROW_STATES = ("stored", "flagged", "known", "duplicate", "contradicted", "reference", "refused")


@dataclass(frozen=True)
class ImportRequest:
    """What is asked of one import: sources, level, what their energies are, and limits."""

    sources: Sequence[str]
    level: str
    energies: EnergyKind
    gas: Sequence[str] = ()  # H2=-6.77
    gases: Path | None = None  # a table of them
    reference: str = ""  # of adsorption energies
    adsorbate: str = ""  # this and the next two: of rows that do not say it
    miller: str = ""
    bulk: str = ""
    name: str = ""
    tolerance_ev: float = 0.05
    report: Path | None = None
    database: str | None = None


@dataclass(frozen=True)
class RowReport:
    """The outcome of one row of a source, and why."""

    row: str
    state: str
    reason: str
    adsorbate: str = ""
    surface: str = ""
    energy_ev: float | None = None


def start_import(request: ImportRequest) -> list[RowReport]:
    """Import labels, and print how many rows are in, and why the others are not.

    Args:
        request: Sources, level, references and limits.

    Returns:
        A line for each row of the sources.

    Raises:
        UserError: a source cannot be read, the level is unknown, or the references are not its own.
        DatabaseError: the level or an adsorbate is stored with other content.
    """
    level = named_level(request.level)
    stated = StatedReferences(request.energies, _gas_energies(request), request.reference)
    if request.report is not None and not request.report.parent.is_dir():
        raise UserError(f"a report is written into a folder that exists; got {request.report}")
    surface = StatedSurface(request.adsorbate, request.miller, request.bulk)
    content = read_label_sources(list(request.sources))
    with progress_bar("import", len(content.rows), 0, "rows") as advance:
        read = read_labels_of(content, level, stated, surface, advance)
    name = request.name or ", ".join(Path(each).name for each in request.sources)
    db = chosen_database(read_settings(), request.database, create=True)
    try:
        results = store_labels(db, read, level, name, request.tolerance_ev)
    finally:
        db.close()
    rows = row_reports(read, results)
    if request.report is not None:
        write_reports(request.report, rows)
    show_import(rows, ROW_STATES, level.name, db.where, read.passed_over)
    return rows


def store_labels(
    db: Database, read: ReadLabels, level: LevelOfTheory, name: str, tolerance_ev: float
) -> list[ImportResult]:
    """Store labels with their level, adsorbates, slabs and placements.

    Args:
        db: The database.
        read: The labels of a source.
        level: Their level of theory.
        name: What the import is called.
        tolerance_ev: Energies (eV) of one placement that differ by more contradict each other.

    Returns:
        The outcome of each label, in their order.
    """
    if not read.labels:
        return []
    record_level(db, level_row(level))
    species = {label.species.name: adsorbate_row(label.species) for label in read.labels}
    record_adsorbates(db, list(species.values()))
    rows = slabs_by_id(db, sorted({label.slab.slab_id for label in read.labels}))
    formulas = slab_formulas(db, rows.values())
    surfaces = {
        key: (formulas[key], (row.miller_h, row.miller_k, row.miller_l))
        for key, row in rows.items()
    }
    calculations = [imported_calculation(label, level, name, surfaces) for label in read.labels]
    return record_imported_labels(db, calculations, tolerance_ev)


def row_reports(read: ReadLabels, results: Sequence[ImportResult]) -> list[RowReport]:
    """Return the outcome of every row of a source: labels, references, refusals.

    Args:
        read: The rows of a source.
        results: The outcomes of its labels, in their order.

    Returns:
        Each row once, energies in eV.
    """
    rows = []
    for label, result in zip(read.labels, results, strict=True):
        other = f"{result.other_ev:+.3f} eV, {result.other}" if result.other else ""
        reasons = {
            "flagged": "; ".join(
                f"{flag.name}: {flag.value:.3g}, at most {flag.limit:g}" for flag in label.flags
            ),
            "known": "imported before",
            "duplicate": f"same placement and energy: as {other}",
            "contradicted": f"same placement, other energy: {label.energy_ev:+.3f} eV against "
            f"{other}",
        }
        h, k, l = label.slab.miller  # noqa: E741  the names of Miller indices
        rows.append(
            RowReport(
                label.source,
                result.state,
                reasons.get(result.state, ""),
                label.species.name,
                f"{label.slab.bulk_formula} ({h} {k} {l})",
                label.energy_ev,
            )
        )
    rows += [RowReport(row, "reference", "gas molecule or clean slab") for row in read.references]
    rows += [RowReport(each.item, "refused", each.reason) for each in read.refused]
    return rows


def write_reports(path: Path, rows: Sequence[RowReport]) -> None:
    """Write a line for each row as CSV, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with new_file(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["row", "state", "reason", "adsorbate", "surface", "energy_ev"])
            for row in rows:
                energy = "" if row.energy_ev is None else f"{row.energy_ev:.4f}"
                table.writerow([row.row, row.state, row.reason, row.adsorbate, row.surface, energy])
    except OSError as fault:
        raise UserError(f"{path} cannot be written: {fault}") from fault


def _gas_energies(request: ImportRequest) -> dict[str, float]:
    """Return the gas energies (eV) of options and a table together."""
    found = {} if request.gases is None else read_gas_table(request.gases)
    return gas_energies([*(f"{k}={v!r}" for k, v in found.items()), *request.gas])
