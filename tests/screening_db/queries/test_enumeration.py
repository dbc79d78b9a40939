"""Slabs and bulks are found by id."""

from screening_db.queries.enumeration import site_of_candidate, slab_formulas, slabs_by_id
from screening_db.queries.ranking import top_candidates
from screening_db.records.ranking import record_ranks
from screening_db.records.screening import record_chunk, record_slabs


def test_slabs_are_found_by_id(db):
    assert slabs_by_id(db, ["slab", "unknown"])["slab"].elements == ["Cu", "Pt"]


def test_the_formula_of_a_slab_is_its_bulks_or_its_own(db, make):
    slabs = [make.slab(), make.slab("own", None, formula="Pd3Pt")]
    slabs.append(make.slab("skin", formula="CuPt3", edit="skin Pt"))
    assert slab_formulas(db, slabs) == {"slab": "CuPt", "own": "Pd3Pt", "skin": "CuPt3"}


def test_a_slab_without_a_bulk_is_ranked_under_its_own_formula(db, make):
    record_slabs(db, [make.slab("own", None, formula="Pd3Pt", edit="skin Pt")])
    record_chunk(db, "first", "one", [make.candidate("a1", "pair-a", "own")], [], [])
    record_ranks(db, "first", [make.rank("a1", 1)])
    (best,) = top_candidates(db, "first")
    assert (best.bulk, best.edit) == ("Pd3Pt", "skin Pt")
    assert site_of_candidate(db, "a1").bulk == "Pd3Pt"
