"""A database that the release before wrote opens, shows what it showed, and goes on.

``revision_0005.sql`` is one that release 0.1.0 made: four placements of two pairs, two of them
queued, one of these labelled and the other waiting for its slab and H2, and a round that runs.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from screening_db.calculations.attempts import attempts_of
from screening_db.database.engine import Database, open_database
from screening_db.database.schema import current_revision, migrate, newest_revision
from screening_db.errors import DatabaseError
from screening_db.learning.rounds import begin_round
from screening_db.queries.aliases import find_stored_id
from screening_db.queries.campaigns import FunnelCount, funnel_counts
from screening_db.queries.labels import labelled_predictions
from screening_db.queries.ranking import lowest_placements, top_candidates
from screening_db.queue.queue import claim
from screening_db.records.aliases import record_aliases

DUMP = Path(__file__).with_name("revision_0005.sql")


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Database]:
    """Open the former release's database."""
    with closing(sqlite3.connect(tmp_path / "screening.db")) as connection:
        connection.executescript(DUMP.read_text())
    db = open_database(tmp_path / "screening.db", create=False)
    yield db
    db.close()


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of all tables but the revision, in an order of their own."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name != "alembic_version"
        ]
        found = {n: connection.execute(f'SELECT * FROM "{n}"').fetchall() for n in names}
    return {name: sorted(rows, key=str) for name, rows in found.items()}


def test_it_goes_back_to_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "screening.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text())
    before = rows_of(path)
    db = open_database(path, create=False)
    assert "stored_candidate" in rows_of(path)
    migrate(db.engine, db.where, "0005")
    db.close()
    assert rows_of(path) == before


def test_its_rows_are_shown_under_the_former_names(former: Database) -> None:
    (row,) = former.query("SELECT * FROM prediction WHERE candidate_id = 'b2'")
    assert (row["checkpoint_sha256"], row["level"], row["energy_ev"]) == ("c" * 64, "emt", -0.7)
    (item,) = former.query("SELECT * FROM campaign_item WHERE item_id = 'b2'")
    assert (item["campaign"], item["stage"], item["state"]) == ("first", "placement", "queued")
    ranks = former.query("SELECT rank, pair_id, candidate_id, adsorbate FROM rank ORDER BY rank")
    assert [tuple(row.values()) for row in ranks] == [
        (1, "pair-b", "b2", "OH"),
        (2, "pair-a", "a2", "OH"),
    ]


def test_its_ids_are_found_by_their_beginning_and_by_other_ids(former: Database) -> None:
    record_aliases(former, "candidate", {"new-b2": "b2"})
    assert find_stored_id(former, "candidate", "new") == "b2"
    assert find_stored_id(former, "candidate", "b2") == "b2"
    assert find_stored_id(former, "slab", "sl") == "slab"


def test_a_broken_former_database_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "screening.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text())
        connection.execute("DELETE FROM candidate WHERE id = 'b2'")
        connection.commit()
    before = rows_of(path)
    with pytest.raises(DatabaseError, match="breaks its rules"):
        open_database(path, create=False)
    assert rows_of(path) == before


def test_it_has_the_newest_schema_once_it_is_open(former: Database) -> None:
    with former.engine.connect() as connection:
        assert current_revision(connection) == newest_revision()


def test_its_ranking_is_unchanged(former: Database) -> None:
    found = [
        (row.rank, row.candidate_id, row.energy_ev, row.probability, row.queue_state, row.label_ev)
        for row in top_candidates(former, "first")
    ]
    assert found == [
        (1, "b2", -0.5, 0.9, "converged", -0.4),
        (2, "a2", -0.5, 0.9, "waiting", None),
    ]


def test_its_lowest_placements_are_unchanged(former: Database) -> None:
    found = [
        (row.pair_id, row.candidate_id, row.energy_ev, row.n_placements)
        for row in lowest_placements(former, "first")
    ]
    assert found == [("pair-a", "a2", -0.7, 2), ("pair-b", "b2", -0.7, 2)]


def test_its_funnel_is_unchanged(former: Database) -> None:
    assert funnel_counts(former, "first") == [
        FunnelCount("first", "placement", "kept", "", 1),
        FunnelCount("first", "placement", "passed_over", "", 1),
        FunnelCount("first", "placement", "queued", "", 2),
    ]


def test_its_label_stands_beside_its_prediction(former: Database) -> None:
    (row,) = labelled_predictions(former, "first")
    assert (row.candidate_id, row.miller, row.predicted_ev, row.label_ev, row.trainable) == (
        "b2",
        "(1 -1 0)",
        -0.7,
        -0.4,
        True,
    )


def test_its_attempts_are_there(former: Database) -> None:
    (attempt,) = attempts_of(former, "b2", "emt")
    assert (attempt.state, attempt.attempt) == ("converged", 1)


def test_its_queue_goes_on_with_what_the_waiting_adslab_needs(former: Database) -> None:
    leases = claim(former, "emt", batch=9, lease_s=60)
    assert [lease.item for lease in leases] == ["slab", "H2"]


def test_its_round_goes_on(former: Database) -> None:
    assert begin_round(former, "first", budget=9.0).budget == 5.0
