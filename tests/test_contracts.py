"""Each import contract of ``pyproject.toml`` is broken on purpose, and import-linter says so."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db", "deployments")

# One forbidden import for each contract: the module that gets it, the line, the contract.
OFFENCES = [
    pytest.param(
        "tasks/levels/offence.py", "import flows.config", "data flows one way", id="upwards"
    ),
    pytest.param(
        "model/data/offence.py", "import screening_db.tables", "data flows one way", id="across"
    ),
    pytest.param(
        "model/data/offence.py",
        "import sqlalchemy",
        "the model knows no database, no Prefect, no Dask",
        id="model",
    ),
    pytest.param(
        "screening_db/queue/offence.py",
        "import torch",
        "the screening database knows no torch, no Prefect, no Dask",
        id="screening_db",
    ),
    pytest.param(
        "flows/config/offence.py", "import flows.cli", "rooms of flows", id="rooms of flows"
    ),
    pytest.param(
        "tasks/levels/offence.py", "import tasks.design", "rooms of tasks", id="rooms of tasks"
    ),
    pytest.param(
        "model/text/offence.py", "import model.training", "rooms of the model", id="rooms of model"
    ),
    pytest.param(
        "screening_db/tables/offence.py",
        "import screening_db.queue",
        "rooms of the screening database",
        id="rooms of screening_db",
    ),
    pytest.param(
        "screening_db/migrations/offence.py",
        "import screening_db.database",
        "rooms of the screening database",
        id="migrations",
    ),
    pytest.param(
        "screening_db/queue/offence.py",
        "import model.errors",
        "data flows one way",
        id="root exception",
    ),
]
ROOMS = {
    "flows": "rooms of flows",
    "tasks": "rooms of tasks",
    "model": "rooms of the model",
    "screening_db": "rooms of the screening database",
}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Return a copy of the packages with every room and root module in it, all of them empty."""
    for package in PACKAGES:
        for source in (REPOSITORY / package).rglob("*.py"):
            if source.name == "__init__.py" or source.parent.name == package:
                copy = tmp_path / source.relative_to(REPOSITORY)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.touch()
    return tmp_path


def broken_contracts(tree: Path) -> set[str]:
    """Return the names of the contracts that import-linter reports as broken in a tree."""
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from importlinter.cli import lint_imports;"
            "sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True))",
            str(REPOSITORY / "pyproject.toml"),
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in process.stdout, process.stdout + process.stderr
    return set(re.findall(r"^(.+) BROKEN\b", process.stdout, flags=re.MULTILINE))


def test_the_rooms_alone_break_nothing(skeleton: Path) -> None:
    assert broken_contracts(skeleton) == set()


@pytest.mark.parametrize(("module", "line", "contract"), OFFENCES)
def test_a_forbidden_import_breaks_its_contract_alone(
    skeleton: Path, module: str, line: str, contract: str
) -> None:
    (skeleton / module).write_text(line + "\n")
    assert broken_contracts(skeleton) == {contract}


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_that_no_layer_names_breaks_the_contract(skeleton: Path, package: str) -> None:
    (skeleton / package / "annexe").mkdir()
    (skeleton / package / "annexe" / "__init__.py").touch()
    assert broken_contracts(skeleton) == {ROOMS[package]}


@pytest.mark.parametrize("package", ROOMS)
def test_every_folder_of_code_is_a_package(package: str) -> None:
    folders = {source.parent for source in (REPOSITORY / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_no_import_but_that_of_the_root_exception_is_exempt() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    exempt = [line for contract in contracts for line in contract.get("ignore_imports", ())]
    assert exempt == ["screening_db.errors -> model.errors"]


def test_every_contract_is_broken() -> None:
    written = re.findall(
        r'^\[\[tool\.importlinter\.contracts\]\]\nname = "(.+)"',
        (REPOSITORY / "pyproject.toml").read_text(),
        flags=re.MULTILINE,
    )
    assert set(written) == {offence.values[2] for offence in OFFENCES}
