"""A run that gets a signal ends with one line; other exceptions pass."""

import os
import signal
import subprocess
import sys

import pytest
from support.paths import REPOSITORY

from flows.cli.interrupt import exit_cleanly_on_signal


def ended(code: str) -> tuple[int, str]:
    """Return how a process that runs some code ends, and what it writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_one_line_and_the_status_of_a_shell(number: int) -> None:
    code = (
        "from flows.cli.interrupt import exit_cleanly_on_signal\n"
        "import os\n"
        "with exit_cleanly_on_signal('go on with: sabatier'):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
    )
    assert ended(code) == (128 + number, "sabatier: go on with: sabatier\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_ends_a_run_as_well(number: int) -> None:
    code = (
        "from flows.cli.interrupt import exit_cleanly_on_signal\n"
        "import os, time\n"
        "class Noted:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "with exit_cleanly_on_signal('go on with: sabatier'):\n"
        "    noted = Noted()\n"
        "    del noted  # Python ignores what is raised there\n"
        "    time.sleep(600)\n"
    )
    assert ended(code) == (128 + number, "sabatier: go on with: sabatier\n")


def test_an_exception_without_a_signal_passes() -> None:
    with pytest.raises(KeyError, match="lost"), exit_cleanly_on_signal("go on"):
        raise KeyError("lost")


def test_the_handlers_are_as_before_after_the_block() -> None:
    before, report = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with exit_cleanly_on_signal("go on"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert sys.unraisablehook is report
