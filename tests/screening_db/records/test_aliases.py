"""What has another id is found by it, by the beginning of it, and only where it means one thing."""

import pytest

from screening_db.errors import DatabaseError
from screening_db.queries.aliases import bulks_of_formula, find_stored_id, stored_ids
from screening_db.queue.enqueue import enqueue
from screening_db.queue.view import queue_items_by_id
from screening_db.records.aliases import record_aliases
from screening_db.records.screening import record_bulks


def test_an_alias_leads_to_the_stored_id_and_other_ids_stay(db):
    record_aliases(db, "bulk", {"old": "bulk"})
    record_aliases(db, "bulk", {"old": "bulk"})  # again changes nothing
    assert stored_ids(db, "bulk", ["old", "bulk", "other"]) == {
        "old": "bulk",
        "bulk": "bulk",
        "other": "other",
    }
    assert stored_ids(db, "slab", ["old"]) == {"old": "old"}


def test_an_alias_of_an_alias_leads_to_the_stored_id_in_one_step(db):
    record_aliases(db, "bulk", {"older": "old"})
    record_aliases(db, "bulk", {"old": "bulk"})
    record_aliases(db, "bulk", {"oldest": "older"})
    names = ["oldest", "older", "old"]
    assert stored_ids(db, "bulk", names) == dict.fromkeys(names, "bulk")


def test_an_id_is_no_alias_of_itself(db):
    record_aliases(db, "bulk", {"bulk": "bulk"})
    assert db.query("SELECT * FROM alias") == []


def test_an_alias_of_two_things_is_refused(db):
    record_aliases(db, "bulk", {"old": "bulk"})
    with pytest.raises(DatabaseError, match=r"old names bulk in .*got other; compare the two"):
        record_aliases(db, "bulk", {"old": "other"})


def test_a_name_is_a_whole_id_an_alias_or_the_beginning_of_one_of_them(db, make):
    record_bulks(db, [make.bulk("bulk-2"), make.bulk("crystal")])
    record_aliases(db, "bulk", {"former": "crystal", "formal": "crystal"})
    found = {name: find_stored_id(db, "bulk", name) for name in ("bulk", "cry", "former", "form")}
    assert found == {"bulk": "bulk", "cry": "crystal", "former": "crystal", "form": "crystal"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("bul", "is the beginning of 2 ids"), ("x", "none in .* begins with 'x'"), ("", "none in")],
)
def test_a_name_of_nothing_or_of_several_is_refused(db, make, name, said):
    record_bulks(db, [make.bulk("bulk-2")])
    with pytest.raises(DatabaseError, match=said):
        find_stored_id(db, "bulk", name)


def test_a_queue_item_is_found_by_a_former_id_of_its_candidate(db, make):
    make.store(db, ["a1", "b1"])
    enqueue(db, [make.queue_row("a1"), make.queue_row("b1")])
    record_aliases(db, "candidate", {"former": "a1"})
    assert [item.item for item in queue_items_by_id(db, ["form"])] == ["a1"]


def test_bulks_are_found_by_formula(db, make):
    record_bulks(db, [make.bulk("a", "Cu"), make.bulk("b", "Cu")])
    assert [row.id for row in bulks_of_formula(db, "Cu")] == ["a", "b"]
    assert bulks_of_formula(db, "Au") == []
