"""Settings come from environment variables; one that cannot be used is named."""

from pathlib import Path

import pytest

from flows.config.engines import read_engine_locations
from flows.config.settings import read_settings
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
