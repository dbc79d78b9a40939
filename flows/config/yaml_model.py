"""Read a YAML file into a pydantic model; a fault becomes one line with the file, line and key."""

import difflib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.nodes import Node

from flows.errors import CampaignError
from model.errors import shortened
from screening_db.database.address import hide_passwords
from tasks.errors import UserError
from tasks.yaml_text import YamlError, line_of, read_yaml, read_yaml_text

KeyPath = tuple[int | str, ...]
ModelType = TypeVar("ModelType", bound=BaseModel)


class YamlModel(BaseModel):
    """A part of a file: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def raise_as_value_error(build: Callable[[], object]) -> None:
    """Build a value that checks itself; a ``UserError`` becomes a ValueError.

    Pydantic catches a ValueError in a validator and adds the path of the key to it.
    """
    try:
        build()
    except UserError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class YamlFileKind(Generic[ModelType]):
    """A kind of file: the model of its content, its name in errors, an example to begin with."""

    model: type[ModelType]
    name: str
    example: str


def load_yaml_model(path: Path, kind: YamlFileKind[ModelType]) -> ModelType:
    """Return the content of the file at ``path``.

    Raises:
        CampaignError: it cannot be read, or the model refuses its content.
    """
    try:
        text = read_yaml_text(path)
    except FileNotFoundError:
        raise CampaignError(
            f"{kind.name} file {path} does not exist; check the path, or start from an example, "
            f"such as {kind.example}"
        ) from None
    except YamlError as error:
        raise CampaignError(error.at(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(
            f"{kind.name} file {path} cannot be read ({error}); it must be a YAML text file"
        ) from None
    return parse_yaml_model(text, path, kind)


def parse_yaml_model(text: str, path: Path, kind: YamlFileKind[ModelType]) -> ModelType:
    """Return the checked content of a YAML file.

    Args:
        text: The file's text.
        path: The file's path, for messages.
        kind: The kind of file: its name, its model and an example of it.

    Returns:
        The content, as an instance of ``kind.model``.

    Raises:
        CampaignError: the text is no YAML, is empty, or breaks a rule; the message has the line.
    """
    try:
        root, data = read_yaml(text)
    except YamlError as error:
        raise CampaignError(error.at(path)) from None
    if root is None:
        raise CampaignError(
            f"{path}: a {kind.name} file needs content, this one is empty; "
            f"start from an example, such as {kind.example}"
        )
    if not isinstance(data, dict):
        raise CampaignError(
            f"{path}: a {kind.name} file is a mapping of keys to values, got "
            f"{type(data).__name__}; start from an example, such as {kind.example}"
        )
    try:
        return kind.model.model_validate(data)
    except ValidationError as invalid:
        # A misspelt key is also a missing one: the first says more.
        errors = sorted(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise CampaignError(_explain(errors[0], root, data, path, kind)) from None


def _explain(
    error: ErrorDetails, root: Node, data: Any, path: Path, kind: YamlFileKind[ModelType]
) -> str:
    key = _path_in_file(error, data)
    where = f"{path}, line {line_of(root, key)}"
    if error["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(key, kind.model)}"
    named = _dotted(key) or f"the {kind.name}"
    if error["type"] == "missing":
        return f"{where}: {named} is required and missing; add it"
    if error["type"] == "value_error":  # one of ours: it states rule, value and way out itself
        return f"{where}: {named}: {error['ctx']['error']}"
    rule = error["msg"].replace("Input should", "value should").replace("valid ", "")
    value = hide_passwords(repr(error["input"]))  # the address of a database, at a wrong key
    return f"{where}: {named}: {rule}, got {shortened(value)}; change it there"


def _path_in_file(error: ErrorDetails, data: Any) -> KeyPath:
    """Return the path of a fault without what pydantic adds to it, the names of forms of a value.

    A key that is missing is the last part, and not in the file either.
    """
    path: list[int | str] = []
    for depth, part in enumerate(error["loc"], start=1):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if depth < len(error["loc"]) or error["type"] != "missing":
                continue
        path.append(part)
    return tuple(path)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    key, parents = str(path[-1]) if path else "", path[:-1]
    valid = sorted(_valid_keys(parents, model))
    near = difflib.get_close_matches(key.lower(), valid, n=1, cutoff=0.0) or ["none"]
    inside = f" in {_dotted(parents)}" if parents else ""
    return (
        f"unknown key {shortened(repr(key))}{inside}; the nearest valid key is {near[0]!r} "
        f"(valid there: {', '.join(valid)})"
    )


def _valid_keys(path: KeyPath, model: type[BaseModel]) -> set[str]:
    """Return the keys that the models allow at ``path``."""
    types_here: list[Any] = [model]
    for part in path:
        types_here = [t for annotation in types_here for t in _inside(annotation, part)]
    return {k for t in types_here for k in getattr(t, "model_fields", {})}


def _inside(annotation: Any, part: int | str) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return _flat(fields[str(part)].annotation) if part in fields else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {list, dict}:
        return _flat(arguments[-1])
    return []


def _flat(annotation: Any) -> list[Any]:
    """Return the members of a union, annotations removed."""
    if hasattr(annotation, "__metadata__"):
        return _flat(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [t for member in get_args(annotation) for t in _flat(member)]
    return [annotation]
