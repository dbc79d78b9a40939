"""Commands of Sabatier as processes that are killed for a test, and their groups of processes.

A command costs some ten processor seconds before it does anything: it imports torch, Prefect and
Dask, and so does each worker. Here a process that has imported them forks one process for each
command, and a second one in its group that Dask's workers are forked from. They are processes like
any others: what is killed, and what has to notice it, is the same. ``is_plain`` starts the command
line as a user does, instead.
"""

import atexit
import importlib
import multiprocessing.util
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from model.processes import end_with_parent

_COMMAND_LINE = "flows.cli.app"
_IMPORTED = (
    _COMMAND_LINE,
    "flows.screening.start",
    "flows.screening.flow",
    "flows.learning.start",
    "flows.learning.loop",
    "flows.learning.promotion",
    "flows.verification.flow",
    "flows.verification.dask_executor",
    "flows.display.labels",
    "model.prediction.baseline",
    "tasks.verification.relaxation.relax",
)
_HELD_BACK = {signal.SIGINT, signal.SIGTERM}  # until the command line is reached
FORKED_WORKERS: Mapping[str, str] = {
    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"
}


def import_everything() -> None:
    """Import what commands and workers import; the environment is read by some of it now.

    Raises:
        RuntimeError: a library has started a thread, and a forked process would lack it.
    """
    for name in _IMPORTED:
        importlib.import_module(name)
    threads = psutil.Process().num_threads()
    if threads > 1:
        raise RuntimeError(f"a process forks safely with one thread, this one has {threads}")


def in_own_process(act: Callable[[], None]) -> None:
    """Run what starts threads in a process that ends, so that this one can still be forked.

    Raises:
        RuntimeError: it failed; the traceback is printed there.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise RuntimeError(f"{act.__name__} ended with {status} in a process of its own")


@dataclass
class Command:
    """A command that was started, in a process group of its own; ``status`` once it has ended."""

    pid: int
    output: Path
    status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative after a signal, or None while the command runs."""
        if self.status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self, limit_s: float) -> int | None:
        """Return the exit status, or None where the command still runs after so long."""
        until = time.monotonic() + limit_s
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        return self.status

    def group(self) -> list[psutil.Process]:
        """Return the processes of the group that live, the command itself among them."""
        return [process for process in psutil.process_iter() if _is_of_group(process, self.pid)]

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes, whether they were forked or started."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            own = " ".join(sys.argv)
            forked = [
                worker
                for child in children
                if own in " ".join(child.cmdline())
                for worker in child.children()
            ]
            return forked or [c for c in children if "spawn_main" in " ".join(c.cmdline())]
        return []

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process of the group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait_for_group(self, limit_s: float) -> int:
        """Return how many processes of the group are left after so long; they should have ended."""
        until = time.monotonic() + limit_s
        while (left := len(self.group())) and time.monotonic() < until:
            time.sleep(0.05)
        return left


def _is_of_group(process: psutil.Process, group: int) -> bool:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        alive: bool = process.status() != psutil.STATUS_ZOMBIE
        return alive and os.getpgid(process.pid) == group
    return False


def start_command(
    arguments: Sequence[str],
    folder: Path,
    output: Path,
    variables: Mapping[str, str],
    *,
    is_plain: bool = False,
) -> Command:
    """Start ``sabatier`` with ``arguments`` in ``folder``; what it prints is added to ``output``.

    Call ``import_everything`` before; no connection to a database may be open here.
    """
    before, here = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK), os.getpid()
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with suppress(PermissionError, ProcessLookupError):  # the child may have done it already
            os.setpgid(pid, pid)
        return Command(pid, output)
    try:
        os.setpgid(0, 0)
        end_with_parent(here)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _redirect(output)
        os.chdir(folder)
        os.environ.update(variables)
        if is_plain:
            for name in FORKED_WORKERS:
                os.environ.pop(name, None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
            os.execv(sys.executable, [sys.executable, "-m", _COMMAND_LINE, *arguments])  # noqa: S606
        _fork_workers_from_here()
        _run(["sabatier", *arguments])
    finally:
        os._exit(1)


def _redirect(output: Path) -> None:
    with output.open("ab") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _run(argv: list[str]) -> None:
    """Run the command line as ``python -m`` does, from its arguments to the end of the process."""
    module = importlib.import_module(_COMMAND_LINE)
    sys.modules["__main__"] = module  # which workers are told to import
    sys.argv = argv
    status, interrupted = 0, False
    try:  # a signal that came before is one that came while a command imports
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    try:
        module.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        interrupted = True
    except BaseException:
        traceback.print_exc()
        status = 1
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)


def _fork_workers_from_here() -> None:
    """Fork the process that multiprocessing would else start to fork workers from."""
    begin, command = multiprocessing.util.spawnv_passfds, os.getpid()

    def fork(path: Any, arguments: list[Any], descriptors: list[int]) -> int:
        code = str(arguments[-1])
        if "multiprocessing.forkserver" not in code:
            return int(begin(path, arguments, descriptors))
        pid = os.fork()
        if pid:
            return pid
        try:
            _close_all_but(descriptors)
            # as ``flows.cluster.dask``, whose workers leave Ctrl-C to the run
            signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
            end_with_parent(command)  # and the workers with it, as if the command had forked them
            _take_for_parent()
            listener, alive = descriptors
            forkserver.main(listener, alive, [])
        finally:
            os._exit(0)

    resource_tracker.ensure_running()  # it lets the signals through again
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    multiprocessing.util.spawnv_passfds = fork  # type: ignore[assignment]
    try:
        forkserver.ensure_running()
    finally:
        multiprocessing.util.spawnv_passfds = begin


def _take_for_parent() -> None:
    """Let workers that are forked from this process take it, not the command, for their parent."""
    bootstrap = BaseProcess._bootstrap  # type: ignore[attr-defined]

    def in_worker(process: Any, *arguments: Any, **named: Any) -> Any:
        process._parent_pid = os.getppid()
        return bootstrap(process, *arguments, **named)

    BaseProcess._bootstrap = in_worker  # type: ignore[attr-defined]


def _close_all_but(descriptors: Sequence[int]) -> None:
    kept = {0, 1, 2, *descriptors}
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number not in kept:
            with suppress(OSError):
                os.close(number)
