"""Train a difference from a recipe and a training table with energies of potentials."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import CampaignError
from model.checkpoint import Checkpoint
from model.data.rows import Row, read_rows
from model.data.splits import split
from model.errors import shortened
from model.files import lock_folder
from model.prediction.difference import Potential
from model.training.difference import assume_difference, train_difference
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level

SECTION = "difference"  # of a recipe: it says which kind of checkpoint is trained


class DifferenceSettings(BaseModel):
    """The potentials, the levels to learn, and what answers where nothing was relaxed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: list[str] = Field(min_length=1)  # names or files of levels of theory
    levels: list[str] | None = None  # by default all of the table
    base: str | None = None  # name or folder of a checkpoint
    seed: int = Field(default=0, ge=0)
    assumed_sigma_ev: float | None = Field(default=None, gt=0, le=5)  # there are no labels yet


class DifferenceFile(BaseModel):
    """A recipe file of a difference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    report_fold: int | None = Field(default=None, ge=0, le=4)  # never learnt from
    held_out_by: Literal["pair", "surface"] = "surface"
    difference: DifferenceSettings


def train_from_table(values: Any, file: Path, table: Path | None, folder: Path) -> Checkpoint:
    """Learn the difference from those rows of a table that carry energies of the potentials.

    Without a table it is taken to be 0, with a sigma that the recipe states.

    Args:
        values: The content of the recipe file.
        file: The recipe file, for messages and for levels that are files beside it.
        table: The training table, a Parquet file; None where there are no labels yet.
        folder: Where the checkpoint is written, as ``folder/checkpoint``.

    Returns:
        The checkpoint.

    Raises:
        CampaignError: the recipe is not valid, no row has the energies, or there is a table where
            the difference is assumed, or none where it is not.
        ModelError: an energy is of a level of another hash, labels are too few, or the base does
            not answer at their level.
        UserError: there is no such level of theory.
    """
    try:
        recipe = DifferenceFile.model_validate(values)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CampaignError(
            f"{file}: {field}: {first['msg']}, got {shortened(repr(first['input']))}; change it "
            "there"
        ) from None
    asked = recipe.difference
    levels = [named_level(name, file.parent) for name in asked.on]
    on = [Potential(level.name, level.level_hash) for level in levels]
    if table is None:
        return _assumed(asked, levels, file.parent, folder)
    if asked.assumed_sigma_ev is not None:
        raise CampaignError(
            "difference.assumed_sigma_ev is for a level without labels; leave the table out, or it"
        )
    rows = read_rows(table)
    chosen = _with_energies(rows, on, asked.levels, table)
    aside = (
        min(row.fold for row in chosen) - 1 if recipe.report_fold is None else recipe.report_fold
    )
    train, held_out, _ = split(chosen, report_fold=aside, by=recipe.held_out_by)
    with lock_folder(folder, "a training"):
        return train_difference(
            train,
            held_out,
            folder / "checkpoint",
            on=on,
            base=asked.base,
            seed=asked.seed,
            card={"rows_left_out": len(rows) - len(chosen)},
        )


def _assumed(
    asked: DifferenceSettings, potentials: list[LevelOfTheory], beside: Path, folder: Path
) -> Checkpoint:
    """Write the checkpoint of a level without labels, which may be a file ``beside`` the recipe."""
    sigma_ev, base = asked.assumed_sigma_ev, asked.base
    if sigma_ev is None or base is None or len(asked.levels or []) != 1:
        raise CampaignError(
            "a difference is learnt from a table (--table); one that is assumed needs "
            "difference.assumed_sigma_ev, difference.base and one level in difference.levels"
        )
    (level,) = asked.levels or []
    theory = named_level(level, beside)
    for potential in potentials:  # else the difference is of the molecules, by eV and for certain
        if set(potential.reference.molecules) != set(theory.reference.molecules):
            raise CampaignError(
                f"a difference may be assumed where both levels count from the same molecules: "
                f"{theory.name} counts from {theory.reference.label}, "
                f"{potential.name} from {potential.reference.label}; learn it from "
                "labels, or choose a level of the same reference"
            )
    on = [Potential(each.name, each.level_hash) for each in potentials]
    with lock_folder(folder, "a training"):
        return assume_difference(theory.name, sigma_ev, folder / "checkpoint", on=on, base=base)


def _with_energies(
    rows: list[Row], on: list[Potential], levels: list[str] | None, table: Path
) -> list[Row]:
    """Return the rows of the levels to learn that carry every potential's energy."""
    names = {each.level for each in on}
    chosen = [
        row
        for row in rows
        if (levels is None or row.level in levels) and names <= {e.level for e in row.energies}
    ]
    if not chosen:
        at = f" at {', '.join(levels)}" if levels else ""
        raise CampaignError(
            f"a difference is learnt from rows with energies at {' and '.join(sorted(names))}, "
            f"none of the {len(rows)} rows of {table} has them{at}; relax them at that level, and "
            "write these energies into the column energies"
        )
    return chosen
