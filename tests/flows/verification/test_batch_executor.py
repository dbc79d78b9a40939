"""Slurm's path with programs of Slurm's names that only pretend: what is asked, what comes back."""

import hashlib
import os
import pickle
import stat
import sys
from dataclasses import fields
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from support.moody_queue import CAMPAIGN, MoodyQueue, moody_queue
from support.paths import REPOSITORY
from support.stored_rows import queue_rows

from flows.config.batch_profile import BatchProfile, load_batch_profile
from flows.errors import CampaignError
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import SubmissionError, WorkItem, WorkResult
from flows.verification.flow import BatchJobs, run_verification
from flows.verification.work_items import CalculationSettings
from model.errors import FolderError
from screening_db.calculations.attempts import attempts_of
from screening_db.queries.campaigns import find_campaign
from screening_db.queue.lease import Lease
from tasks.errors import UserError
from tasks.verification.engines import plugin
from tasks.verification.inputs.resources import ResourceLimits, Resources

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'sabatier[hpc]'")
from flows.verification import batch_executor, batch_states
from flows.verification.batch_job import FORMAT, FORMAT_FILE

_HUNDREDS = count(100, 100)
PROFILE = REPOSITORY / "deployments" / "slurm.yaml"
SBATCH = """\
#!{python}
# Runs the script as Slurm would, unless the plan names the state that the job ends in.
import os, pathlib, subprocess, sys, time
here = pathlib.Path({here!r})
number = str({first} + len(list(here.glob("*.sh"))))
script = pathlib.Path(sys.argv[1]).read_text()
(here / (number + ".sh")).write_text(script)
plan = (here / "plan").read_text().split("\\n")
end = plan[int(number) - {first}] if int(number) - {first} < len(plan) else ""
if end == "REFUSED":
    sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
print("Submitted batch job", number)
sys.stdout.flush()
(here / (number + ".state")).write_text("RUNNING" if end in ("", "WARNED", "REAPED") else end)
if end not in ("", "WARNED", "REAPED") or os.fork():
    sys.exit(0)
os.close(1); os.close(2)
env = dict(os.environ, SLURM_JOB_ID=number, SLURM_PROCID="0", SLURM_NTASKS="1")
said = [line[17:] for line in script.splitlines() if line.startswith("#SBATCH --output=")]
job = subprocess.Popen(["bash", str(here / (number + ".sh"))], env=env)
if end == "WARNED":
    signals = pathlib.Path(said[0].strip("'")).parent / "signals"
    while not signals.exists() or job.poll() is not None:
        time.sleep(0.1)
    time.sleep(0.5)
    job.send_signal(12)  # to the batch script's own process alone, as --signal=B:USR2 does
status = job.wait()
ended = "OUT_OF_MEMORY" if end == "REAPED" else "FAILED" if status else "COMPLETED"
(here / (number + ".state")).write_text(ended)
"""
SQUEUE = """\
#!{python}
import pathlib, sys
number = sys.argv[-1].removeprefix("--jobs=")
if (pathlib.Path({here!r}) / (number + ".state")).read_text() != "RUNNING":
    sys.exit("slurm_load_jobs error: Invalid job id specified")
print(number)
"""
SACCT = """\
#!{python}
import pathlib, sys
print("JobID|State|NodeList")
for file in pathlib.Path({here!r}).glob("*.state"):
    print(file.stem + "|" + file.read_text() + "|node1")
    print(file.stem + ".batch|" + file.read_text() + "|node1")
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put Slurm's commands in the PATH, and return the folder with their plan and their jobs."""
    here = tmp_path / "slurm"
    here.mkdir()
    (here / "plan").write_text("")
    first = 10_000 * (os.getpid() % 1000 + 1) + next(_HUNDREDS)  # submitit remembers numbers
    words = {"python": sys.executable, "here": str(here), "first": first}
    programs = {"sbatch": SBATCH, "sacct": SACCT, "squeue": SQUEUE, "srun": "#!/bin/sh\n"}
    for name, text in programs.items():
        program = here / name
        program.write_text(text.format(**words))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{tmp_path / 'site'}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(batch_states, "LATE_FILES_S", 0.0)
    return here


