"""What the packages import is declared in ``pyproject.toml``, and what is declared is needed."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator

from packaging.requirements import Requirement
from support.paths import REPOSITORY

PACKAGES = ("flows", "tasks", "model", "screening_db", "deployments")

# Where a distribution has another name than the module that it installs.
DISTRIBUTIONS = {
    "distributed": "dask",
    "fairchem": "fairchem-core",
    "mace": "mace-torch",
    "ruamel": "ruamel-yaml",
}
# Extras with packages for those who work on Sabatier: the packages themselves need none of them.
FOR_DEVELOPERS = ("dev",)


def distribution_of(module: str) -> str:
    """Return the distribution that installs a top-level module."""
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


def imported_modules() -> Iterator[str]:
    """Yield the first part of each absolute import, wherever in a module it stands."""
    for package in PACKAGES:
        for source in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0]


def imported_distributions() -> set[str]:
    """Return every distribution that the packages import from."""
    third_party = set(imported_modules()) - set(sys.stdlib_module_names) - set(PACKAGES)
    return {distribution_of(module) for module in third_party}


def declared_distributions() -> set[str]:
    """Return what the default installation and the extras of users declare."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [
        line for extra in extras if extra not in FOR_DEVELOPERS for line in extras[extra]
    ]
    return {name_of(line) for line in lines}


def name_of(requirement: str) -> str:
    """Return the name of a requirement: ``dask`` of ``dask[distributed]>=2025.1``."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match.group().lower().replace(".", "-")


def explained_distributions() -> set[str]:
    """Return the declared distributions that have a comment on their line."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    lines = re.findall(r'^.*"([A-Za-z0-9._-]+)[^"]*"[\],]* +# \w.*$', text, flags=re.MULTILINE)
    return {line.lower() for line in lines}


def test_every_import_is_declared() -> None:
    assert imported_distributions() - declared_distributions() == set()


def test_a_dependency_is_imported_or_says_why_it_is_there() -> None:
    unused = declared_distributions() - imported_distributions()
    assert unused - explained_distributions() == set()


def test_the_default_installation_is_listed_with_hashes_and_without_addresses() -> None:
    listing = (REPOSITORY / "requirements" / "default.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9._-]+)==\S+.*\\\n    --hash=sha256:", listing, flags=re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert {name_of(line) for line in project["dependencies"]} - set(pins) == set()
    assert "://" not in listing


def test_the_listed_releases_are_within_the_bounds() -> None:
    listing = (REPOSITORY / "requirements" / "default.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)", listing, flags=re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    bounds = {name_of(line): Requirement(line).specifier for line in project["dependencies"]}
    outside = [
        (name, release)
        for name, release in pins
        if name in bounds and not bounds[name].contains(release)
    ]
    assert outside == []
