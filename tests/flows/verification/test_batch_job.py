"""Jobs that are processes here, by the path that Slurm's take: killed, late, left alone."""

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.moody_queue import MoodyQueue, moody_queue
from support.processes import wait_until
from support.stored_rows import queue_rows

from screening_db.calculations.attempts import attempts_of

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'sabatier[hpc]'")
pytestmark = [pytest.mark.slow, pytest.mark.full]

SHORT = "limits: {min_wall_h: 0.005, max_wall_h: 0.005}\nwarning_s: 4\n"  # 18 s
Make = Callable[..., MoodyQueue]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda **how: moody_queue(tmp_path, str(tmp_path / "screening.db"), **how)


@pytest.fixture(params=["sqlite", "postgresql"])
def make_on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    address = str(tmp_path / "screening.db")
    if request.param == "postgresql":
        address = request.getfixturevalue("own_postgres")
    return lambda **how: moody_queue(tmp_path, address, **how)


def classes(queue: MoodyQueue) -> list[tuple[str, int]]:
    """Return how each try at an adslab ended, with its memory class."""
    (adslab,) = [row for row in queue_rows(queue.db) if row.kind == "adslab"]
    attempts = attempts_of(queue.db, adslab.item, queue.level.name)
    return [(row.error_class or row.state, row.memory_class) for row in attempts]


def test_a_killed_job_is_tried_again(make: Make) -> None:
    queue = make(mood="die", at="Cu3H")
    assert "1 to be tried again" in queue.drained()
    assert classes(queue)[0][0] == "killed"
    assert queue.tries() == {"H2": 1, "Cu3": 1, "Cu3H": 2}


@pytest.mark.parametrize("mood", ["memory", "reaped"])
def test_out_of_memory_goes_to_a_larger_memory_class(make: Make, mood: str) -> None:
    queue = make(mood=mood, at="Cu3H")
    queue.drained()
    (first, second) = classes(queue)
    assert first == ("out_of_memory", 0)
    assert second[1] == 1


@pytest.mark.parametrize("mood", ["hang", "deaf"])
def test_a_job_over_its_wall_time_goes_on_in_the_next(make: Make, mood: str) -> None:
    queue = make(mood=mood, at="Cu3H")
    queue.drained(profile=SHORT)
    assert classes(queue)[0][0] == "wall_limit"
    assert queue.tries()["Cu3H"] == 2
    assert {row.state for row in queue_rows(queue.db)} <= {"converged", "anomalous"}


def test_a_process_gets_the_threads_of_its_engine_before_numpy_loads(make: Make) -> None:
    queue = make()
    queue.drained(
        jobs=1,
        profile="limits: {engines: {moody: {threads: 2}}, max_cpus: 2}\n",
        OMP_NUM_THREADS="7",
    )
    pools, *variables = (queue.notes / "threads").read_text().split()
    cores = len(os.sched_getaffinity(0))
    assert variables == [str(min(2, cores))] * 3
    assert pools == str(min(2, cores))


def test_jobs_of_a_driver_that_was_killed_are_collected_and_not_done_twice(make: Make) -> None:
    queue = make(mood="slow4", at="all")
    first = queue.drive(lease_s=2.0)
    assert wait_until(lambda: len(queue.tries()) == 2)  # H2 and the slab are being computed
    first.kill()
    first.communicate()
    said = queue.drained(lease_s=2.0)
    assert said.startswith(("1 converged", "0 converged, 1 anomalous"))
    assert queue.tries() == {"H2": 1, "Cu3": 1, "Cu3H": 1}
    rows = [
        row for item in queue_rows(queue.db) for row in attempts_of(queue.db, item.item, "moody")
    ]
    assert len(rows) == 3
    assert {row.state for row in rows} <= {"converged", "anomalous"}
    assert {row.attempt for row in rows} == {1}


def test_a_job_that_was_never_submitted_is_given_back(make: Make) -> None:
    queue = make()
    first = queue.drive(lease_s=2.0)
    assert wait_until(lambda: any(row.state == "leased" for row in queue_rows(queue.db)))
    first.kill()
    first.communicate()
    for pickled in queue.jobs.glob("*/*_submitted.pkl"):
        pickled.unlink()  # as if it had died between the two
    queue.drained(lease_s=2.0)
    assert {row.state for row in queue_rows(queue.db)} <= {"converged", "anomalous"}


def test_an_interrupted_driver_leaves_its_jobs_to_the_next(make: Make) -> None:
    queue = make(mood="slow4", at="all")
    first = queue.drive(lease_s=600.0)
    assert wait_until(lambda: len(queue.tries()) == 2)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does, to all of the group
    first.communicate()
    queue.drained(lease_s=600.0)  # it has less time than the lease: it does not wait for its end
    assert queue.tries() == {"H2": 1, "Cu3": 1, "Cu3H": 1}


def test_two_drivers_on_one_queue_do_nothing_twice(make_on_both: Make) -> None:
    queue = make_on_both(metals=("Cu", "Ag"))
    both = [queue.drive(jobs=2) for _ in range(2)]
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert set(queue.tries().values()) == {1}
    assert len(queue.tries()) == 5
    ended = [int(word) for out, _ in said for word in out.split() if word.isdigit()]
    assert sum(ended) == 2


def test_files_of_jobs_are_closed_to_others(make: Make) -> None:
    queue = make(mood="bad_input", at="Cu3H", times=9)
    queue.jobs.mkdir(mode=0o755)
    queue.drained()
    assert stat.S_IMODE(queue.jobs.stat().st_mode) == 0o700
    (left,) = list(queue.jobs.iterdir())  # of the failed one, its logs
    assert not list(left.glob("*.pkl"))
    assert list(left.glob("*_log.err"))
