"""A tiny real checkpoint and a tiny campaign, so that flows are tested from end to end."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.invented import METALS, train_invented
from support.paths import CACHES, REPOSITORY

TINY = """\
name: tiny
bulks:
  elements: [Cu, Pt, Fe]  # iron is outside the model
  structures: [broken.cif]
surfaces: {max_miller: 1, min_thickness: 4.0, min_in_plane: 4.0, vacuum: 10.0}
adsorbates: [H, O, CH]  # and so is CH
placements: {kinds: [atop, hollow]}
target:
  O: {window: [-2.0, -1.2]}
level: emt
model: CHECKPOINT
triage: {budget: 4}
cluster: {workers: 2, chunk_placements: 3}
"""


@dataclass(frozen=True)
class CommandOutput:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """Give the packages' loggers back as they were: the command line sets handlers of its own."""
    loggers = [logging.getLogger(n) for n in ("flows", "tasks", "model", "screening_db")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the baseline on invented energies; it is a checkpoint like any other."""
    return train_invented(tmp_path_factory.mktemp("model") / "invented", seed=0)


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the baseline on the same energies with another seed: it predicts others."""
    return train_invented(tmp_path_factory.mktemp("model") / "other", seed=7)


@pytest.fixture(scope="session")
def narrow_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the baseline without platinum: what the campaign has of it is outside its domain."""
    metals = [metal for metal in METALS if metal != "Pt"]
    return train_invented(tmp_path_factory.mktemp("model") / "narrow", metals, seed=0)


def _environment(home: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return an environment without Prefect's and Sabatier's variables and with its own home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SABATIER_"))}
    paths = [str(REPOSITORY), kept.get("PYTHONPATH", "")]
    own = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(CACHES),  # what a user's second command finds, they find too
        "COLUMNS": "120",  # tables and messages are as wide on every terminal
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
    }
    return kept | own | variables


@dataclass(frozen=True)
class Workplace:
    """A folder with a campaign file, in which the command line is run."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "runs" / "screening.db"

    def edit(self, old: str, new: str) -> None:
        file = self.folder / "tiny.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli.app", *arguments],
            cwd=self.folder,
            env=_environment(self.folder, variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C goes to the whole group: so can ours
        )

    def run(self, *arguments: str, timeout_s: float = 300, **variables: str) -> CommandOutput:
        process = self.start(*arguments, **variables)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return CommandOutput(process.returncode, out, err)


@pytest.fixture(scope="session")
def new_workplace(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path
) -> Callable[[], Workplace]:
    """Return a function that makes a folder with the tiny campaign in it."""

    def make() -> Workplace:
        folder = tmp_path_factory.mktemp("work")
        (folder / "broken.cif").write_text("data_\n_cell_length_a 3.6\n")
        (folder / "tiny.yaml").write_text(TINY.replace("CHECKPOINT", str(checkpoint)))
        return Workplace(folder)

    return make


@pytest.fixture
def workplace(new_workplace: Callable[[], Workplace]) -> Workplace:
    """Make a folder with the tiny campaign in it."""
    return new_workplace()


@pytest.fixture(scope="session")
def screened(new_workplace: Callable[[], Workplace]) -> tuple[Workplace, CommandOutput]:
    """Screen the tiny campaign undisturbed: where, and what was said."""
    workplace = new_workplace()
    said = workplace.run("screen", "tiny.yaml")
    assert said.status == 0, said.err
    return workplace, said


@pytest.fixture
def own_postgres(postgres_server: str) -> str:
    """Give the URL of an empty PostgreSQL database of the test's own."""
    import psycopg

    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS tiny_campaign WITH (FORCE)")
        admin.execute("CREATE DATABASE tiny_campaign")
    return f"{postgres_server}/tiny_campaign"
