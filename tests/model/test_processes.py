"""Processes end with the one that started them, and one that cannot be started is one line."""

import errno
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.paths import REPOSITORY
from support.processes import wait_until

from model.errors import MachineError
from model.processes import ending_with_parent, map_in_processes, require_semaphores

PARENT = """
import sys, subprocess, shlex
from pathlib import Path
from model.processes import ending_with_parent, map_in_processes

def note_and_wait(folder):
    import os, time
    (folder / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    program = ending_with_parent(shlex.join([sys.executable, "-c", sys.argv[2], str(folder)]))
    subprocess.Popen(shlex.split(program))
    list(map_in_processes(note_and_wait, [folder, folder], processes=2, work="a test"))
"""
NOTE = (
    "import os, sys, time, pathlib;"
    "(pathlib.Path(sys.argv[1]) / str(os.getpid())).touch(); time.sleep(600)"
)


def double(number: int) -> int:
    return 2 * number


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> None:
    raise KeyError(number)


def fail_late(number: int) -> int:
    if number:
        raise KeyError(number)
    return number


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.medium
@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave programs alone")
def test_children_and_programs_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    noted = tmp_path / "pids"
    noted.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(noted), NOTE],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert wait_until(lambda: len(list(noted.iterdir())) == 3 or parent.poll() is not None)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(file.name) for file in noted.iterdir()]
    assert len(pids) == 3
    assert wait_until(lambda: not any(map(is_running, pids)), 30.0)


def test_a_program_gets_its_variables_and_arguments_and_keeps_its_status() -> None:
    code = "import os, sys; print(os.environ['WORD'], sys.argv[1]); sys.exit(7)"
    command = ending_with_parent(f"WORD=spoken {shlex.join([sys.executable, '-c', code, 'a b'])}")
    ended = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (7, "spoken a b\n")
    assert ending_with_parent("") == ""  # an engine that runs in this process has no command


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave programs alone")
def test_a_program_whose_parent_ended_before_it_started_does_not_start() -> None:
    command = ending_with_parent("echo started").replace(f" {os.getpid()} ", f" {os.getppid()} ")
    ended = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_shell_becomes_the_program() -> None:
    command = ending_with_parent("sh -c 'echo $PPID; :'", by_shell=True)
    # a second command, without which some shells become their last one by themselves
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{command}; echo more"], capture_output=True, text=True, check=False
    )
    assert ended.stdout == f"{os.getpid()}\n"


@pytest.mark.medium
def test_results_come_in_the_order_of_the_calls() -> None:
    assert list(map_in_processes(double, range(5), processes=2, work="a test")) == [0, 2, 4, 6, 8]


@pytest.mark.medium
def test_a_process_that_is_killed_is_one_line_and_leaves_none() -> None:
    with pytest.raises(MachineError, match="a process of a test was killed, perhaps because mem"):
        list(map_in_processes(die, range(4), processes=2, work="a test"))
    assert wait_until(lambda: not multiprocessing.active_children())


@pytest.mark.medium
def test_a_process_that_is_killed_while_calls_are_submitted_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> None:
        raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken)
    with pytest.raises(MachineError, match="a process of a test was killed, perhaps because mem"):
        list(map_in_processes(double, range(4), processes=2, work="a test"))


@pytest.mark.medium
def test_a_process_of_another_thread_outlives_a_pool_that_fails() -> None:
    results = map_in_processes(fail_late, [0, 1], processes=1, work="a test")
    assert next(results) == 0
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    other.start()
    try:
        with pytest.raises(KeyError):
            next(results)
        assert wait_until(lambda: multiprocessing.active_children() == [other])
        assert other.is_alive()
    finally:
        other.kill()
        other.join()


@pytest.mark.medium
def test_a_fault_of_the_work_is_that_fault() -> None:
    with pytest.raises(KeyError):
        list(map_in_processes(fail, [1], processes=1, work="a test"))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EACCES, errno.ENOSPC])
def test_a_machine_without_semaphores_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)
    line = rf"a test needs .*{os.strerror(number)}.*/dev/shm"
    with pytest.raises(MachineError, match=line):
        list(map_in_processes(double, [1], processes=2, work="a test"))
    with pytest.raises(MachineError, match=line):
        require_semaphores("a test", 2)


def test_too_few_open_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(multiprocessing.get_context("spawn"), "Queue", refuse)
    with pytest.raises(MachineError, match=r"\(Too many open files\); raise .*ulimit -n") as fault:
        require_semaphores("a test", 1)
    assert "semaphores" not in str(fault.value)
