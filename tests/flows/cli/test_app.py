"""The command line as a whole: its version, its global options, and how a fault ends it."""

import logging
from importlib.metadata import version

import pytest

from flows.cli import app as cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["sabatier", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_version_is_that_of_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"sabatier {version('sabatier')}\n"


def test_verbose_and_quiet_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--verbose", "--quiet", "plan", "any.yaml") == 2


@pytest.mark.parametrize(
    ("option", "level"),
    [((), logging.WARNING), (("-v",), logging.INFO), (("-q",), logging.ERROR)],
)
def test_global_options_set_what_the_terminal_shows(
    monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], level: int
) -> None:
    levels: list[int] = []
    monkeypatch.setattr(cli, "log_to_terminal", levels.append)
    assert run(monkeypatch, *option, "plan", "no-such.yaml") == 2
    assert levels == [level]


def test_a_users_fault_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "log_to_terminal", lambda _: None)
    assert run(monkeypatch, "plan", "no-such.yaml") == 2
    message = capsys.readouterr().err
    assert message.startswith("sabatier: campaign file no-such.yaml does not exist")
    assert message.count("\n") == 1


def test_adsorbates_are_listed_with_what_a_model_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "adsorbates", "SH", "--model", "baseline") == 0
    out = capsys.readouterr().out
    assert "baseline knows it at" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("│")] == ["H2S", "SH"]


def test_levels_are_listed_and_one_says_what_models_know_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "levels", "ch4", "--model", "baseline") == 0
    out = capsys.readouterr().out
    assert "CH4, H2O, H2" in out
    assert "adsorbates         C, CH, CH2, CH3, CO, H, O, OH\n" in out
    assert "kinds of material  alloy, metal\n" in out


def test_a_name_that_is_no_level_is_answered_by_near_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "levels", "emmt") == 2
    assert "holds 'emmt'; the nearest of 11 names are emt" in capsys.readouterr().err


def test_ctrl_c_before_a_command_has_begun_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert run(monkeypatch, "model", "list") == 130
    assert capsys.readouterr().err == "sabatier: stopped before anything was begun\n"
