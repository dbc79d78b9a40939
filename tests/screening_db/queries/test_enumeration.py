"""Slabs and bulks are found by id."""

from screening_db.queries.enumeration import bulk_formulas, slabs_by_id


def test_slabs_are_found_by_id(db):
    assert slabs_by_id(db, ["slab", "unknown"])["slab"].elements == ["Cu", "Pt"]


def test_formulas_are_found_by_bulk(db):
    assert bulk_formulas(db, {"bulk", "none"}) == {"bulk": "CuPt"}
