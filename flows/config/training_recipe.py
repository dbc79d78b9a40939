"""Recipes of training: presets by name, files by path, and single settings changed on the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import model
from flows.errors import CampaignError
from tasks.yaml_text import YamlError, read_yaml

PRESETS = Path(model.__file__).parent / "presets"


def preset_names() -> list[str]:
    """Return the names of the presets in the wheel."""
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def find_recipe(name_or_file: str | Path) -> Path:
    """Return the recipe file of a preset, or the file itself.

    Raises:
        CampaignError: it is neither.
    """
    preset = PRESETS / f"{name_or_file}.yaml"
    if str(name_or_file) in preset_names():
        return preset
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise CampaignError(
        f"a recipe is a preset ({', '.join(preset_names())}) or a file, got {name_or_file}"
    )


def read_values(file: Path, changes: Sequence[str] = ()) -> Any:
    """Return the content of a recipe file, with ``changes`` such as ``language.layers=4`` made.

    Raises:
        CampaignError: the file cannot be read, or a change is none.
    """
    try:
        _, values = read_yaml(file.read_text(encoding="utf-8"))
    except YamlError as error:
        raise CampaignError(error.at(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"recipe file {file} cannot be read: {error}") from None
    for change in changes:
        _change(values, change)
    return values


def _change(values: Any, change: str) -> None:
    """Set one value in place; parts that are missing on the way to it are made."""
    path, equals, text = change.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last or not all(parents):
        raise CampaignError(f"a change reads like language.layers=4, got {change!r}")
    for name in parents:
        if isinstance(values, dict) and values.get(name) is None:
            values[name] = {}
        values = values.get(name) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        parent = ".".join(parents) or "the recipe"
        raise CampaignError(f"{parent} has no parts to set, got {change!r}")
    try:
        _, values[last] = read_yaml(text)
    except YamlError:
        raise CampaignError(f"the value of a change must be YAML, got {change!r}") from None
