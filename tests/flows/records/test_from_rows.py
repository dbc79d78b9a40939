"""A campaign's crystals are compared with those that its database has."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.stored_rows import new_database

from flows.records.from_rows import stored_bulks
from flows.records.to_rows import bulk_row
from screening_db.database.engine import Database
from screening_db.queries.aliases import find_stored_id
from screening_db.records.aliases import record_aliases
from screening_db.records.screening import record_bulks
from tasks.enumeration import Bulk, FormulaSpec, resolve_bulks

FORMER, LATER = "f" * 64, "1" * 64


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "screening.db")
    yield database
    database.close()


def copper(db: Database | None = None) -> Bulk:
    (found,), _ = resolve_bulks([FormulaSpec("Cu")], known=stored_bulks(db))
    return found


def test_a_crystal_of_a_former_database_keeps_the_id_that_it_has_there(db: Database) -> None:
    record_bulks(db, [bulk_row(replace(copper(), bulk_id=FORMER))])
    assert (copper(db).bulk_id, copper(db).other_ids) == (FORMER, (copper().bulk_id,))
    record_aliases(db, "bulk", {copper().bulk_id: FORMER})
    assert find_stored_id(db, "bulk", copper().bulk_id[:12]) == FORMER
    assert copper(db).bulk_id == FORMER


def test_a_matched_crystal_stays_with_its_id_though_a_nearer_one_is_stored(db: Database) -> None:
    strained = copper().atoms.copy()
    strained.set_cell(strained.cell * 1.0005, scale_atoms=True)
    record_bulks(db, [bulk_row(replace(copper(), bulk_id=FORMER, atoms=strained))])
    record_aliases(db, "bulk", {copper().bulk_id: copper(db).bulk_id})
    record_bulks(db, [bulk_row(replace(copper(), bulk_id=LATER))])
    assert copper(db).bulk_id == FORMER


def test_a_new_crystal_has_an_id_of_its_own(db: Database) -> None:
    assert copper(db).bulk_id == copper().bulk_id
    assert copper(db).other_ids == ()
