"""One process at a time screens a campaign, and a dead process holds nothing."""

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.paths import REPOSITORY
from support.processes import wait_until

from screening_db.database.engine import open_database
from screening_db.database.lock import campaign_lock
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns

HOLD = """
import sys, time
from screening_db.database.engine import open_database
from screening_db.database.lock import campaign_lock
with campaign_lock(open_database(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_campaign_that_is_held_is_refused_in_one_line(db):
    other = open_database(db.address)
    with (
        campaign_lock(db, "first"),
        pytest.raises(DatabaseError, match=r"campaign first is being screened .*wait") as caught,
        campaign_lock(other, "first"),
    ):
        pass
    assert "\n" not in str(caught.value)
    other.close()


def is_free(db, campaign):
    """Tell whether a campaign can be taken; what was taken is let go of."""
    try:
        with campaign_lock(db, campaign):
            return True
    except DatabaseError as fault:
        if "by another process" not in str(fault):
            raise
        return False


def test_a_campaign_that_is_held_leaves_the_others_free(db):
    other = open_database(db.address)
    with campaign_lock(db, "first"):
        assert [is_free(other, name) for name in ("first", "second")] == [False, True]
    other.close()


@pytest.mark.parametrize("fault", [None, RuntimeError])
def test_a_campaign_is_free_after_its_run_however_it_ended(db, fault):
    other = open_database(db.address)
    with contextlib.suppress(RuntimeError), campaign_lock(db, "first"):
        if fault:
            raise fault
    assert is_free(other, "first")
    other.close()


def test_another_thread_lets_go_of_a_campaign(db):
    held = campaign_lock(db, "first")
    held.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(held.__exit__, None, None, None).result()
    assert is_free(db, "first")


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    db = open_database(tmp_path / "runs.db")
    (tmp_path / ".runs.db.first.lock").mkdir()
    with pytest.raises(DatabaseError, match="cannot be written"), campaign_lock(db, "first"):
        pass
    db.close()


def test_writing_goes_on_while_a_campaign_is_held(db, make):
    other = open_database(db.address)
    with campaign_lock(db, "first"), other.write() as session:
        session.add(make.campaign("second"))
    assert [row.name for row in all_campaigns(db)] == ["first", "second"]
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
        assert not is_free(db, "first")
    finally:
        process.kill()
        process.communicate()
    # a server takes a moment to see that its client is gone
    assert wait_until(lambda: is_free(db, "first")), "the lock outlived its process"
