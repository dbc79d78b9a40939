"""One standard deviation from several signals, level by level, as fitted on held-out rows.

Four things may betray an error: what the network expects it to be, how far the members disagree,
how far the two heads disagree, and how far the configuration lies from the training set. Their
product, each to its own power, is scaled so that ``energy +- 1.645 sigma`` holds nine tenths of
the held-out rows of the level and of the adsorbate's size. ``calibration_fit`` finds the numbers.

Shapes  R rows, I ingredients.
Units   eV; distances have the unit of ``latent``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from model.errors import ModelError, shortened
from model.stored_values import StoredValues, checked_values
from model.uncertainty.metrics import IntervalLaw

INGREDIENTS = ("head", "disagreement", "gap", "distance")
SIGMA_FLOOR_EV = 0.001  # labels themselves are not more certain
ANY_SIZE = "any"
_STEEPEST = 20  # exponent, ten times what fits give: beyond it a sigma overflows
# Keeps an ingredient that happens to vanish (members agree by chance) from making an answer sure.
_SOFTENING = 0.3


@dataclass(frozen=True, eq=False)
class UncertaintySignal:
    """A predictor's own signs of uncertainty, row by row; nothing is calibrated yet."""

    head_R: NDArray[np.float64]  # absolute error that the network expects, mean over members, eV
    disagreement_R: NDArray[np.float64]  # standard deviation over members, eV
    gap_R: NDArray[np.float64]  # between regression and energy tokens, eV
    distance_R: NDArray[np.float64]  # from the training set

    def __post_init__(self) -> None:
        for name in INGREDIENTS:
            values_R = getattr(self, f"{name}_R")
            if values_R.shape != self.head_R.shape:
                raise ModelError(f"{name} has {len(values_R)} rows, head has {len(self.head_R)}")
            if not np.isfinite(values_R).all() or (values_R < 0).any():
                row = int(np.flatnonzero(~np.isfinite(values_R) | (values_R < 0))[0])
                raise ModelError(
                    f"{name} must be a number of at least 0, got {values_R[row]} in row {row}"
                )

    @classmethod
    def none(cls, rows: int) -> "UncertaintySignal":
        """Return the signal of a predictor that has none: its sigma is constant."""
        return cls(*(np.zeros(rows) for _ in INGREDIENTS))

    def __len__(self) -> int:
        return len(self.head_R)

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "UncertaintySignal":
        """Return the chosen rows."""
        return UncertaintySignal(*(getattr(self, f"{name}_R")[rows] for name in INGREDIENTS))

    def matrix(self) -> NDArray[np.float64]:
        """Return (R, I), in the order of ``INGREDIENTS``."""
        return np.stack([getattr(self, f"{name}_R") for name in INGREDIENTS], axis=1)


@dataclass(frozen=True)
class Evidence:
    """How one way to make sigma did on held-out rows that it was not fitted on.

    Coverage and areas look better here than on new rows: what one fold has too much of, the rest
    has too little of. Scores and correlations compare ways fairly.
    """

    coverage_90: float
    miscalibration: float  # of a normal law
    miscalibration_law: float  # of the intervals as stored
    mean_sigma_ev: float
    interval_score_ev: float
    spearman: float


@dataclass(frozen=True)
class LevelSigma(StoredValues):
    """sigma = factor * product over ingredients of ((x / typical + 0.3) / 1.3) ** exponent."""

    typical: tuple[float, ...]  # median of each ingredient on held-out rows
    exponents: tuple[float, ...]  # all zero: sigma is constant
    factors: Mapping[str, float]  # eV, by size class; ``any`` where a class had too few rows
    law: IntervalLaw
    distance_limit: float  # 99 % of the held-out rows are nearer to the training set
    rows: int  # held-out rows it was fitted on
    evidence: Mapping[str, Evidence]  # cross-validated, by what sigma was made of

    @property
    def is_constant(self) -> bool:
        """Whether the signal did not help here, so that sigma depends on the size alone."""
        return not any(self.exponents)

    def sigma(self, sizes: Sequence[str], signal: UncertaintySignal) -> NDArray[np.float64]:
        """Return (R,) one standard deviation for rows of this level, by their size classes."""
        factor_R = np.array([self.factors.get(size, self.factors[ANY_SIZE]) for size in sizes])
        log_RI = log_ingredients(signal.matrix(), np.array(self.typical))
        sigma_R = factor_R * np.exp(log_RI @ np.array(self.exponents))
        return np.asarray(np.maximum(sigma_R, SIGMA_FLOOR_EV))


