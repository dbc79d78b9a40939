"""Where no program starts several ranks, each calculation has one, and that is said."""

from pathlib import Path

import pytest

from flows.verification.flow import with_launcher
from flows.verification.work_items import CalculationSettings
from tasks.levels import level
from tasks.verification.inputs.resources import ResourceLimits


@pytest.mark.parametrize(
    ("name", "cores", "launcher", "kept", "said"),
    [
        ("qe-pbe", 4, "mpirun -n {ranks}", 1, "mpirun is not found, which starts quantum-espresso"),
        ("qe-pbe", 4, "here -n {ranks}", 4, ""),
        ("qe-pbe", 1, "mpirun -n {ranks}", 1, ""),  # one core has no use for it
        ("gpaw-rpbe", 4, "mpirun -n {ranks}", 4, ""),  # it computes in the worker's own process
    ],
)
def test_a_launcher_that_is_missing_leaves_one_core_to_each_calculation(
    name: str,
    cores: int,
    launcher: str,
    kept: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "here"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = CalculationSettings(level(name), {}, ResourceLimits(max_cpus=cores), launcher)
    assert with_launcher(settings).limits.max_cpus == kept
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert printed.count("\n") == bool(said)
