"""Log records reach the terminal by level, and the run log with time and level."""

import logging
from pathlib import Path

import pytest

from flows.display.log import log_to_terminal, terminal_level
from flows.display.progress import progress_bar
from flows.display.run_log import run_log

LOGGER = logging.getLogger("flows.screening.example")


def test_the_terminal_shows_warnings_as_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_terminal(logging.WARNING)
    LOGGER.info("chunk 3 is done")
    LOGGER.warning("GPUs left idle: %d", 2)
    assert capsys.readouterr().err == "sabatier: GPUs left idle: 2\n"


def test_the_run_log_holds_every_step_with_level_and_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_terminal(logging.WARNING)
    with run_log(tmp_path / "runs" / "screening.log"):
        LOGGER.info("chunk %d is done", 3)
    LOGGER.info("after the run")
    (line,) = (tmp_path / "runs" / "screening.log").read_text().splitlines()
    assert line.endswith("Z INFO flows.screening.example: chunk 3 is done")
    assert capsys.readouterr().err == ""


def test_a_run_appends_to_the_log_of_runs_before_it(tmp_path: Path) -> None:
    for number in (1, 2):
        with run_log(tmp_path / "screening.log"):
            LOGGER.info("run %d", number)
    assert len((tmp_path / "screening.log").read_text().splitlines()) == 2


@pytest.mark.parametrize(("level", "shown"), [(logging.WARNING, True), (logging.ERROR, False)])
def test_quiet_shows_no_progress(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: int,
    shown: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    log_to_terminal(level)
    with progress_bar("screening", 2, 0, "placements") as advance:
        advance(2)
    assert terminal_level() == level
    assert ("2/2" in capsys.readouterr().err) is shown
