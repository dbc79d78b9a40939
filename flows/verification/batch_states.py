"""The state of a job of a batch system, and the outcome of its work item."""

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import SubprocessError

import psutil
import submitit

from flows.config.batch_profile import BatchSystem
from flows.verification.batch_job import was_warned
from flows.verification.executor import WorkResult
from screening_db.queue.lease import Lease
from tasks.verification.engines import FailureKind, kind_in_output, kind_of_state, last_lines

LATE_FILES_S = 30.0  # a file that a node wrote is seen late on a network's file system
SQUEUE_INTERVAL_S = 30.0  # between two questions to squeue about one job
UNKNOWN_JOB_S = 300.0  # a job that sacct and squeue do not know for so long has ended
_SQUEUE_TIMEOUT_S = 30.0
_LOG_LINES = 5
_MEMORY_LINES = 40  # Slurm and MPI report memory before a program's own last lines


@dataclass
class WatchedJob:
    """A submitted job, its folder, and its states so far; times are monotonic seconds."""

    lease: Lease
    system: BatchSystem
    job: "submitit.Job[WorkResult]"
    folder: Path
    ended_at: float | None = None  # seen without a result, or with one that does not say enough
    read: WorkResult | None = None
    missed_at: float | None = None  # since when squeue does not list it
    ask_at: float = 0.0  # when squeue is called again

    def result(self) -> WorkResult | None:
        """Return the job's result, or how it ended without one; None while it may still come."""
        if self.job.paths.result_pickle.exists():
            return self._own_result()
        state = self._state()
        kind = FailureKind.KILLED if self._is_gone(state) else kind_of_state(state)
        if kind is None or self._may_be_late():
            return None
        if self.job.paths.result_pickle.exists():  # written since the first look
            return self._own_result()
        return self._ended_without(state, kind)

    def stop(self) -> None:
        """Stop the job; a local one with all that it started."""
        if self.system == "slurm":
            self.job.cancel(check=False)
            return
        found = self._process()
        with suppress(psutil.Error):
            for process in [*found.children(recursive=True), found] if found else []:
                process.kill()

    def _own_result(self) -> WorkResult | None:
        """Return the result that the job left.

        Where a program of the job was killed, the job's own end may say that it was for memory;
        that is waited for as long as it may come late.
        """
        if self.read is None:
            self.read = self._unpickled()
        found = self.read
        if found.failure is not FailureKind.KILLED:
            return found
        late = self._may_be_late()
        if self.system == "slurm" and not late:
            self.job.get_info(mode="force")  # by now Slurm knows
        kinds = (kind_of_state(self._state()), kind_in_output(self._last_lines(_MEMORY_LINES)))
        if FailureKind.OUT_OF_MEMORY in kinds:
            message = f"{found.message}; the job ended out of memory"
            return replace(found, failure=FailureKind.OUT_OF_MEMORY, message=message, times=1)
        return None if late else found

    def _unpickled(self) -> WorkResult:
        """Return the result that the job pickled into its own folder, or the reason for none."""
        try:
            raised = self.job.exception()
            if raised is None:
                return self.job.result()
            message = str(raised)
        except Exception as fault:
            message = f"its result cannot be read, it may be of another release: {fault}"
        kind = kind_in_output(message) or FailureKind.ENGINE
        lines = [x for x in message.splitlines() if x.strip() and not x.startswith("--")]
        reason = next((line for line in reversed(lines) if "Error" in line), message)
        said = f"the job stopped: {reason}; see {self.job.paths.stderr}"
        return WorkResult(self.lease, failure=kind, message=said)

    def _ended_without(self, state: str, kind: FailureKind) -> WorkResult:
        words = self._last_lines(_LOG_LINES)
        if kind is FailureKind.KILLED:
            in_log = kind_in_output(words)
            warned = in_log is not FailureKind.OUT_OF_MEMORY and was_warned(self.folder)
            kind = FailureKind.WALL_LIMIT if warned else in_log or kind
        end = f"job {self.job.job_id} ended as {state} without a result; {words[-400:].strip()}"
        return WorkResult(self.lease, failure=kind, message=end)

    def _may_be_late(self) -> bool:
        """Return whether files of an ended job may still be unseen here."""
        self.ended_at = self.ended_at or time.monotonic()
        late_s = 0.0 if self.system == "local" else LATE_FILES_S
        return time.monotonic() - self.ended_at < late_s

    def _is_gone(self, state: str) -> bool:
        """Return whether Slurm, where it keeps no account of jobs, has not known it for long."""
        if state != "UNKNOWN":
            self.missed_at = None
            return False
        now = time.monotonic()
        if now >= self.ask_at:
            self.ask_at = now + SQUEUE_INTERVAL_S
            in_queue = _in_queue(self.job.job_id)
            if in_queue is not None:
                self.missed_at = None if in_queue else self.missed_at or now
        return self.missed_at is not None and now - self.missed_at >= UNKNOWN_JOB_S

    def _state(self) -> str:
        """Return the state in Slurm's words."""
        self.job.done()  # asks Slurm now and then, and reaps a process of our own that has ended
        if self.system == "slurm":
            return str(self.job.state)
        return "RUNNING" if self._process() else "COMPLETED"

    def _last_lines(self, lines: int) -> str:
        paths = self.job.paths
        return f"{last_lines(paths.stderr, lines)} {last_lines(paths.stdout, lines)}"

    def _process(self) -> psutil.Process | None:
        """Return the process of a local job while it runs; its number may be another's by now."""
        try:
            found = psutil.Process(int(self.job.job_id))
            runs = found.status() != psutil.STATUS_ZOMBIE and str(self.folder) in found.cmdline()
        except psutil.Error:
            return None
        return found if runs else None


def _in_queue(number: str) -> bool | None:
    """Return whether squeue lists a job, or None where it does not answer."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={number}"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_SQUEUE_TIMEOUT_S, check=False
        )
    except (OSError, SubprocessError):
        return None
    if answer.returncode == 0:
        return bool(answer.stdout.strip())
    return False if "invalid job id" in answer.stderr.lower() else None