@dataclass(frozen=True)
class Calibration:
    """How one kind of answer (with structure, or from text alone) turns its signal into sigma."""

    levels: Mapping[str, LevelSigma]

    def sigma(
        self, levels: Sequence[str], adsorbates: Sequence[str], signal: UncertaintySignal
    ) -> NDArray[np.float64]:
        """Return (R,) one standard deviation in eV; ``adsorbates`` are formulas as texts name them.

        Raises:
            ModelError: a level was not calibrated.
        """
        name_R = np.asarray(levels)
        sizes = np.asarray([size_class(adsorbate) for adsorbate in adsorbates])
        sigma_R = np.zeros(len(name_R))
        for name in np.unique(name_R):
            here_R = name_R == name
            level = self.level(str(name))
            sigma_R[here_R] = level.sigma(sizes[here_R].tolist(), signal.at(here_R))
        return sigma_R

    def level(self, name: str) -> LevelSigma:
        """Return the calibration of one level of theory.

        Raises:
            ModelError: it was not calibrated.
        """
        if name not in self.levels:
            raise ModelError(
                f"sigma is calibrated at {', '.join(sorted(self.levels))}; got level {name!r}"
            )
        return self.levels[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as :meth:`from_json` reads them."""
        return {name: asdict(level) for name, level in self.levels.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """Rebuild a calibration from the output of :meth:`to_json`.

        Raises:
            ModelError: a field is missing, as in checkpoints of older versions, or is damaged.
        """
        return cls({name: _level_from_json(name, level) for name, level in values.items()})


def log_ingredients(
    ingredient_RI: NDArray[np.float64], typical_I: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (R, I) logarithms, 0 for a typical row; ingredients that are always 0 stay 0."""
    known_I = typical_I > 0
    relative_RI = ingredient_RI / np.where(known_I, typical_I, 1.0)
    softened_RI = np.log((relative_RI + _SOFTENING) / (1 + _SOFTENING))
    return np.asarray(np.where(known_I, softened_RI, 0.0))


def size_class(adsorbate: str) -> str:
    """Return ``one`` (at most one atom beside H), ``small`` (two, three), ``large`` or ``any``.

    ``any`` stands for a name that is no formula.
    """
    try:
        counts = Formula(adsorbate.replace("*", "")).count()
    except ValueError:
        return ANY_SIZE
    heavy = sum(count for symbol, count in counts.items() if symbol != "H")
    return "one" if heavy <= 1 else "small" if heavy <= 3 else "large"


def head_weight(
    regression_R: NDArray[np.float64],
    token_R: NDArray[np.float64],
    truth_R: NDArray[np.float64],
) -> float:
    """Return the regression head's share of the mean that has the lowest MAE on these rows."""
    shares = np.linspace(0.0, 1.0, 21)

    def mae(share: float) -> float:
        return float(np.abs(share * regression_R + (1 - share) * token_R - truth_R).mean())

    return float(min(shares, key=mae))


def _level_from_json(name: str, values: object) -> LevelSigma:
    what = f"the calibration of {shortened(name)}"
    level = checked_values(LevelSigma, values, what)
    numbers = len(INGREDIENTS)
    rising = [0.0, *level.law.confidences, 1.0]
    rules = {
        f"typical has {numbers} numbers of at least 0": len(level.typical) == numbers
        and min(level.typical) >= 0,
        f"exponents has {numbers} numbers up to {_STEEPEST}": len(level.exponents) == numbers
        and max(map(abs, level.exponents)) <= _STEEPEST,
        f"factors are at least 0, {ANY_SIZE} among them": ANY_SIZE in level.factors
        and min(level.factors.values()) >= 0,
        "law has a multiplier of at least 0 for each of its confidences, which rise from 0 to 1": (
            len(level.law.confidences) == len(level.law.multipliers) >= 1
            and all(a < b for a, b in pairwise(rising))
            and min(level.law.multipliers) >= 0
        ),
    }
    for rule, is_kept in rules.items():
        if not is_kept:
            raise ModelError(f"{what}: {rule}; restore the folder or train it again")
    return level
