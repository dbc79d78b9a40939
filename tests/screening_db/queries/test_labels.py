"""Labels, reference energies, and the candidates and slabs that were already calculated."""

import pytest

from screening_db.queries.labels import (
    attempted_candidates,
    reference_energies,
    slabs_with_energy,
)
from screening_db.queue.dependencies import record_references
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim
from screening_db.records.campaigns import record_campaign
from screening_db.records.ranking import record_triage
from screening_db.records.screening import (
    record_chunk,
)
from screening_db.tables.verification import QueueRow, ReferenceEnergyRow


@pytest.fixture
def stored(db, make):
    make.store(db, ["a1", "a2", "b1"])
    return db


def add(db, *rows):
    with db.write() as session:
        session.add_all(rows)


def slab_energy():
    return ReferenceEnergyRow(level="emt", kind="slab", item="slab", energy_ev=-9.0)


def test_a_queued_candidate_is_not_attempted(stored, make):
    enqueue(stored, [make.queue_row("a1")])
    assert attempted_candidates(stored, "first") == frozenset()


def test_an_attempt_counts_from_its_lease_on(stored, make):
    enqueue(stored, [make.queue_row("a1")])
    claim(stored, "emt", batch=1, lease_s=60)
    assert attempted_candidates(stored, "first") == {"a1"}


def test_a_label_of_another_campaign_counts(stored, make):
    record_campaign(stored, make.campaign("second"))
    record_chunk(stored, "second", "chunk", [], [], [make.placement("b1", "second")])
    add(stored, make.label("b1", trainable=False))
    assert attempted_candidates(stored, "first") == {"b1"}
    assert attempted_candidates(stored, "second") == {"b1"}


def test_a_campaigns_own_candidates_are_left_out_on_request(stored, make):
    for candidate in ("a1", "b1"):
        add(stored, make.label(candidate))
    record_triage(stored, "first", queued=["a1"], kept=[])
    assert attempted_candidates(stored, "first") == {"a1", "b1"}
    assert attempted_candidates(stored, "first", except_own=True) == {"b1"}


def test_a_slab_with_an_energy_at_the_level_is_found(stored):
    assert slabs_with_energy(stored, "first") == frozenset()
    record_references(stored, [slab_energy()])
    assert slabs_with_energy(stored, "first") == {"slab"}


def test_a_slab_that_the_campaign_paid_for_is_left_out_on_request(stored):
    slab = QueueRow(
        item="slab", level="emt", kind="slab", campaign="first", priority=1.0, why="needed"
    )
    enqueue(stored, [slab])
    record_references(stored, [slab_energy()])
    assert slabs_with_energy(stored, "first") == {"slab"}
    assert slabs_with_energy(stored, "first", except_own=True) == frozenset()


def test_a_reference_energy_is_kept_for_ever(db):
    first = ReferenceEnergyRow(level="emt", kind="gas", item="H2", energy_ev=1.0)
    later = ReferenceEnergyRow(level="emt", kind="gas", item="H2", energy_ev=2.0)
    record_references(db, [first])
    record_references(db, [later])
    assert reference_energies(db, "emt", "gas")["H2"].energy_ev == 1.0
    assert reference_energies(db, "emt", "slab") == {}
