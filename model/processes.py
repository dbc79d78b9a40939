"""Processes that a run starts: they end when it ends, however it ends.

Linux ends a child whose parent is gone (``PR_SET_PDEATHSIG``), even in the middle of a library's
computation. On other systems a Python child looks once a second whether it still has its parent,
and programs that are no Python (pw.x, mpirun) go on to their own end.

The system asks the thread that started a child: start one only in a thread that lives until then.
"""

import ctypes
import errno
import multiprocessing
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from model.errors import MachineError

R = TypeVar("R")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_S = 1.0
# SIGTERM: a launcher of ranks, such as mpirun, ends them before it ends itself.
# Its first argument is the parent, which may have ended before the system was told.
_PROGRAM = (
    "import ctypes, os, sys; "
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGTERM)}); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


def end_with_parent(parent: int) -> None:
    """End this process at once when its parent, of process id ``parent``, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    else:
        threading.Thread(target=_look_for_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the system was told
        os._exit(1)


def _look_for_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def ending_with_parent(command: str, *, by_shell: bool = False) -> str:
    """Return a command that starts the same program, which gets SIGTERM when this process ends.

    Args:
        command: A program with its arguments, before which variables may be set (``A=1 pw.x``).
        by_shell: A shell starts it (``shell=True``) and is told to become the program: not every
            /bin/sh does so by itself, and else the shell would be the parent, which outlives this
            process.

    Returns:
        The command, to be split like a shell does; unchanged where the system has no such signal.
    """
    if sys.platform != "linux" or not command.strip():
        return command
    # -I -S: nothing but the interpreter is loaded; env reads the variables, as a shell would.
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), "env"]
    return f"{'exec ' * by_shell}{shlex.join(words)} {command}"


def map_in_processes(
    function: Callable[..., R], *arguments: Iterable[Any], processes: int, work: str
) -> Iterator[R]:
    """Call a function in processes of their own, which end with this one.

    Args:
        function: A function of a module, which new processes can import.
        *arguments: The arguments of the calls, as for ``map``.
        processes: How many calls are computed side by side.
        work: What is computed, for messages.

    Yields:
        The results in the order of the calls.

    Raises:
        MachineError: no process can be started here, or one was killed.
    """
    with _pool(processes, work) as pool:
        try:
            yield from _submitted(pool, function, arguments, work)
        except BrokenProcessPool as fault:
            raise MachineError(
                f"a process of {work} was killed, perhaps because memory ran out; run the same "
                "command again, it goes on from there, or let fewer processes run side by side"
            ) from fault


def _submitted(
    pool: ProcessPoolExecutor, function: Callable[..., R], arguments: Iterable[Any], work: str
) -> Iterator[R]:
    try:
        return pool.map(function, *arguments)
    except OSError as fault:  # here it is of a process that does not start; later, of the work
        raise _cannot_start(work, fault) from fault


@contextmanager
def _pool(processes: int, work: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool; its processes are ended at once when the block is left by an exception."""
    try:
        pool = ProcessPoolExecutor(
            processes,
            # Threads and locks of this process are not copied, as they would be by a fork.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=end_with_parent,
            initargs=(os.getpid(),),
        )
    except (OSError, ImportError, NotImplementedError) as fault:
        raise _cannot_start(work, fault) from fault
    try:
        yield pool
    except BaseException:
        # There is no public way to them before Python 3.14; None once the pool has ended.
        for child in list((pool._processes or {}).values()):
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def require_semaphores(work: str, processes: int) -> None:
    """Refuse a machine that has no semaphores for so many processes.

    Who starts processes by another library asks before: Dask would wait for them for ever.

    Args:
        work: What is computed, for messages.
        processes: How many processes are started.

    Raises:
        MachineError: /dev/shm is closed or full, or the system has no semaphores.
    """
    try:
        spawn = multiprocessing.get_context("spawn")
        queues = [spawn.Queue() for _ in range(2 * processes)]
    except (OSError, ImportError, NotImplementedError) as fault:
        raise _cannot_start(work, fault) from fault
    for queue in queues:
        queue.close()


def _cannot_start(work: str, fault: Exception) -> MachineError:
    if getattr(fault, "errno", None) in (errno.EMFILE, errno.ENFILE):
        way_out = "raise the limit on open files (ulimit -n), or start fewer processes"
    else:
        way_out = (
            "free memory and /dev/shm, which holds their semaphores, and raise the limit on "
            "processes (ulimit -u)"
        )
    return MachineError(
        f"{work} needs processes side by side, and this machine does not start them "
        f"({getattr(fault, 'strerror', None) or fault}); {way_out}"
    )
