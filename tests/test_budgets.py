"""How large the tree may be. A change that raises a limit says why, in a comment beside it.

``pytest -s tests/test_budgets.py`` prints what is measured; size and time of the default
installation are measured where it is made, in ``.ci/wheel-smoke``.
"""

import ast
import statistics
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db")
BESIDE = ("tests", "benchmarks")  # divided by the same rules, of no set size


@cache
def sources(package: str) -> tuple[Path, ...]:
    """Return the code files of a package."""
    return tuple(sorted((REPOSITORY / package).rglob("*.py")))


def lines_of(source: Path) -> int:
    """Return how many lines a file has."""
    return source.read_text(encoding="utf-8").count("\n")


def lines_in(package: str) -> int:
    """Return how many lines of code a package has, comments and docstrings included."""
    return sum(map(lines_of, sources(package)))


def code_files(packages: tuple[str, ...] = PACKAGES) -> list[Path]:
    """Return the files of packages; an ``__init__.py`` only says what a room holds."""
    return [
        source
        for package in packages
        for source in sources(package)
        if source.name != "__init__.py"
    ]


def is_internal_import(node: ast.AST) -> bool:
    """Tell whether a statement imports from one of the packages."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in PACKAGES
    return isinstance(node, ast.Import) and node.names[0].name.partition(".")[0] in PACKAGES


def internal_imports_per_thousand_lines() -> float:
    """Return how many statements in a thousand lines import from one of the packages."""
    files = [source for package in PACKAGES for source in sources(package)]
    imports = sum(
        is_internal_import(node)
        for source in files
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    )
    return 1000 * imports / sum(map(lines_in, PACKAGES))


def direct_dependencies() -> int:
    """Return how many distributions the default installation names."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    return len(tomllib.loads(text)["project"]["dependencies"])


# What is counted, how, and the most that it may be. Version 0.1.0 had 38,100 lines, 26 dependencies
# and 85 files in its largest folder, and 40 imports. There are more dependencies because what was
# imported by way of others is declared.
BUDGETS: list[tuple[str, Callable[[], float], float]] = [
    # Commands that list adsorbates and levels, and refusals by crystal, came to flows.
    # Certificates of schedulers, secrets of servers, addresses of webhooks: 450 lines.
    # Runs that outlive their helpers and hold their folders: 260 lines.
    # Folders that are recorded in the database, and commands that look after it: 320 lines.
    # What nothing here can verify, launchers that are missing, signs of moments: 100 lines.
    # Label plans, and the command that makes sets of labels: 270 lines.
    # 150 lines: secrets at any depth of a pool, kinds of folders, refusals of bad settings
    # The relaxing stage of a campaign: 520 lines.
    # Imports of labels, their rows' report, models beside labels of one's own: 750 lines.
    # Recipes that learn a difference from a table, and its labels: 200 lines.
    # What differences start from when they are judged, and levels that cannot be read: 50 lines.
    # The database that Prefect's servers begin with, migrated once for each version: 75 lines.
    # Workers that begin as an interrupted run ends, or are lost as one begins: 35 lines.
    # Differences that are assumed, and campaigns whose model is one: 55 lines.
    # Time limits of conditions, addresses without secrets: 35 lines.
    ("lines of flows", lambda: lines_in("flows"), 14_080),
    # The checks of what structure files hold came with one reader for all of them: 1,000 lines.
    # The plane of a slab, the vacuum and the checks of an adslab from a file: 900 lines.
    # The standard form of a crystal and the axes of Miller indices: another 800.
    # Random alloys, edited slabs and slabs from files: 1,000 lines.
    # A rolled sphere, sites of compounds and mirror images: 500 lines.
    # The second bond rule and the order of atoms in files: 400 lines.
    # Lists of adsorbates and levels, reference molecules for S, F and Cl: 200 lines.
    # Antiferromagnets: where a slab lies in its bulk, and which moments are turned over: 200 lines.
    # Universal potentials, and labels that cover: 450 lines.
    # The folder of a set of labels, a third of which was in flows: 200 lines.
    # The words of a command, with the name of the setting in the refusal: 20 lines.
    # Three engines by checkpoints, pairs that data with U forbid, structures that fly apart: 360.
    # Labels of one's own from five kinds of sources, checked by reconstruction: 1,200 lines.
    # Errors beside labels, offsets left out one by one, and whom to trust: 240 lines.
    # Energies of potentials in training tables, and what a checkpoint starts from: 80 lines.
    # What relaxations find of candidates, and how long they take: 100 lines.
    # Rows of other levels, units and relaxations, and slabs that only look alike: 160 lines;
    # sources that have few labels in common with others: 45.
    ("lines of tasks", lambda: lines_in("tasks"), 21_610),
    # Arguments and results of long functions are described.
    # Who owns a folder whose files are believed: 100 lines, used by the tasks and the flows too.
    # What a checkpoint states is checked before it is used, trees of LightGBM node by node: 450
    # lines; processes that end with their parent and files written whole: 350.
    # Differences from universal potentials: predictor, fit, base inside a checkpoint: 920 lines.
    # The network in a file of its own, which other kinds of checkpoints do not import: 20 lines.
    # Differences of levels without labels, and bases that know the potential's level: 120 lines.
    ("lines of model", lambda: lines_in("model"), 13_970),
    # a migration to short keys creates the tables and views of both releases: 650 lines
    # four rooms list what they export: 150 lines
    # Outages, locks that are taken again, backups, upgrades and a database's identity: 750 lines.
    # Limits of typed queries, and addresses without passwords: 500 lines.
    # Databases that are opened to be read alone, and the roles of a server: 320 lines.
    # What of others a typed query may not name, and tokens as PostgreSQL reads them: 100 lines.
    # What a prediction starts from, who ranks a relaxed campaign, what was relaxed: 90 lines.
    # Labels that others computed, twice the same and against each other: 170 lines.
    # Imported candidates that a screening makes again: 20 lines.
    # What a relaxing stage chose: 45 lines; time limits of conditions: 20 lines.
    ("lines of screening_db", lambda: lines_in("screening_db"), 10_110),
    # cryptography, by which each run's Dask cluster gets certificates of its own; diep, the one
    # potential whose weights a package brings, so that a laptop has energies for every element
    ("direct dependencies of the default installation", direct_dependencies, 33),
    ("code files in the largest folder", lambda: largest_folder(), 14),
    # Rooms of the database, levels, enumeration and engines are imported by their package. With all
    # rooms it would be 27.8, and commands would load torch and pymatgen to print a table.
    ("internal imports in a thousand lines", internal_imports_per_thousand_lines, 34.0),
    ("lines of the longest file", lambda: max(map(lines_of, code_files())), 400),
    ("lines of the longest test", lambda: max(map(lines_of, code_files(BESIDE))), 450),
]


def largest_folder() -> int:
    """Return how many code files the fullest folder has."""
    return max(Counter(source.parent for source in code_files(PACKAGES + BESIDE)).values())


@pytest.mark.parametrize(("what", "measure", "limit"), BUDGETS, ids=[row[0] for row in BUDGETS])
def test_a_budget_is_kept(what: str, measure: Callable[[], float], limit: float) -> None:
    measured = measure()
    print(f"{what}: {measured:g} of {limit:g}")  # noqa: T201  shown by -s
    assert measured <= limit


def test_files_are_neither_too_small_nor_too_large() -> None:
    median = statistics.median(map(lines_of, code_files()))
    print(f"median lines of a file: {median:g}")  # noqa: T201  shown by -s
    assert 120 <= median <= 180
