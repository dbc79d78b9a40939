"""Labels of another level, of unlike settings, and anomalies are not trained on, nor counted."""

from dataclasses import dataclass

import pytest

from screening_db.errors import DatabaseError
from screening_db.learning.labels import NewLabels, new_labels, training_labels
from screening_db.records.screening import record_level
from screening_db.tables.screening import LevelOfTheoryRow
from screening_db.tables.verification import CalculationRow

HASH = "e" * 64  # of the level that the fixture records


@dataclass(frozen=True)
class Changed:
    """A label and what is unlike a good one."""

    candidate_id: str
    values: dict


@pytest.fixture
def mixed_labels(db, make):
    """Give a database with one good label and one of each kind that is refused."""
    kinds = [
        Changed("a1", {"relaxed_text": "OH</s>CuPt (1 -1 0)</s>[]", "level_hash": HASH}),
        Changed("a2", {"level_hash": "f" * 64}),
        Changed("a3", {"flags": ["desorbed"], "trainable": False}),
        Changed("a4", {"converged": False, "trainable": False, "fmax": 0.4}),
        Changed("a5", {"level": "gpaw-rpbe"}),
        Changed("a6", {"level_hash": ""}),  # of before hashes were kept
    ]
    make.store(db, [kind.candidate_id for kind in kinds])
    other = {"engine": "gpaw", "functional": "RPBE", "settings": {}, "reference": {}}
    record_level(db, LevelOfTheoryRow(name="gpaw-rpbe", level_hash="a" * 64, **other))
    with db.write() as session:
        for kind in kinds:
            label = make.label(kind.candidate_id)
            for name, value in kind.values.items():
                setattr(label, name, value)
            session.add(label)
    return db


def test_the_labels_of_a_level_are_taken_with_the_text_of_where_they_ended(mixed_labels):
    found = training_labels(mixed_labels, "emt", HASH)
    assert [label.candidate_id for label in found.taken] == ["a1", "a6"]
    assert found.taken[0].relaxed_text == "OH</s>CuPt (1 -1 0)</s>[]"
    assert {label.level for label in found.taken} == {"emt"}


@pytest.mark.parametrize(
    ("candidate_id", "why"),
    [
        ("a2", "unlike settings: emt had hash ffffffffffff"),
        ("a3", "anomaly: desorbed"),
        ("a4", "not converged: 0.400 eV/Å remain"),
    ],
)
def test_what_is_not_trained_on_is_refused_by_name(mixed_labels, candidate_id, why):
    found = training_labels(mixed_labels, "emt", HASH)
    reasons = {refused.candidate_id: refused.why for refused in found.refused}
    assert why in reasons[candidate_id]


def test_labels_of_another_level_are_not_read(mixed_labels):
    found = training_labels(mixed_labels, "emt", HASH)
    assert {refused.candidate_id for refused in found.refused} == {"a2", "a3", "a4"}


def test_a_level_of_another_hash_is_refused_whole(mixed_labels):
    with pytest.raises(DatabaseError, match=r"emt is recorded .* with hash eeee.* with dddd"):
        training_labels(mixed_labels, "emt", "d" * 64)


def test_a_level_that_nobody_recorded_is_refused(mixed_labels):
    with pytest.raises(DatabaseError, match="no level vasp-oc20 is recorded"):
        training_labels(mixed_labels, "vasp-oc20", HASH)


def calculation(item, ended_at, state="converged"):
    return CalculationRow(
        item=item,
        level="emt",
        token=f"{item}-{ended_at}",
        attempt=1,
        memory_class=0,
        started_at=0.0,
        ended_at=ended_at,
        reported_at=ended_at,
        state=state,
    )


@pytest.fixture
def attempted_labels(db, make):
    """Two good labels at 10 s and 20 s, one flagged, one of other settings, one without attempt."""
    make.store(db, ["a1", "a2", "a3", "a4", "a5", "a6"])
    with db.write() as session:
        for name in ("a1", "a2", "a5"):
            session.add(make.label(name))
        session.add(make.label("a3", trainable=False))
        other = make.label("a4")
        other.level_hash = "f" * 64
        session.add(other)
        session.add_all(
            [
                calculation("a1", 10.0),
                calculation("a2", 5.0, "failed"),
                calculation("a2", 20.0),
                calculation("a3", 30.0, "anomalous"),
                calculation("a4", 30.0),
            ]
        )
    return db


def test_all_count_before_the_first_fine_tuning(attempted_labels):
    assert new_labels(attempted_labels, "first") == NewLabels(3, 20.0)


def test_what_is_counted_is_what_training_takes(attempted_labels):
    taken = training_labels(attempted_labels, "emt", "e" * 64).taken
    assert new_labels(attempted_labels, "first").count == len(taken)


@pytest.mark.parametrize(("since", "count"), [(5.0, 2), (10.0, 1), (20.0, 0)])
def test_only_later_ones_are_new(attempted_labels, since, count):
    assert new_labels(attempted_labels, "first", since).count == count


def test_labels_of_another_campaign_are_not_counted(attempted_labels):
    assert new_labels(attempted_labels, "another") == NewLabels(0, None)
