"""Values of a checkpoint's JSON, checked as they become dataclasses: of their type, and finite."""

from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.errors import ModelError, shortened

T = TypeVar("T")


class StoredValues:
    """Base of dataclasses that a checkpoint stores: not-a-number and infinities are refused."""

    __pydantic_config__: ClassVar[ConfigDict] = {"allow_inf_nan": False}


def checked_values(kind: type[T], values: object, what: str) -> T:
    """Return values of a JSON file as the dataclass, or mapping of dataclasses, ``kind``.

    Args:
        kind: The type that they must have.
        values: Plain values, as JSON holds them.
        what: Their name in messages.

    Returns:
        An instance, whose own checks have been made.

    Raises:
        ModelError: a field is missing or has another type.
    """
    stated: Any = kind
    try:
        value: T = _adapter(stated).validate_python(values)
    except ValidationError as invalid:
        errors = invalid.errors()
        if missing := [_key(error["loc"]) for error in errors if error["type"] == "missing"]:
            raise ModelError(
                f"{what} lacks {', '.join(missing)}: the checkpoint is of another version, or "
                "damaged; restore its folder or train it again"
            ) from None
        first = errors[0]
        rule = first["msg"].replace("Input should", "value should")
        raise ModelError(
            f"{what}: {_key(first['loc'])}: {rule}, got {shortened(repr(first['input']))}; "
            "restore the folder or train it again"
        ) from None
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _key(path: tuple[Any, ...]) -> str:
    return shortened(".".join(str(part) for part in path) or "the whole")
