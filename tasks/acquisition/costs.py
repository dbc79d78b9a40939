"""Costs of calculations, and prices of the elements of a crystal.

Costs are relative: 1 is a relaxation in a cell of ``reference_atoms`` atoms. Prices or supply risks
come from a table that ships or from a file of the user's own, JSON or YAML: ``values`` by element,
with their unit and source. They enter a selection as a penalty between 0, for the cheapest element
of the table, and ``weight``, for the dearest.

Shapes  R pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymatgen.core.composition import Composition

from tasks.acquisition.estimates import AcquisitionError, Floats
from tasks.structures.identity import content_id
from tasks.yaml_text import YamlError, read_yaml, read_yaml_text


@dataclass(frozen=True)
class CostRule:
    """``(atoms / reference_atoms) ** exponent``, for an adslab and its clean slab alike.

    Plane waves cost the second power of the atoms while transforms lead and the third once
    orthogonalisation does (Payne et al. 1992, doi 10.1103/RevModPhys.64.1045). Slabs of 20 to 200
    atoms lie between; measure your own and say so.
    """

    exponent: float = 2.5
    reference_atoms: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.exponent <= 4:
            raise AcquisitionError(
                f"a cost grows with a power of the atoms from 0 to 4, got {self.exponent}"
            )
        if not 0 < self.reference_atoms < math.inf:
            raise AcquisitionError(f"reference_atoms must be above 0, got {self.reference_atoms}")

    def cost(self, atoms_R: ArrayLike) -> Floats:
        """Return the cost of each cell."""
        return (np.asarray(atoms_R, dtype=np.float64) / self.reference_atoms) ** self.exponent


PRICE_TABLES = ("price", "supply_risk")


class PriceTable(BaseModel):
    """A number above 0 for each element.

    On a ``log`` scale ratios count, on a ``linear`` one differences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    values: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=2)
    scale: Literal["log", "linear"] = "log"
    what: str = ""
    unit: str = ""
    source: str = ""

    def missing(self, formulas: Sequence[str]) -> list[str]:
        """Return the elements of ``formulas`` that the table does not have, sorted."""
        found = {str(e) for formula in formulas for e in Composition(formula).elements}
        return sorted(found - set(self.values))

    def level(self, formula: str) -> float:
        """Return where a crystal stands between the cheapest element, 0, and the dearest, 1.

        Its value is the mean over its elements by mass, as one pays for it.
        """
        crystal = Composition(formula)
        value = sum(crystal.get_wt_fraction(e) * self._value(e.symbol) for e in crystal.elements)
        on = math.log if self.scale == "log" else float
        low, high = on(min(self.values.values())), on(max(self.values.values()))
        return min(max((on(value) - low) / (high - low), 0.0), 1.0) if high > low else 0.0

    def _value(self, element: str) -> float:
        if element not in self.values:
            raise AcquisitionError(
                f"a table of prices needs every element of the bulks, it has no {element}; "
                "add a line for it or leave prices out"
            )
        return self.values[element]


@dataclass(frozen=True)
class Prices:
    """A table and how much it counts: the dearest element is worth ``exp(-weight)``."""

    table: PriceTable
    weight: float = 1.0

    @property
    def content_id(self) -> str:
        """The id of all that decides a penalty."""
        rows = [f"{e}={v!r}" for e, v in sorted(self.table.values.items())]
        return content_id("prices", self.table.scale, repr(self.weight), *rows)

    def penalties(self, formulas_R: Sequence[str]) -> Floats:
        """Return the penalty of each crystal, in [0, weight]."""
        level = cache(self.table.level)
        return np.array([self.weight * level(formula) for formula in formulas_R], dtype=np.float64)


def price_table(stated: str, folder: Path = Path()) -> PriceTable:
    """Return a table that ships, ``price`` or ``supply_risk``, or the file ``stated``.

    Raises:
        AcquisitionError: there is no such file, or it is not a table of numbers above 0.
    """
    if stated in PRICE_TABLES:
        shipped = resources.files("tasks.acquisition").joinpath("tables", f"{stated}.json")
        return PriceTable.model_validate_json(shipped.read_text(encoding="utf-8"))
    path = folder / stated
    try:
        return PriceTable.model_validate(read_yaml(read_yaml_text(path))[1])
    except FileNotFoundError:
        raise AcquisitionError(
            f"a table of prices is one of {', '.join(PRICE_TABLES)} or a file; {path} does not "
            "exist"
        ) from None
    except (OSError, UnicodeDecodeError, YamlError, ValidationError) as error:
        raise AcquisitionError(f"{path} is not a table of prices: {_first(error)}") from None


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"]) or "the file"
        return f"{place}: {wrong['msg']}; write values: {{Pt: 31500, Cu: 6}}"
    return str(error).split("\n")[0]
