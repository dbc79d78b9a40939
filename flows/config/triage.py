"""The section ``triage`` of a campaign file: which pairs are calculated, at what cost, how many.

Units   energies in eV, costs relative (see ``tasks.acquisition.costs``).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from flows.config.yaml_model import YamlModel, raise_as_value_error
from tasks.acquisition import (
    RADIUS,
    CostRule,
    Policy,
    Prices,
    PriceTable,
    SelectionLimits,
    named_policy,
    price_table,
)
from tasks.acquisition.triage import Budget

PolicyName = Literal[
    "batch",
    "probability",
    "expected_improvement",
    "confidence_bound",
    "uncertainty",
    "doubt",
    "greedy",
    "random",
]
ScoreName = Literal[
    "probability",
    "expected_improvement",
    "confidence_bound",
    "uncertainty",
    "doubt",
    "greedy",
    "random",
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Acquisition(YamlModel):
    """How pairs are scored for calculation: ``batch`` mixes two scores, or one score stands alone.

    ``diversity`` says how much a pair suffers from another like it among the chosen, 0 not at all;
    left out it is 0.5 for ``batch`` and 0 for a score alone. Likeness reaches ``radius`` times the
    usual distance of two pairs.
    """

    name: PolicyName = "batch"
    promising_by: ScoreName = "probability"
    uncertain_by: ScoreName = "doubt"
    kappa: float = Field(default=2.0, ge=0)
    diversity: float | None = Field(default=None, ge=0, le=10)
    radius: float = Field(default=RADIUS, gt=0, le=10)

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_what_is_read(self) -> "Acquisition":
        given = self.model_fields_set
        mixed = sorted(given & {"promising_by", "uncertain_by"})
        if self.name != "batch" and mixed:
            raise ValueError(
                f"only policy batch mixes two scores, got {mixed[0]} with {self.name}; "
                "leave it out or write name: batch"
            )
        used = (self.promising_by, self.uncertain_by) if self.name == "batch" else (self.name,)
        if "kappa" in given and "confidence_bound" not in used:
            raise ValueError(
                f"kappa belongs to confidence_bound, got it with {', '.join(used)}; leave it out"
            )
        return self


class Costs(YamlModel):
    """Costs of calculations; 1 is a relaxation in a cell of ``reference_atoms`` atoms.

    A clean slab costs what its adslab does, once. ``weight`` says how much cheap ones are
    preferred: with 1 what counts is worth for its cost, with 0 ``budget`` alone.
    """

    budget: float | None = Field(default=None, gt=0)
    weight: float = Field(default=1.0, ge=0, le=10)
    exponent: float = CostRule.exponent
    reference_atoms: float = CostRule.reference_atoms

    def rule(self) -> CostRule:
        """Return these values as triage reads them."""
        return CostRule(self.exponent, self.reference_atoms)

    @model_validator(mode="after")
    def _is_possible(self) -> "Costs":
        raise_as_value_error(self.rule)
        return self


class ElementPrices(YamlModel):
    """A table by element, ``price``, ``supply_risk``, a file or its content, and its weight.

    The dearest element of the table is worth ``exp(-weight)`` of the cheapest.
    """

    table: str | PriceTable = "price"
    weight: float = Field(default=1.0, gt=0, le=100)

    def read(self, folder: Path) -> Prices:
        """Return the table and its weight; a file is found from ``folder``."""
        if isinstance(self.table, PriceTable):
            return Prices(self.table, self.weight)
        return Prices(price_table(self.table, folder), self.weight)


class Triage(YamlModel):
    """How many pairs go to the verification queue, and which."""

    budget: int = Field(default=50, ge=0)
    promising: Fraction = 0.5
    per_slab: int = Field(default=2, ge=1)
    per_bulk: int = Field(default=6, ge=1)
    min_probability: Fraction = 0.01
    keep_per_pair: int = Field(default=3, ge=1)
    policy: Acquisition = Acquisition()
    costs: Costs | None = None
    prices: ElementPrices | None = None

    def as_policy(self) -> Policy:
        """Return how a batch is chosen."""
        stated = self.policy
        return named_policy(
            stated.name,
            promising=self.promising,
            promising_by=stated.promising_by,
            uncertain_by=stated.uncertain_by,
            kappa=stated.kappa,
            diversity=stated.diversity,
            radius=stated.radius,
            cost_weight=self.costs.weight if self.costs else 0.0,
            limits=SelectionLimits(self.per_slab, self.per_bulk, self.min_probability),
        )

    def as_budget(self) -> Budget:
        """Return the limits on calculations and their cost."""
        return Budget(self.budget, self.costs.budget if self.costs else None)

    @model_validator(mode="after")
    def _mixes_only_in_a_batch(self) -> "Triage":
        if self.policy.name != "batch" and "promising" in self.model_fields_set:
            raise ValueError(
                f"promising is a share of policy batch, got it with {self.policy.name}; "
                "leave it out or write policy: batch"
            )
        return self
