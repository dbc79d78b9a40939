"""Verification by jobs of a batch system: Slurm, or processes on this machine by the same path.

A job outlives the process that submitted it. Its folder is named by its lease, so that whoever
takes the lease over finds it there; and it was submitted if what it is to compute lies in that
folder under the job's number, because submitit puts it there as its last act and a job that does
not find it ends at once.
"""

import hashlib
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import psutil
import submitit

from flows.cluster.workers import temporary_environment
from flows.config.batch_profile import BatchProfile, BatchSystem
from flows.errors import CampaignError
from flows.verification.batch_job import run_job, was_warned
from flows.verification.executor import Result, SubmissionError, Work
from flows.verification.worker import WorkResult
from screening_db.queue.lease import Lease
from tasks.verification.engines import FailureKind
from tasks.verification.engines.failures import kind_in_output, kind_of_state, last_lines
from tasks.verification.engines.launch import thread_variables
from tasks.verification.inputs.resources import Resources

_SUBMITTED = "_submitted.pkl"
_LATE_FILES_S = 30.0  # a file that a node wrote is seen late on a network's file system
_LOG_LINES = 5
_MEMORY_LINES = 40  # Slurm and MPI tell of it before a program's own last words
_ASK_S = 30.0  # between two questions to squeue about one job
_ANSWER_S = 30.0
_GONE_S = 300.0  # a job that sacct and squeue do not know so long has ended


@dataclass
class _Watched:
    lease: Lease
    job: "submitit.Job[Result]"
    folder: Path
    ended_at: float | None = None  # seen without a result, or with one that does not tell enough
    read: Result | None = None
    missed_at: float | None = None  # since when squeue does not list it
    ask_at: float = 0.0  # when squeue is asked again


