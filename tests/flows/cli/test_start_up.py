"""What starts at once: commands that find nothing to run load neither torch, Prefect nor Dask."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from model.prediction.predictor import load_predictor
from tasks.prediction.checkpoint_domain import checkpoint_domain

SLOW = {"torch", "transformers", "lightgbm", "prefect", "dask", "distributed"}


@pytest.mark.medium
@pytest.mark.parametrize(
    "module",
    [
        "flows.cli.app",
        "flows.screening.start",
        "flows.learning.start",
        "flows.display.tables",
        "screening_db.database.read_only_sql",
    ],
)
def test_a_command_loads_nothing_slow_before_it_knows_of_work(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert SLOW & set(found.stdout.split()) == set()


@pytest.mark.medium
@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("flows.verification.flow", {"torch", "transformers", "prefect", "matplotlib"}),
        ("flows.cluster.predictor_plugin", {"torch", "transformers", "lightgbm", "matplotlib"}),
    ],
)
def test_what_others_need_is_not_loaded(module: str, slow: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert slow & set(found.stdout.split()) == set()


def test_a_checkpoint_is_described_as_its_predictor_describes_it(checkpoint: Path) -> None:
    predictor, found = load_predictor(checkpoint), checkpoint_domain(checkpoint)
    assert (found.sha256, found.domain) == (predictor.checkpoint_sha256, predictor.domain)
