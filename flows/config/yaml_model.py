"""Read a YAML file into a model; what is wrong with it becomes one line that names the place."""

import difflib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flows.errors import CampaignError
from tasks.yaml_text import YamlError, read_yaml

KeyPath = tuple[int | str, ...]
ModelType = TypeVar("ModelType", bound=BaseModel)


def _unchanged(place: KeyPath) -> KeyPath:
    return place


@dataclass(frozen=True)
class YamlFileKind(Generic[ModelType]):
    """A kind of file: the model of its content, its name in errors, and an example to begin with.

    ``in_file`` turns a place that pydantic names into the place in the file.
    """

    model: type[ModelType]
    kind: str
    example: str
    in_file: Callable[[KeyPath], KeyPath] = _unchanged


def load_yaml_model(path: Path, form: YamlFileKind[ModelType]) -> ModelType:
    """Return what the file at ``path`` states.

    Raises:
        CampaignError: it cannot be read, or states what the model refuses.
    """
    return parse_yaml_model(_read(path, form), path, form)


def parse_yaml_model(text: str, path: Path, form: YamlFileKind[ModelType]) -> ModelType:
    """Return what ``text`` states; ``path`` is named in errors."""
    try:
        root, data = read_yaml(text)
    except YamlError as error:
        raise CampaignError(error.at(path)) from None
    if root is None:
        raise CampaignError(
            f"{path}: a {form.kind} file needs content, this one is empty; "
            f"start from an example, such as {form.example}"
        )
    if not isinstance(data, dict):
        raise CampaignError(
            f"{path}: a {form.kind} file is a mapping of keys to values, got "
            f"{type(data).__name__}; start from an example, such as {form.example}"
        )
    try:
        return form.model.model_validate(data)
    except ValidationError as invalid:
        # A misspelt key is also a missing one: the first says more.
        errors = sorted(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise CampaignError(_explain(errors[0], root, path, form)) from None


def _read(path: Path, form: YamlFileKind[ModelType]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CampaignError(f"{form.kind} file {path} does not exist; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(
            f"{form.kind} file {path} cannot be read ({error}); it must be a YAML text file"
        ) from None


def _explain(
    error: ErrorDetails, root: yaml.Node, path: Path, form: YamlFileKind[ModelType]
) -> str:
    place = form.in_file(error["loc"])
    where = f"{path}, line {_line(root, place)}"
    if error["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(place, form.model)}"
    named = _dotted(place) or f"the {form.kind}"
    if error["type"] == "missing":
        return f"{where}: {named} is required and missing; add it"
    if error["type"] == "value_error":  # one of ours: it states rule, value and way out itself
        return f"{where}: {named}: {error['ctx']['error']}"
    rule = error["msg"].replace("Input should", "value should").replace("valid ", "")
    return f"{where}: {named}: {rule}, got {_short(error['input'])}; change it there"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(place: KeyPath) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _line(root: yaml.Node, place: KeyPath) -> int:
    """Return the line, from 1, of the deepest part of ``place`` that the file has."""
    node, line = root, root.start_mark.line
    for part in place:
        child = _child(node, part)
        if child is None:
            break
        key, node = child
        line = key.start_mark.line
    return int(line) + 1


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == str(part)), None)
    return None


def _unknown_key(place: KeyPath, model: type[BaseModel]) -> str:
    key, parents = str(place[-1]), place[:-1]
    valid = sorted(_valid_keys(parents, model))
    near = difflib.get_close_matches(key.lower(), valid, n=1, cutoff=0.0)
    inside = f" in {_dotted(parents)}" if parents else ""
    return (
        f"unknown key {key!r}{inside}; the nearest valid key is {near[0]!r} "
        f"(valid there: {', '.join(valid)})"
    )


def _valid_keys(place: KeyPath, model: type[BaseModel]) -> set[str]:
    """Return the keys that the models allow at ``place``."""
    types_here: list[Any] = [model]
    for part in place:
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
