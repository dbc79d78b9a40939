"""Verification by jobs of a batch system: Slurm, or processes on this machine by the same path.

A job outlives the process that submitted it. Its folder is named by its lease, so that whoever
takes the lease over finds it there; and it was submitted if its pickled work item lies in that
folder under the job's number, because submitit puts it there as its last act and a job that does
not find it ends at once.
"""

import hashlib
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import submitit

from flows.cluster.workers import temporary_environment
from flows.config.batch_profile import BatchProfile, BatchSystem
from flows.errors import CampaignError
from flows.verification.batch_job import FORMAT, FORMAT_FILE, run_job
from flows.verification.batch_states import WatchedJob
from flows.verification.executor import SubmissionError, WorkItem, WorkResult
from model.folder_owner import private_folder
from screening_db.queue.lease import Lease
from tasks.verification.engines.launch import thread_variables
from tasks.verification.inputs.resources import Resources

_SUBMITTED = "_submitted.pkl"


class BatchExecutor:
    """Submits each work item as one job, and collects the results that jobs leave in their folders.

    submitit hands work items and results over as pickles. Nothing is unpickled here that others
    could have written: the folder is this user's and closed to everybody else.
    """

    def __init__(self, system: BatchSystem, profile: BatchProfile, folder: Path, jobs: int) -> None:
        _require_system(system)
        self._system, self._profile, self._jobs = system, profile, jobs
        self._folder = private_folder(
            folder.resolve(), "what jobs hand over", "give another folder in the profile"
        )
        at = f"{system}:{socket.gethostname()}" if system == "local" else system
        self.location = f"{at}:{self._folder}"
        self._watched: dict[str, WatchedJob] = {}

    @property
    def capacity(self) -> int:
        """Return how many jobs may be in flight."""
        return self._jobs

    def job_name(self, lease: Lease) -> str:
        """Return the location and the name of a lease's job."""
        return f"{self.location}#{_name(lease)}"

    def submit(self, item: WorkItem) -> None:
        """Submit one work item as a job.

        Raises:
            SubmissionError: the batch system refuses it, in its own words.
        """
        folder = self._folder / _name(item.lease)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        (folder / FORMAT_FILE).write_text(f"{FORMAT}\n")
        threads = thread_variables(item.resources.threads)
        try:
            with temporary_environment(threads), _signals_held_back():
                job = self._executor(item, folder).submit(run_job, item, folder)
        except (OSError, RuntimeError, SubprocessError) as fault:
            raise SubmissionError(
                f"{self._system} did not take a job ({' '.join(str(fault).split())[-400:]}); see "
                "account, partition and limits in the profile"
            ) from fault
        self._watched[folder.name] = WatchedJob(item.lease, self._system, job, folder)

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        """Watch jobs that another process submitted; return the leases that have none.

        Raises:
            CampaignError: a job is of another release, whose result this one cannot read.
        """
        lost = []
        for lease in leases:
            folder = self._folder / _name(lease)
            submitted = sorted(folder.glob(f"*{_SUBMITTED}"))
            if not submitted:
                shutil.rmtree(folder, ignore_errors=True)
                lost.append(lease)
                continue
            number = submitted[0].name.removesuffix(_SUBMITTED)
            _require_own_release(submitted[0], number)
            kind = submitit.LocalJob if self._system == "local" else submitit.SlurmJob
            job: submitit.Job[WorkResult] = kind(folder=folder, job_id=number)
            self._watched[folder.name] = WatchedJob(lease, self._system, job, folder)
        return lost

    def wait_for_results(self, wait_s: float) -> list[WorkResult]:
        """Return the results that have come; wait at most so long for the first."""
        found = self._results()
        if not found:
            time.sleep(wait_s)
            found = self._results()
        return found

    def forget(self, result: WorkResult) -> None:
        """Remove a job's folder; that of one that failed stays, with its logs."""
        watched = self._watched.pop(_name(result.lease), None)
        if watched is None:
            return
        if result.message:
            for pickled in watched.folder.glob("*.pkl"):
                with suppress(OSError):
                    pickled.unlink()
        else:
            shutil.rmtree(watched.folder, ignore_errors=True)

    def cancel(self, lease: Lease) -> None:
        """Stop a job whose result is not wanted any more."""
        watched = self._watched.pop(_name(lease), None)
        if watched is not None:
            watched.stop()

    def _results(self) -> list[WorkResult]:
        results = (watched.result() for watched in list(self._watched.values()))
        return [result for result in results if result is not None]

    def _executor(self, item: WorkItem, folder: Path) -> Any:
        if self._system == "slurm":
            # The job is the batch script's own process: programs that are launched on its ranks
            # are then steps of their own, and the warning reaches it.
            executor = submitit.SlurmExecutor(folder, python=f"exec {shlex.quote(sys.executable)}")
            executor.update_parameters(
                **slurm_parameters(self._profile, item.resources, f"sabatier-{folder.name[:8]}")
            )
            return executor
        wall_s = item.resources.wall_s
        local = submitit.LocalExecutor(folder)
        local.update_parameters(
            timeout_min=wall_s / 60,
            signal_delay_s=min(self._profile.warning_s, wall_s // 2),
            gpus_per_node=item.resources.gpus,
        )
        return local


def slurm_parameters(profile: BatchProfile, needed: Resources, name: str) -> Mapping[str, Any]:
    """Return submitit's parameters of one Slurm job.

    Args:
        profile: Account, partition and set-up of the cluster.
        needed: Ranks, threads, memory (GB), wall time (s) and GPUs of the work item.
        name: The job's name.

    Returns:
        The parameters; ``no-requeue`` is among them, as the queue alone decides what runs again.
    """
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


def _require_own_release(submitted: Path, number: str) -> None:
    """Refuse a job whose pickles are of another format, or name another function than ``run_job``.

    Pickles name functions by their module. The file is searched for that name and not unpickled:
    a module that is gone would fail only after the job has spent its hours.
    """
    stated = submitted.parent / FORMAT_FILE
    found = stated.read_text().strip() if stated.exists() else ""
    if found != str(FORMAT) or run_job.__module__.encode() not in submitted.read_bytes():
        raise CampaignError(
            f"job {number} was submitted by another release of sabatier, and this one cannot read "
            "its result; collect it with that release, or stop it, remove the folder "
            f"{submitted.parent} and go on with the same command, which computes it anew"
        )


def _require_system(system: BatchSystem) -> None:
    if system == "slurm" and shutil.which("sbatch") is None:
        raise CampaignError(
            "jobs are submitted to Slurm by sbatch, which is not found here; run this on a login "
            "node of the cluster, or take --on local for processes on this machine"
        )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Keep a terminal's Ctrl-C and its end from jobs that are started in the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