class BatchExecutor:
    """Submits each calculation as one job, and collects what jobs leave in their folders.

    submitit hands work and results over as pickles. Nothing is unpickled here that others could
    have written: the folder is this user's and closed to everybody else.
    """

    def __init__(self, system: BatchSystem, profile: BatchProfile, folder: Path, jobs: int) -> None:
        _require_system(system)
        self._system, self._profile, self._jobs = system, profile, jobs
        self._folder = _private(folder.resolve())
        at = f"{system}:{socket.gethostname()}" if system == "local" else system
        self.place = f"{at}:{self._folder}"
        self._watched: dict[str, _Watched] = {}

    @property
    def capacity(self) -> int:
        """Return how many jobs may be in flight."""
        return self._jobs

    def job_of(self, lease: Lease) -> str:
        """Return the place and the name of a lease's job."""
        return f"{self.place}#{_name(lease)}"

    def submit(self, work: Work) -> None:
        """Submit one calculation; what the batch system refuses is told in its words."""
        folder = self._folder / _name(work.lease)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        threads = thread_variables(work.resources.threads)
        try:
            with temporary_environment(threads), _signals_held_back():
                job = self._executor(work, folder).submit(run_job, work, folder)
        except (OSError, RuntimeError, SubprocessError) as said:
            raise SubmissionError(
                f"{self._system} did not take a job ({' '.join(str(said).split())[-400:]}); see "
                "account, partition and limits in the profile"
            ) from said
        self._watched[folder.name] = _Watched(work.lease, job, folder)

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        """Watch jobs that another process submitted; return the leases that have none."""
        lost = []
        for lease in leases:
            folder = self._folder / _name(lease)
            submitted = sorted(folder.glob(f"*{_SUBMITTED}"))
            if not submitted:
                shutil.rmtree(folder, ignore_errors=True)
                lost.append(lease)
                continue
            number = submitted[0].name.removesuffix(_SUBMITTED)
            self._watched[folder.name] = _Watched(lease, self._job(folder, number), folder)
        return lost

    def ended(self, wait_s: float) -> list[Result]:
        """Return what has ended; wait at most so long where nothing has."""
        found = self._ended_now()
        if not found:
            time.sleep(wait_s)
            found = self._ended_now()
        return found

    def recorded(self, result: Result) -> None:
        """Forget a job; the folder of one that failed stays, with its logs."""
        watched = self._watched.pop(_name(result.outcome.lease), None)
        if watched is None:
            return
        if result.outcome.message:
            for pickled in watched.folder.glob("*.pkl"):
                with suppress(OSError):
                    pickled.unlink()
        else:
            shutil.rmtree(watched.folder, ignore_errors=True)

    def drop(self, lease: Lease) -> None:
        """Stop a job whose result is not wanted any more."""
        watched = self._watched.pop(_name(lease), None)
        if watched is None:
            return
        if self._system == "local":
            _kill(watched)
        else:
            watched.job.cancel(check=False)

    def _ended_now(self) -> list[Result]:
        results = (self._result(watched) for watched in list(self._watched.values()))
        return [result for result in results if result is not None]

    def _result(self, watched: _Watched) -> Result | None:
        if watched.job.paths.result_pickle.exists():
            return self._read(watched)
        state = self._state(watched)
        kind = FailureKind.KILLED if self._is_gone(watched, state) else kind_of_state(state)
        if kind is None or self._is_early(watched):
            return None
        if watched.job.paths.result_pickle.exists():  # written since we looked
            return self._read(watched)
        return Result(_ended_without(watched, state, kind))

    def _is_early(self, watched: _Watched) -> bool:
        """Tell whether what a job that has ended leaves may not be seen yet."""
        watched.ended_at = watched.ended_at or time.monotonic()
        late_s = 0.0 if self._system == "local" else _LATE_FILES_S
        return time.monotonic() - watched.ended_at < late_s

    def _read(self, watched: _Watched) -> Result | None:
        """Return what a job left; one whose program was killed also tells by its end what for."""
        if watched.read is None:
            watched.read = _read(watched)
        found = watched.read
        if found.outcome.failure is not FailureKind.KILLED:
            return found
        early = self._is_early(watched)
        if self._system == "slurm" and not early:
            watched.job.get_info(mode="force")  # by now Slurm knows
        told = (kind_of_state(self._state(watched)), kind_in_output(_words(watched, _MEMORY_LINES)))
        if FailureKind.OUT_OF_MEMORY in told:
            said = f"{found.outcome.message}; the job ended out of memory"
            outcome = replace(
                found.outcome, failure=FailureKind.OUT_OF_MEMORY, message=said, times=1
            )
            return replace(found, outcome=outcome)
        return None if early else found

    def _is_gone(self, watched: _Watched, state: str) -> bool:
        """Tell whether Slurm, which keeps no account of jobs here, has not known one for long."""
        if state != "UNKNOWN":
            watched.missed_at = None
            return False
        now = time.monotonic()
        if now >= watched.ask_at:
            watched.ask_at = now + _ASK_S
            in_queue = _in_queue(watched.job.job_id)
            if in_queue is not None:
                watched.missed_at = None if in_queue else watched.missed_at or now
        return watched.missed_at is not None and now - watched.missed_at >= _GONE_S

    def _state(self, watched: _Watched) -> str:
        """Return the state in Slurm's words."""
        watched.job.done()  # asks Slurm now and then; takes leave of an own process that has ended
        if self._system == "slurm":
            return str(watched.job.state)
        return "RUNNING" if _process(watched) else "COMPLETED"

    def _job(self, folder: Path, number: str) -> "submitit.Job[Result]":
        kind = submitit.LocalJob if self._system == "local" else submitit.SlurmJob
        return kind(folder=folder, job_id=number)

    def _executor(self, work: Work, folder: Path) -> Any:
        if self._system == "slurm":
            # The job is the batch script's own process: programs that are launched on its ranks
            # are then steps of their own, and the warning reaches it.
            executor = submitit.SlurmExecutor(folder, python=f"exec {shlex.quote(sys.executable)}")
            executor.update_parameters(
                **slurm_parameters(self._profile, work.resources, f"sabatier-{folder.name[:8]}")
            )
            return executor
        wall_s = work.resources.wall_s
        local = submitit.LocalExecutor(folder)
        local.update_parameters(
            timeout_min=wall_s / 60,
            signal_delay_s=min(self._profile.warning_s, wall_s // 2),
            gpus_per_node=work.resources.gpus,
        )
        return local


def slurm_parameters(profile: BatchProfile, needed: Resources, name: str) -> Mapping[str, Any]:
    """Return what ``sbatch`` is asked for; the queue alone decides what is run again."""
    variables = thread_variables(needed.threads)
    if needed.threads > 1:  # since Slurm 22.05 srun does not take it from --cpus-per-task
        variables |= {"SRUN_CPUS_PER_TASK": str(needed.threads)}
    own = {
        "ntasks": needed.ranks,
        "signal": f"B:USR2@{profile.warning_s}",
        "no-requeue": True,
        **profile.options,
    }
    return {
        "job_name": name,
        "nodes": 1,
        "cpus_per_task": needed.threads,
        "mem": f"{round(needed.memory_gb * 1024)}M",
        "time": max(1, needed.wall_s // 60),
        "gpus_per_node": needed.gpus or None,
        "account": profile.account,
        "partition": profile.partition,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "setup": [*profile.setup, *(f"export {k}={v}" for k, v in variables.items())],
        "use_srun": False,
        "additional_parameters": own,
    }


def _name(lease: Lease) -> str:
    return hashlib.sha256("\n".join(lease.key).encode()).hexdigest()[:24]


def _read(watched: _Watched) -> Result:
    """Return what a job pickled into its own folder, or why it could not."""
    lease, where = watched.lease, watched.job.paths.stderr
    try:
        raised = watched.job.exception()
        if raised is None:
            return watched.job.result()
        said = str(raised)
    except Exception as fault:  # a pickle of another release may raise anything
        said = f"its result cannot be read: {fault}"
    kind = kind_in_output(said) or FailureKind.ENGINE
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("--")]
    reason = next((line for line in reversed(lines) if "Error" in line), said)
    return Result(
        WorkResult(lease, failure=kind, message=f"the job stopped: {reason}; see {where}")
    )


def _ended_without(watched: _Watched, state: str, kind: FailureKind) -> WorkResult:
    words = _words(watched, _LOG_LINES)
    if kind is FailureKind.KILLED:
        told = kind_in_output(words)
        warned = told is not FailureKind.OUT_OF_MEMORY and was_warned(watched.folder)
        kind = FailureKind.WALL_LIMIT if warned else told or kind
    said = f"job {watched.job.job_id} ended as {state} without a result; {words[-400:].strip()}"
    return WorkResult(watched.lease, failure=kind, message=said)


def _words(watched: _Watched, lines: int) -> str:
    """Return the last lines of what a job wrote."""
    paths = watched.job.paths
    return f"{last_lines(paths.stderr, lines)} {last_lines(paths.stdout, lines)}"


def _in_queue(number: str) -> bool | None:
    """Return whether squeue lists a job, or None where it does not answer."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={number}"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, SubprocessError):
        return None
    if asked.returncode == 0:
        return bool(asked.stdout.strip())
    return False if "invalid job id" in asked.stderr.lower() else None


def _process(watched: _Watched) -> psutil.Process | None:
    """Return the process of a local job while it runs; its number may be another's by now."""
    try:
        found = psutil.Process(int(watched.job.job_id))
        runs = found.status() != psutil.STATUS_ZOMBIE and str(watched.folder) in found.cmdline()
    except psutil.Error:
        return None
    return found if runs else None


def _kill(watched: _Watched) -> None:
    found = _process(watched)
    with suppress(psutil.Error):
        for process in [*found.children(recursive=True), found] if found else []:
            process.kill()


def _require_system(system: BatchSystem) -> None:
    if system == "slurm" and shutil.which("sbatch") is None:
        raise CampaignError(
            "jobs are submitted to Slurm by sbatch, which is not found here; run this on a login "
            "node of the cluster, or take --on local for processes on this machine"
        )


def _private(folder: Path) -> Path:
    """Return the folder, made and closed to everybody else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode):
            folder.chmod(0o700)
            return folder
        why = "it is another user's"
    except OSError as fault:
        why = str(fault)
    raise CampaignError(
        f"jobs hand their results over in a folder of this user's own; {folder} cannot be it "
        f"({why}); give another folder in the profile"
    )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Keep a terminal's Ctrl-C and its end from jobs that are started in the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