def drain(queue: MoodyQueue, profile: BatchProfile | None = None) -> None:
    profile = profile or BatchProfile(limits=ResourceLimits(min_memory_gb=2.0))
    executor = batch_executor.BatchExecutor("slurm", profile, queue.jobs, 1)
    terms = CalculationSettings(queue.level, limits=profile.limits)
    pace = DriverIntervals(poll_s=0.1, queue_check_s=0.1)
    Driver(queue.db, terms, executor, WorkFilter(CAMPAIGN, 9), pace).run(lambda _: None)


def ends(queue: MoodyQueue, kind: str) -> list[str]:
    (item,) = [row.item for row in queue_rows(queue.db) if row.kind == kind]
    return [row.error_class or row.state for row in attempts_of(queue.db, item, queue.level.name)]


@pytest.mark.full
@pytest.mark.slow
def test_the_last_state_of_a_job_decides_on_its_item(slurm: Path, tmp_path: Path) -> None:
    queue = moody_queue(tmp_path, str(tmp_path / "screening.db"), mood="slow3", at="Cu3H", times=1)
    of_the_slab = ["NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "CANCELLED by 0", ""]
    (slurm / "plan").write_text("\n".join([*of_the_slab, "", "WARNED", ""]))
    drain(queue)
    assert ends(queue, "slab") == [
        *("killed", "wall_limit", "out_of_memory", "killed", "killed"),
        "converged",
    ]
    assert ends(queue, "gas") == ["converged"]
    assert ends(queue, "adslab")[0] == "wall_limit"
    assert ends(queue, "adslab")[1] in ("converged", "anomalous")
    scripts = [file.read_text() for file in sorted(slurm.glob("*.sh"))]
    memory = [line for text in scripts for line in text.splitlines() if "--mem=" in line]
    assert [line.split("=")[1] for line in memory[:6]] == ["2048M"] * 3 + ["4096M"] * 3
    assert queue.tries() == {"Cu3": 1, "H2": 1, "Cu3H": 2}


@pytest.mark.full
@pytest.mark.slow
def test_a_killed_program_of_a_job_that_ends_out_of_memory_gets_more(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_states, "LATE_FILES_S", 2.0)
    queue = moody_queue(tmp_path, str(tmp_path / "screening.db"), mood="killed", at="Cu3")
    (slurm / "plan").write_text("REAPED")
    drain(queue)
    assert ends(queue, "slab") == ["out_of_memory", "converged"]


@pytest.mark.full
@pytest.mark.slow
def test_without_sacct_a_job_that_left_the_queue_and_no_result_was_killed(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm / "sacct").write_text("#!/bin/sh\necho Slurm accounting storage is disabled >&2; exit 1")
    monkeypatch.setattr(batch_states, "SQUEUE_INTERVAL_S", 0.1)
    monkeypatch.setattr(batch_states, "UNKNOWN_JOB_S", 1.0)
    queue = moody_queue(tmp_path, str(tmp_path / "screening.db"), mood="slow3", at="Cu3", times=1)
    (slurm / "plan").write_text("NODE_FAIL")
    drain(queue)
    assert ends(queue, "slab") == ["killed", "converged"]
    assert queue.tries()["Cu3"] == 1


def test_a_refused_job_is_reported_in_slurms_words_and_stays_queued(
    slurm: Path, tmp_path: Path
) -> None:
    queue = moody_queue(tmp_path, str(tmp_path / "screening.db"))
    (slurm / "plan").write_text("REFUSED")
    with pytest.raises(SubmissionError, match="QOSMaxSubmitJobPerUserLimit"):
        drain(queue)
    assert {row.state for row in queue_rows(queue.db)} == {"queued", "waiting"}


def test_a_login_node_need_not_have_the_program_that_jobs_load(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = moody_queue(tmp_path, str(tmp_path / "screening.db"))
    monkeypatch.setattr(plugin.PluginEngine, "missing", lambda self: "it is not loaded here")
    (slurm / "plan").write_text("REFUSED")
    found = find_campaign(queue.db, CAMPAIGN)
    for system, reason in (("slurm", "QOSMaxSubmit"), ("local", "it is not loaded here")):
        where = BatchJobs(system, BatchProfile(), queue.jobs, 1)
        with pytest.raises(UserError, match=reason):
            run_verification(queue.db, found, limit=None, engine=None, where=where)


def test_the_request_to_sbatch_follows_from_profile_and_need() -> None:
    needed = Resources(ranks=8, threads=2, memory_gb=12.5, wall_s=7200)
    parameters = batch_executor.slurm_parameters(load_batch_profile(PROFILE), needed, "name")
    assert (parameters["time"], parameters["mem"], parameters["cpus_per_task"]) == (
        120,
        "12800M",
        2,
    )
    assert parameters["additional_parameters"] == {
        "ntasks": 8,
        "signal": "B:USR2@180",
        "no-requeue": True,
        "wckey": "sabatier",
    }
    assert "export OMP_NUM_THREADS=2" in parameters["setup"]
    assert "export SRUN_CPUS_PER_TASK=2" in parameters["setup"]
    assert parameters["setup"][0] == "module load quantum-espresso"


def test_without_sbatch_the_message_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CampaignError, match="sbatch, which is not found here; run this on a login"):
        batch_executor.BatchExecutor("slurm", BatchProfile(), tmp_path / "jobs", 1)


def test_a_folder_that_cannot_be_private_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    with pytest.raises(FolderError, match="a folder of this user's own"):
        batch_executor.BatchExecutor("local", BatchProfile(), tmp_path / "jobs", 1)


LEASE = Lease("H2", "emt", "gas", "tiny", 0.0, "needed", 1, 0, "", "", {}, "token")


def submitted_by(
    module: str, folder: Path, monkeypatch: pytest.MonkeyPatch, form: str = f"{FORMAT}\n"
) -> Path:
    """Write the pickle of a job that calls ``run_job`` of a module, and return its folder."""
    folder.mkdir()
    job = folder / batch_executor._name(LEASE)
    job.mkdir()
    (job / FORMAT_FILE).write_text(form)
    there = ModuleType(module)
    exec("def run_job(): pass", there.__dict__)
    monkeypatch.setitem(sys.modules, module, there)
    (job / "4711_submitted.pkl").write_bytes(pickle.dumps(there.run_job))
    return job


def collected(folder: Path) -> list[Lease]:
    return batch_executor.BatchExecutor("local", BatchProfile(), folder, 1).collect([LEASE])


def test_a_job_of_another_release_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted_by("flows.batch_job", tmp_path / "jobs", monkeypatch)
    with pytest.raises(CampaignError, match=f"job 4711 .* remove the folder {job} and go on"):
        collected(tmp_path / "jobs")


def test_a_job_of_another_format_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "flows.verification.batch_job"
    job = submitted_by(module, tmp_path / "jobs", monkeypatch, form="0\n")
    with pytest.raises(CampaignError, match=f"job 4711 .* remove the folder {job} and go on"):
        collected(tmp_path / "jobs")
    (job / FORMAT_FILE).unlink()  # releases that numbered none
    with pytest.raises(CampaignError, match="submitted by another release"):
        collected(tmp_path / "jobs")


def test_the_format_is_raised_with_the_fields_of_work_items() -> None:
    names = [[field.name for field in fields(kind)] for kind in (WorkItem, WorkResult)]
    digest = hashlib.sha256(repr(names).encode()).hexdigest()[:12]
    assert (FORMAT, digest) == (2, "c7e22409168a")


def test_once_its_folder_is_removed_it_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted_by("flows.batch_job", tmp_path / "jobs", monkeypatch)
    (job / "4711_submitted.pkl").unlink()
    assert collected(tmp_path / "jobs") == [LEASE]


def test_a_job_of_this_release_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted_by("flows.verification.batch_job", tmp_path / "jobs", monkeypatch)
    assert collected(tmp_path / "jobs") == []
