"""One process at a time screens a campaign, and a dead process holds nothing."""

import subprocess
import sys
import time

import pytest
from support.paths import REPOSITORY

from screening_db.database.engine import open_database
from screening_db.database.lock import campaign_lock
from screening_db.errors import DatabaseError

HOLD = """
import sys, time
from screening_db.database.engine import open_database
from screening_db.database.lock import campaign_lock
with campaign_lock(open_database(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_campaign_that_is_held_is_refused_in_one_line(db, database_place):
    other = open_database(database_place)
    with (
        campaign_lock(db, "first"),
        pytest.raises(DatabaseError, match=r"campaign first is being screened .*wait") as caught,
        campaign_lock(other, "first"),
    ):
        pass
    assert "\n" not in str(caught.value)
    other.close()


def test_another_campaign_is_free(db, database_place):
    other = open_database(database_place)
    with campaign_lock(db, "first"), campaign_lock(other, "second"):
        pass
    other.close()


@pytest.mark.parametrize("fault", [None, RuntimeError])
def test_a_campaign_is_free_after_its_run_however_it_ended(db, database_place, fault):
    other = open_database(database_place)
    try:
        with campaign_lock(db, "first"):
            if fault:
                raise fault
    except RuntimeError:
        pass
    with campaign_lock(other, "first"):
        pass
    other.close()


def test_writing_goes_on_while_a_campaign_is_held(db, database_place, make):
    other = open_database(database_place)
    with campaign_lock(db, "first"), other.write() as session:
        session.add(make.campaign("second"))
    other.close()


def test_a_killed_process_holds_nothing(db):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, db.address],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(DatabaseError, match="by another process"), campaign_lock(db, "first"):
            pass
    finally:
        process.kill()
        process.communicate()
    for _ in range(100):  # a server takes a moment to see that its client is gone
        try:
            with campaign_lock(db, "first"):
                return
        except DatabaseError:
            time.sleep(0.05)
    pytest.fail("the lock outlived its process")
