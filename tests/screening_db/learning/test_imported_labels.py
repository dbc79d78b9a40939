"""Imported labels stand beside computed ones: the same twice is one, a contradiction is kept."""

from dataclasses import replace

from sqlalchemy import select

from screening_db.learning.imported_labels import (
    IMPORTED,
    ImportedCalculation,
    record_imported_labels,
)
from screening_db.learning.labels import training_labels
from screening_db.tables.verification import CalculationRow

HASH = "e" * 64


def imported(make, candidate_id: str, energy_ev: float, token: str) -> ImportedCalculation:
    label = make.label(candidate_id, energy_ev)
    label.relaxed_text = "OH</s>CuPt (1 -1 0)</s>[]"
    return ImportedCalculation(
        source=f"row {token}",
        slab=make.slab(),
        adsorbate=make.adsorbate(),
        candidate=make.candidate(candidate_id, structure="{}"),
        label=label,
        attempt=CalculationRow(
            item=candidate_id,
            level="emt",
            token=token,
            attempt=0,
            memory_class=0,
            started_at=0.0,
            state="converged",
            engine=IMPORTED,
            note=f"mine, row {token}",
        ),
    )


def states(db, *labels: ImportedCalculation) -> list[str]:
    return [each.state for each in record_imported_labels(db, labels, 0.05)]


def test_a_label_is_stored_once_and_says_its_source(db, make):
    make.store(db, ["a1"])  # a placement of a campaign, whose structure it did not keep
    assert states(db, imported(make, "a1", -0.4, "x")) == ["stored"]
    assert states(db, imported(make, "a1", -0.4, "x")) == ["known"]
    (taken,) = training_labels(db, "emt", HASH).taken
    assert (taken.energy_ev, taken.start, taken.source) == (-0.4, "{}", "mine, row x")


def test_a_computed_label_stays_where_an_import_contradicts_it(db, make):
    make.store(db, ["a1"])
    with db.write() as session:
        session.add(make.label("a1", -0.4))
    new = imported(make, "a1", -0.9, "x")
    assert states(db, new, replace(new, source="again")) == ["contradicted", "known"]
    (taken,) = training_labels(db, "emt", HASH).taken
    assert taken.energy_ev == -0.4
    with db.read() as session:
        (kept,) = session.scalars(select(CalculationRow).where(CalculationRow.item == "a1"))
    assert (kept.state, kept.attempt) == ("anomalous", 1)


def test_three_imports_of_one_placement_are_all_kept(db, make):
    make.store(db, [])
    three = [imported(make, "n1", energy_ev, str(energy_ev)) for energy_ev in (-0.4, -0.41, -0.9)]
    assert states(db, *three) == ["contradicted", "duplicate", "contradicted"]
    assert training_labels(db, "emt", HASH).taken == ()
    with db.read() as session:
        found = session.scalars(select(CalculationRow).order_by(CalculationRow.attempt)).all()
    assert [row.attempt for row in found] == [1, 2, 3]
