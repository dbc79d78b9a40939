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
