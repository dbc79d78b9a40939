"""New labels are counted since a time: those that may be trained on, of one campaign."""

import pytest

from screening_db.learning.labels import NewLabels, new_labels, training_labels
from screening_db.tables.verification import CalculationRow


def calculation(item, ended_at, state="converged"):
    return CalculationRow(
        item=item,
        level="emt",
        token=f"{item}-{ended_at}",
        attempt=1,
        memory_class=0,
        started_at=0.0,
        ended_at=ended_at,
        state=state,
    )


@pytest.fixture
def labelled(db, make):
    """Two good labels at 10 s and 20 s, a flagged one, one of other settings, and one of no try."""
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


def test_all_count_before_the_first_fine_tuning(labelled):
    assert new_labels(labelled, "first") == NewLabels(3, 20.0)


def test_what_is_counted_is_what_training_takes(labelled):
    taken = training_labels(labelled, "emt", "e" * 64).taken
    assert new_labels(labelled, "first").count == len(taken)


@pytest.mark.parametrize(("since", "count"), [(5.0, 2), (10.0, 1), (20.0, 0)])
def test_only_later_ones_are_new(labelled, since, count):
    assert new_labels(labelled, "first", since).count == count


def test_labels_of_another_campaign_are_not_counted(labelled):
    assert new_labels(labelled, "another") == NewLabels(0, None)
