"""A profile is read strictly; the example that ships is one."""

import re
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from flows.cluster.workers import default_workers
from flows.config.batch_profile import BatchProfile, load_batch_profile
from flows.config.settings import Settings
from flows.errors import CampaignError
from flows.verification.flow import BatchJobs, DaskWorkers, VerificationRequest, requested_workers
from tasks.verification.inputs.resources import COSTS

PROFILE = REPOSITORY / "deployments" / "slurm.yaml"


def test_the_example_states_its_differences_and_keeps_the_other_defaults() -> None:
    profile = load_batch_profile(PROFILE)
    assert (profile.jobs, profile.partition, profile.limits.max_wall_h) == (50, "standard", 24.0)
    espresso = profile.limits.cost("quantum-espresso")
    assert (espresso.max_ranks, espresso.scf_s) == (32, 60.0)
    assert espresso.case_gb == COSTS["quantum-espresso"].case_gb
    assert profile.limits.cost("gpaw") == COSTS["gpaw"]


def load(folder: Path, text: str) -> BatchProfile:
    file = folder / "profile.yaml"
    file.write_text(text)
    return load_batch_profile(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job: 3", "line 1: unknown key 'job'; the nearest valid key is 'jobs'"),
        ("account: a\njobs: 0", "line 2: jobs: value should be greater than or equal to 1, got 0"),
        ("limits: {max_wall: 3}", "line 1: limits.max_wall"),
        ("limits: {engines: {gpaw: {ranks: 3}}}", "line 1: limits.engines.gpaw.ranks"),
        ("options: {mem: 3G}", "options must not set mem"),
        ("options: {cpus_per_task: 3}", "options must not set cpus_per_task"),
        ("launcher: ''", "launcher is the command before a program of several ranks, got ''"),
        ('launcher: "mpirun \'x"', "close its quotation"),
        ("jobs: [", "not valid YAML"),
        ("- 1", "a profile file is a mapping of keys to values, got list"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CampaignError, match=re.escape(message)):
        load(tmp_path, text)


def test_an_option_without_a_value_is_true_and_a_molecule_is_no_boolean(tmp_path: Path) -> None:
    options = load(tmp_path, "options: {exclusive: true, comment: NO}").options
    assert options == {"exclusive": True, "comment": "NO"}


def test_a_profile_that_does_not_exist_is_refused_with_an_example() -> None:
    with pytest.raises(CampaignError, match=r"such as deployments/slurm\.yaml"):
        load_batch_profile(Path("no-such.yaml"))


def test_the_command_goes_before_the_settings_and_those_before_the_profile() -> None:
    settings = Settings(on="slurm", jobs=7, profile=PROFILE, memory_class=1)
    stated = requested_workers(VerificationRequest(), settings, Path("here"))
    assert stated == BatchJobs("slurm", load_batch_profile(PROFILE), Path("runs/jobs"), 7, 1)
    on_local = requested_workers(VerificationRequest(on="local", jobs=2), settings, Path("here"))
    assert isinstance(on_local, BatchJobs)
    assert (on_local.system, on_local.jobs) == ("local", 2)
    profiled = requested_workers(
        VerificationRequest(on="slurm", profile=PROFILE), Settings(), Path("here")
    )
    assert isinstance(profiled, BatchJobs)
    assert profiled.jobs == 50


def test_without_anything_said_dask_computes_and_local_jobs_are_as_many_as_cores() -> None:
    assert isinstance(
        requested_workers(VerificationRequest(), Settings(), Path("here")), DaskWorkers
    )
    local = requested_workers(VerificationRequest(on="local"), Settings(), Path("here"))
    assert local == BatchJobs("local", BatchProfile(), Path("here"), default_workers())
