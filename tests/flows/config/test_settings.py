"""Settings come from environment variables; one that cannot be used is named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.config.campaign import Cluster
from flows.config.engines import read_engine_locations
from flows.config.settings import MAX_WORKERS, read_settings
from flows.errors import CampaignError


def test_a_variable_sets_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SABATIER_WORKERS", "3")
    assert read_settings().workers == 3


def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SABATIER_ON", "cloud")
    message = "environment variable SABATIER_ON: .* got 'cloud'; correct it or unset it"
    with pytest.raises(CampaignError, match=message):
        read_settings()


def test_an_engine_is_found_under_the_variable_of_ase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SABATIER_VASP_COMMAND", raising=False)
    monkeypatch.setenv("ASE_VASP_COMMAND", "mpirun vasp_std")
    location = read_engine_locations(Path("work"))["vasp"]
    assert (location.command, location.work) == ("mpirun vasp_std", str(Path("work").absolute()))


def test_a_command_with_an_open_quotation_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SABATIER_QE_COMMAND", "pw.x 'a")
    with pytest.raises(CampaignError, match=r"^SABATIER_QE_COMMAND is a command .*close its quot"):
        read_engine_locations()


def test_more_workers_than_any_machine_runs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cluster(workers=MAX_WORKERS).workers == MAX_WORKERS == 4096
    with pytest.raises(ValidationError, match="less than or equal to 4096"):
        Cluster(workers=100_000_000)
    monkeypatch.setenv("SABATIER_WORKERS", "4097")
    with pytest.raises(CampaignError, match=r"SABATIER_WORKERS: .* less than or equal to 4096"):
        read_settings()
