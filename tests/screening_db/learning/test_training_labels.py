"""What may be trained on: labels of another level, of unlike settings, and anomalies may not."""

from dataclasses import dataclass

import pytest

from screening_db.errors import DatabaseError
from screening_db.learning.labels import training_labels
from screening_db.records.enumeration import record_level
from screening_db.tables.screening import LevelOfTheoryRow

HASH = "e" * 64  # of the level that the fixture records


@dataclass(frozen=True)
class Changed:
    """A label and what is unlike a good one."""

    candidate_id: str
    values: dict


@pytest.fixture
def labelled(db, make):
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


def test_the_labels_of_a_level_are_taken_with_the_text_of_where_they_ended(labelled):
    found = training_labels(labelled, "emt", HASH)
    assert [label.candidate_id for label in found.taken] == ["a1", "a6"]
    assert found.taken[0].relaxed_text == "OH</s>CuPt (1 -1 0)</s>[]"
    assert {label.level for label in found.taken} == {"emt"}


@pytest.mark.parametrize(
    ("candidate_id", "why"),
    [
        ("a2", "unlike settings: emt had hash ffffffffffff"),
        ("a3", "anomaly: desorbed"),
        ("a4", "not converged: 0.400 eV/Å remain"),
        ("a5", "another level of theory: gpaw-rpbe, and the training set is of emt"),
    ],
)
def test_what_is_not_trained_on_is_refused_by_name(labelled, candidate_id, why):
    found = training_labels(labelled, "emt", HASH, [candidate_id, "a1"])
    assert [label.candidate_id for label in found.taken] == ["a1"]
    (refused,) = found.refused
    assert refused.candidate_id == candidate_id
    assert why in refused.why


def test_a_level_of_another_hash_is_refused_whole(labelled):
    with pytest.raises(DatabaseError, match=r"emt is recorded .* with hash eeee.* with dddd"):
        training_labels(labelled, "emt", "d" * 64)


def test_a_level_that_nobody_recorded_is_refused(labelled):
    with pytest.raises(DatabaseError, match="no level vasp-oc20 is recorded"):
        training_labels(labelled, "vasp-oc20", HASH)
