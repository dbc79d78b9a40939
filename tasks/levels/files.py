"""Levels of theory as YAML files: those that ship, and a user's own by path.

A file may be ``based_on`` a shipped level and state only what differs.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from model.errors import shortened
from tasks.errors import UserError, nearest_names
from tasks.levels.theory import LevelOfTheory
from tasks.yaml_text import YamlError, read_yaml, read_yaml_text

_ORDER = (  # of the shipped levels, in messages
    *("emt", "diep-r2scan", "gpaw-pbe-fast", "gpaw-rpbe", "qe-beef", "qe-pbe", "vasp-oc20"),
    *("beef-vdw-ch4", "beef-vdw-co", "beef-vdw-gmae", "pbe-d2-molecule"),
)
_SUFFIXES = (".yaml", ".yml")
_NAME = TypeAdapter(Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)])


def level(name: str, folder: Path = Path()) -> LevelOfTheory:
    """Return a shipped level by name, or the one that a YAML file states (found from ``folder``).

    Raises:
        UserError: no level has this name, or the file cannot be read as a level.
    """
    if name.endswith(_SUFFIXES):
        return read_level(folder / name)
    if name in _ORDER:
        return _shipped(name)
    raise UserError(
        f"no level of theory is called {name!r}; {nearest_names(name, _ORDER)}. "
        "sabatier levels lists all; a level of your own is a YAML file"
    )


def level_name(stated: str) -> str:
    """Return the name of a level: ``stated`` itself, or the name in its file."""
    return read_level(Path(stated)).name if stated.endswith(_SUFFIXES) else stated


def shipped_levels() -> tuple[LevelOfTheory, ...]:
    """Return all shipped levels, in a fixed order."""
    return tuple(_shipped(name) for name in _ORDER)


def read_level(path: Path) -> LevelOfTheory:
    """Return the level that a user's file states; its name must not be a shipped one's."""
    try:
        text = read_yaml_text(path)
    except YamlError as error:
        raise UserError(error.at(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"level file {path} cannot be read ({error}); check the path") from None
    found = _validated(_merged(_mapping(text, str(path)), str(path)), str(path))
    if found.name in _ORDER:
        raise UserError(
            f"{path}: a level of your own has a name of its own, {found.name} ships; rename it"
        )
    return found


def level_from_record(
    name: str,
    engine: str,
    functional: str,
    settings: Mapping[str, Any],
    reference: Mapping[str, Any],
) -> LevelOfTheory:
    """Return the level of a database row; compare hashes to see whether it is still the same."""
    data = {
        "name": name,
        "engine": engine,
        "functional": functional,
        "calculation": dict(settings) or None,
        "reference": dict(reference),
    }
    return _validated(data, f"recorded level {name}")


@cache
def _shipped(name: str) -> LevelOfTheory:
    return _validated(_shipped_data(name), f"shipped level {name}")


def _shipped_data(name: str) -> dict[str, Any]:
    file = resources.files("tasks.levels").joinpath("shipped", f"{name}.yaml")
    return _mapping(file.read_text(encoding="utf-8"), name)


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        _, data = read_yaml(text)
    except YamlError as error:
        raise UserError(error.at(where)) from None
    if not isinstance(data, dict):
        raise UserError(
            f"{where}: a level of theory is a mapping of keys to values, got "
            f"{type(data).__name__}; copy a shipped one, or write based_on: gpaw-rpbe"
        )
    return data


def _merged(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Return ``data`` over the shipped level that it is based on, where it is."""
    base = data.pop("based_on", None)
    if base is None:
        return data
    if base not in _ORDER:
        raise UserError(
            f"{where}: based_on is a shipped level, got {base!r}; "
            f"{nearest_names(str(base), _ORDER)}"
        )
    shipped = _shipped_data(base)
    del shipped["name"]  # another level has another name
    reference = data.get("reference")
    if isinstance(reference, dict) and "molecules" in reference:  # then it states all of them
        shipped["reference"].pop("added", None)
    return _over(shipped, data)


def _over(under: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _over(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _validated(data: dict[str, Any], where: str) -> LevelOfTheory:
    try:
        _NAME.validate_python(data.get("name"))
        return _adapter().validate_python(data)
    except ValidationError as invalid:
        errors = sorted(invalid.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
        raise UserError(f"{where}: {_explained(errors[0])}") from None
    except UserError as fault:
        raise UserError(f"{where}: {fault}") from None


@cache
def _adapter() -> TypeAdapter[LevelOfTheory]:
    return TypeAdapter(LevelOfTheory)


def _explained(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "name"
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown key {key}; leave it out or correct its spelling"
    if error["type"] == "missing":
        return f"{key} is required and missing; add it"
    rule = error["msg"].replace("Input should", "value should")
    return f"{key}: {rule}, got {shortened(repr(error['input']))}; change it there"
