"""A profile is read strictly; the example that ships is one."""

from pathlib import Path

import pytest
from support.paths import REPOSITORY

from flows.cluster.workers import default_workers
from flows.config.batch_profile import BatchProfile, load_batch_profile
from flows.config.settings import Settings
from flows.errors import CampaignError
from flows.screening.start import VerificationRequest, place_to_compute
from flows.verification.flow import BatchJobs, DaskWorkers
from tasks.verification.inputs.resources import COSTS

PROFILE = REPOSITORY / "deployments" / "slurm.yaml"


def test_the_example_states_what_differs_and_keeps_the_rest() -> None:
    profile = load_batch_profile(PROFILE)
    assert (profile.jobs, profile.partition, profile.limits.max_wall_h) == (50, "standard", 24.0)
    espresso = profile.limits.cost("quantum-espresso")
    assert (espresso.max_ranks, espresso.scf_s) == (32, 60.0)
    assert espresso.case_gb == COSTS["quantum-espresso"].case_gb
    assert profile.limits.cost("gpaw") == COSTS["gpaw"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job: 3", "job: Extra inputs are not permitted"),
        ("jobs: 0", "jobs: Input should be greater than or equal to 1"),
        ("limits: {max_wall: 3}", "limits.max_wall"),
        ("limits: {engines: {gpaw: {ranks: 3}}}", "limits.engines.gpaw.ranks"),
        ("options: {mem: 3G}", "options must not be mem"),
        ("options: {cpus_per_task: 3}", "options must not be cpus_per_task"),
        ("jobs: [", "cannot be read"),
        ("- 1", "the file"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    with pytest.raises(CampaignError) as refused:
        load_batch_profile(file)
    assert said in str(refused.value)


def test_a_profile_that_is_not_there() -> None:
    with pytest.raises(CampaignError, match=r"copy deployments/slurm\.yaml"):
        load_batch_profile(Path("no-such.yaml"))


def test_the_command_goes_before_the_settings_and_those_before_the_profile() -> None:
    settings = Settings(on="slurm", jobs=7, profile=PROFILE, memory_class=1)
    stated = place_to_compute(VerificationRequest(), settings, Path("here"))
    assert stated == BatchJobs("slurm", load_batch_profile(PROFILE), Path("runs/jobs"), 7, 1)
    asked = place_to_compute(VerificationRequest(on="local", jobs=2), settings, Path("here"))
    assert isinstance(asked, BatchJobs)
    assert (asked.system, asked.jobs) == ("local", 2)
    profiled = place_to_compute(
        VerificationRequest(on="slurm", profile=PROFILE), Settings(), Path("here")
    )
    assert isinstance(profiled, BatchJobs)
    assert profiled.jobs == 50


def test_without_anything_said_dask_computes_and_local_jobs_are_as_many_as_cores() -> None:
    assert isinstance(
        place_to_compute(VerificationRequest(), Settings(), Path("here")), DaskWorkers
    )
    local = place_to_compute(VerificationRequest(on="local"), Settings(), Path("here"))
    assert local == BatchJobs("local", BatchProfile(), Path("here"), default_workers())
