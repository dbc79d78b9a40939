"""What every part of a campaign file has in common."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from tasks.errors import UserError


class YamlModel(BaseModel):
    """A part of the campaign file: unknown keys refused, values fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def raise_as_value_error(build: Callable[[], object]) -> None:
    """Build a value that checks itself; pydantic places a ValueError in the file."""
    try:
        build()
    except UserError as error:
        raise ValueError(str(error)) from error
