"""Imported labels as rows of the screening database."""

from collections.abc import Mapping

from flows.records.to_rows import adsorbate_row, flag_numbers, slab_row
from model.text.configuration_text import parse_text
from screening_db.learning.imported_labels import IMPORTED, ImportedCalculation
from screening_db.tables import CalculationRow, CandidateRow, LabelRow
from tasks.levels import LevelOfTheory
from tasks.prediction.featurise import configuration_text, site_label
from tasks.structures.formats import structure_text
from tasks.training_data.imported.reconstruction import ImportedLabel

StoredSurface = tuple[str, tuple[int, int, int]]  # formula and Miller index that texts name


def imported_calculation(
    label: ImportedLabel, level: LevelOfTheory, name: str, surfaces: Mapping[str, StoredSurface]
) -> ImportedCalculation:
    """Return a label with its slab, candidate and attempt as rows.

    Args:
        label: The label (eV).
        level: Its level of theory.
        name: What the import is called: where people find it again.
        surfaces: What texts name of slabs that are stored already, by id; else as the label says.

    Returns:
        The rows; times and the number of the attempt are those of the database.
    """
    formula, miller = surfaces.get(label.slab.slab_id, (label.slab.bulk_formula, label.slab.miller))
    begun, text = (
        configuration_text(atoms, label.species.name, formula, miller, "scaled")
        for atoms in (label.start, label.relaxed)
    )
    relaxed = structure_text(label.relaxed)
    return ImportedCalculation(
        source=label.source,
        slab=slab_row(label.slab),
        adsorbate=adsorbate_row(label.species),
        candidate=_candidate(label, begun),
        label=_label(label, level, relaxed, text),
        attempt=_attempt(label, level, name, relaxed),
    )


def _candidate(label: ImportedLabel, text: str) -> CandidateRow:
    return CandidateRow(
        id=label.candidate_id,
        pair_id=label.pair_id,
        slab_id=label.slab.slab_id,
        adsorbate=label.species.name,
        site_kind=label.sites[0].kind if label.sites else IMPORTED,
        site=site_label(label.sites),
        # Predicted again as a design is, until a screening that places it gives its recipe.
        recipe={IMPORTED: label.token, "text": text},
        structure=structure_text(label.start),
    )


def _label(label: ImportedLabel, level: LevelOfTheory, relaxed: str, text: str) -> LabelRow:
    energy = label.energy
    return LabelRow(
        candidate_id=label.candidate_id,
        level=level.name,
        energy_ev=energy.energy_ev,
        e_adslab=energy.e_adslab_ev,
        e_slab=energy.e_slab_ev,
        e_references=dict(energy.references),
        converged=label.converged,
        flags=[flag.name for flag in label.flags],
        steps=0,
        fmax=label.fmax_ev_ang or 0.0,
        structure=relaxed,
        trainable=label.trainable,
        level_hash=level.level_hash,
        flag_numbers=flag_numbers(label.flags),
        site_before=site_label(label.sites),
        site_after=site_label(parse_text(text).sites),
        migrated=label.migrated,
        relaxed_text=text,
    )


def _attempt(label: ImportedLabel, level: LevelOfTheory, name: str, relaxed: str) -> CalculationRow:
    forces = "forces not given" if label.fmax_ev_ang is None else f"{label.fmax_ev_ang:.3f} eV/Å"
    if label.fmax_ev_ang is not None and label.energy.row.fmax_ev_ang is None:
        forces += " on the adsorbate"
    return CalculationRow(
        item=label.candidate_id,
        level=level.name,
        token=f"{IMPORTED}-{label.token[:32]}",
        attempt=0,
        memory_class=0,
        started_at=0.0,
        state="converged" if label.trainable else "anomalous",
        engine=IMPORTED,
        level_hash=level.level_hash,
        structure_in=structure_text(label.start),
        structure_out=relaxed,
        note=f"{name}, {label.source}: {label.energy_ev:+.3f} eV, {forces}",
    )
