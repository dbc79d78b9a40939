"""Fit on held-out rows how the uncertainty signal becomes sigma, and whether the signal helps.

The powers of the ingredients are the same at all levels of theory (each has only hundreds of
held-out rows, and separate powers did no better on rows they were not fitted on); scale, factors
by size and interval law belong to a level. Wherever a constant sigma scores as well in
cross-validation, the level keeps the constant.

Interval half-widths come from split conformal prediction, normalised by each row's own sigma and
Mondrian, that is separately for each kind of row (Vovk et al. 2003; Boström & Johansson 2020).
crepes fits; only plain numbers leave this module, so nothing of it is stored or imported where
predictions are made.

Shapes  R rows, I ingredients, S levels. Units: eV.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from crepes import ConformalRegressor
from numpy.typing import NDArray
from scipy.optimize import minimize

from model.errors import ModelError
from model.uncertainty.calibration import (
    ANY_SIZE,
    INGREDIENTS,
    Calibration,
    Evidence,
    LevelSigma,
    UncertaintySignal,
    log_ingredients,
    size_class,
)
from model.uncertainty.metrics import (
    NORMAL,
    Z90,
    IntervalLaw,
    coverage,
    coverage_gap,
    interval_score,
    observed_coverage,
    rank_correlation,
)

MIN_ROWS = 20  # of a level; fewer cannot tell what 90 % of the errors stay below
MIN_SIZE_ROWS = 80  # of a size class: a factor from fewer rows is off by more than it corrects
COMBINED, CONSTANT = "combined", "constant"
_WAYS = {
    CONSTANT: (),
    COMBINED: INGREDIENTS,
    **{name: (name,) for name in INGREDIENTS},
}
_CONFIDENCES = (0.5, 0.68, 0.8, 0.9, 0.95)
_FAR = 0.99  # share of held-out rows that counts as near
_FOLDS, _REPEATS = 5, 3
_RIDGE = 2.0  # of the exponents, in rows: pulls towards a constant sigma
_TAIL = 3.0  # degrees of freedom of the t law: a few wild errors must not set the scale
_SMALLEST_EV = 1e-4
_ROUNDING = 1e-9  # of a confidence in floating point


@dataclass(frozen=True)
class _Rows:
    level_R: NDArray[np.str_]
    size_R: NDArray[np.str_]
    error_R: NDArray[np.float64]
    signal: UncertaintySignal

    def at(self, chosen_R: NDArray[np.bool_]) -> "_Rows":
        return _Rows(
            self.level_R[chosen_R],
            self.size_R[chosen_R],
            self.error_R[chosen_R],
            self.signal.at(chosen_R),
        )


def fit_calibration(
    levels: Sequence[str],
    adsorbates: Sequence[str],
    error_R: NDArray[np.float64],
    signal: UncertaintySignal,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Calibration:
    """Fit sigma on held-out rows, level by level.

    Args:
        levels: Level of theory of each of R rows.
        adsorbates: Formula of each row's adsorbate, as its text names it.
        error_R: (R,) prediction minus label in eV.
        signal: Uncertainty signal of each row.
        seed: Of the cross-validation's folds.
        groups: Of each row; rows of one group (a pair, a surface) are never on both sides of the
            cross-validation. None: each row by itself.

    Returns:
        A calibration; a level where a constant sigma scores as well keeps the constant.

    Raises:
        ModelError: a level has too few rows, or an error is not a number.
    """
    rows = _checked(levels, adsorbates, error_R, signal)
    evidence = _compared(rows, _folds(rows, groups, seed))
    constant = _fit(rows, _WAYS[CONSTANT]).levels
    combined = _fit(rows, _WAYS[COMBINED]).levels
    chosen = {}
    for level, found in evidence.items():
        pays = found[COMBINED].interval_score_ev < found[CONSTANT].interval_score_ev
        chosen[level] = replace((combined if pays else constant)[level], evidence=found)
    return Calibration(chosen)


def _checked(
    levels: Sequence[str],
    adsorbates: Sequence[str],
    error_R: NDArray[np.float64],
    signal: UncertaintySignal,
) -> _Rows:
    sizes = [size_class(adsorbate) for adsorbate in adsorbates]
    rows = _Rows(np.asarray(levels), np.asarray(sizes), np.asarray(error_R, np.float64), signal)
    if not len(rows.level_R) == len(rows.size_R) == len(rows.error_R) == len(signal):
        raise ModelError(
            f"calibration needs one level, adsorbate, error and signal for each row, got "
            f"{len(rows.level_R)}, {len(rows.size_R)}, {len(rows.error_R)} and {len(signal)}"
        )
    if not np.isfinite(rows.error_R).all():
        raise ModelError("an error of a held-out row is not a number")
    for level, count in Counter(levels).items():
        if count < MIN_ROWS:
            raise ModelError(
                f"calibration needs at least {MIN_ROWS} held-out rows of a level, "
                f"got {count} at {level}"
            )
    return rows


def _fit(rows: _Rows, ingredients: Sequence[str]) -> Calibration:
    names = np.unique(rows.level_R)
    level_R = np.searchsorted(names, rows.level_R)
    matrix_RI = rows.signal.matrix()
    typical_SI = np.array([np.median(matrix_RI[rows.level_R == name], axis=0) for name in names])
    log_RI = log_ingredients(matrix_RI, typical_SI[level_R])
    allowed_I = np.array([name in ingredients for name in INGREDIENTS])
    exponent_I = _exponents(np.abs(rows.error_R), level_R, log_RI, allowed_I)
    scale_R = np.exp(log_RI @ exponent_I)
    return Calibration(
        {
            str(name): _level(rows.at(here), scale_R[here], typical_I, exponent_I)
            for name, typical_I in zip(names, typical_SI, strict=True)
            for here in [rows.level_R == name]
        }
    )


def _level(
    rows: _Rows,
    scale_R: NDArray[np.float64],
    typical_I: NDArray[np.float64],
    exponent_I: NDArray[np.float64],
) -> LevelSigma:
    error_R = np.maximum(np.abs(rows.error_R), _SMALLEST_EV)
    factors = _factors(error_R, scale_R, rows.size_R)
    factor_R = np.array([factors.get(size, factors[ANY_SIZE]) for size in rows.size_R])
    return LevelSigma(
        typical=tuple(typical_I.tolist()),
        exponents=tuple(exponent_I.tolist()),
        factors=factors,
        law=_law(error_R, factor_R * scale_R),
        distance_limit=float(np.quantile(rows.signal.distance_R, _FAR)),
        rows=len(error_R),
        evidence={},
    )


def _factors(
    error_R: NDArray[np.float64], scale_R: NDArray[np.float64], size_R: NDArray[np.str_]
) -> dict[str, float]:
    """Return factors that make 1.645 sigma a 90 % interval, for the level and each large class."""
    factors = interval_multipliers(error_R, scale_R, [ANY_SIZE] * len(error_R), 0.9)
    counts = Counter(size_R.tolist())
    large = [size for size, count in counts.items() if count >= MIN_SIZE_ROWS and size != ANY_SIZE]
    in_large_R = np.isin(size_R, large)
    if in_large_R.any():
        factors |= interval_multipliers(
            error_R[in_large_R], scale_R[in_large_R], size_R[in_large_R].tolist(), 0.9
        )
    return {size: factor / Z90 for size, factor in factors.items()}


def _law(error_R: NDArray[np.float64], sigma_R: NDArray[np.float64]) -> IntervalLaw:
    # An interval of 95 % needs 19 rows; what the rows cannot tell continues the last slope.
    fitted = [c for c in _CONFIDENCES if has_enough_rows(len(error_R), c)]
    bins = [ANY_SIZE] * len(error_R)
    found = {
        c: interval_multipliers(error_R, sigma_R, bins, c)[ANY_SIZE] for c in fitted if c != 0.9
    }
    # By the meaning of sigma 90 % lies at 1.645; sizes with factors of their own blur it slightly.
    ordered = {c: min(m, Z90) if c < 0.9 else max(m, Z90) for c, m in found.items()} | {0.9: Z90}
    return IntervalLaw(tuple(sorted(ordered)), tuple(ordered[c] for c in sorted(ordered)))


def _exponents(
    error_R: NDArray[np.float64],
    level_R: NDArray[np.int64],
    log_RI: NDArray[np.float64],
    allowed_I: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return (I,) exponents of at least 0 that make the errors likeliest, 0 where not allowed.

    A t law with a scale of its own at each level; its gradient in log sigma is ``pull``.
    """
    exponent_I = np.zeros(len(allowed_I))
    if not allowed_I.any():
        return exponent_I
    used_RU = log_RI[:, allowed_I]
    error_R = np.maximum(error_R, _SMALLEST_EV)
    levels = int(level_R.max()) + 1

    def surprise(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_sigma_R = values[level_R] + used_RU @ values[levels:]
        square_R = (error_R / np.exp(log_sigma_R)) ** 2
        ridge = _RIDGE * (values[levels:] ** 2).sum()
        loss = ((_TAIL + 1) / 2 * np.log1p(square_R / _TAIL) + log_sigma_R).sum() + ridge
        pull_R = 1 - (_TAIL + 1) * square_R / (_TAIL + square_R)
        slope_S = np.bincount(level_R, weights=pull_R, minlength=levels)
        slope_U = used_RU.T @ pull_R + 2 * _RIDGE * values[levels:]
        return float(loss) / len(error_R), np.concatenate([slope_S, slope_U]) / len(error_R)

    typical = [np.log(np.median(error_R[level_R == level])) for level in range(levels)]
    start = np.concatenate([typical, np.full(int(allowed_I.sum()), 0.2)])
    bounds = [(None, None)] * levels + [(0.0, None)] * int(allowed_I.sum())
    found = minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=bounds)
    exponent_I[allowed_I] = found.x[levels:]
    return exponent_I


def _compared(rows: _Rows, folds_NR: Sequence[NDArray[np.int64]]) -> dict[str, dict[str, Evidence]]:
    """Return, by level and way to make sigma, the mean over repeated cross-validations."""
    found: dict[str, dict[str, Evidence]] = {str(level): {} for level in np.unique(rows.level_R)}
    for way, ingredients in _WAYS.items():
        repeats = [_cross_validated(rows, fold_R, ingredients) for fold_R in folds_NR]
        for level, ways in found.items():
            ways[way] = _mean([repeat[level] for repeat in repeats])
    return found


def _cross_validated(
    rows: _Rows, fold_R: NDArray[np.int64], ingredients: Sequence[str]
) -> dict[str, Evidence]:
    sigma_R = np.zeros(len(fold_R))
    observed: dict[str, NDArray[np.float64]] = {}
    for fold in np.unique(fold_R):
        fitted = _fit(rows.at(fold_R != fold), ingredients)
        for level, values in fitted.levels.items():
            here_R = (fold_R == fold) & (rows.level_R == level)
            if not here_R.any():
                continue
            sigma_R[here_R] = values.sigma(rows.size_R[here_R].tolist(), rows.signal.at(here_R))
            inside_L = observed_coverage(rows.error_R[here_R], sigma_R[here_R], values.law)
            observed[level] = observed.get(level, 0.0) + inside_L * here_R.sum()
    return {
        level: _evidence(rows.error_R[here_R], sigma_R[here_R], inside_L / here_R.sum())
        for level, inside_L in observed.items()
        for here_R in [rows.level_R == level]
    }


def _evidence(
    error_R: NDArray[np.float64], sigma_R: NDArray[np.float64], observed_L: NDArray[np.float64]
) -> Evidence:
    return Evidence(
        coverage_90=coverage(error_R, sigma_R),
        miscalibration=coverage_gap(observed_coverage(error_R, sigma_R, NORMAL)),
        miscalibration_law=coverage_gap(observed_L),
        mean_sigma_ev=float(sigma_R.mean()),
        interval_score_ev=interval_score(error_R, sigma_R),
        spearman=rank_correlation(sigma_R, error_R),
    )


def _mean(repeats: Sequence[Evidence]) -> Evidence:
    names = [field.name for field in fields(Evidence)]
    return Evidence(**{n: float(np.mean([getattr(e, n) for e in repeats])) for n in names})


def _folds(rows: _Rows, groups: Sequence[str] | None, seed: int) -> list[NDArray[np.int64]]:
    """Return ``_REPEATS`` ways to deal the rows into folds, level by level, groups kept whole."""
    given = np.arange(len(rows.level_R)).astype(str) if groups is None else np.asarray(groups)
    if len(given) != len(rows.level_R):
        raise ModelError(f"each row has one group, got {len(given)} for {len(rows.level_R)} rows")
    dealt = []
    for repeat in range(_REPEATS):
        rng = np.random.default_rng([seed, repeat])
        fold_R = np.zeros(len(given), dtype=np.int64)
        for level in np.unique(rows.level_R):
            here_R = rows.level_R == level
            fold_R[here_R] = _dealt(given[here_R], rng)
        dealt.append(fold_R)
    return dealt


def _dealt(group_R: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return each row's fold; large groups are dealt first, each to the emptiest fold."""
    _, index_R, size_G = np.unique(group_R, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(size_G))
    fold_G = np.zeros(len(size_G), dtype=np.int64)
    filled = np.zeros(_FOLDS)
    for group in shuffled[np.argsort(-size_G[shuffled], kind="stable")]:
        fold_G[group] = int(filled.argmin())
        filled[fold_G[group]] += size_G[group]
    return fold_G[index_R]


def interval_multipliers(
    error_R: NDArray[np.float64],
    sigma_R: NDArray[np.float64],
    bins: Sequence[str],
    confidence: float,
) -> dict[str, float]:
    """Return, for each bin, how many sigmas hold ``confidence`` of the errors of a new row.

    Args:
        error_R: Errors of held-out rows, eV.
        sigma_R: Predicted standard deviations, eV.
        bins: The bin of each row.
        confidence: The share of errors that an interval holds, 0 to 1.

    Returns:
        The multiplier of sigma by bin.

    Raises:
        ModelError: a bin has too few rows for that confidence.
    """
    bin_R = np.asarray(bins)
    names = np.unique(bin_R)
    fitted = ConformalRegressor().fit(np.abs(error_R), sigmas=sigma_R, bins=bin_R)
    for name in names:
        rows = int((bin_R == name).sum())
        if not has_enough_rows(rows, confidence):
            raise ModelError(
                f"{rows} held-out rows of {name} cannot tell a {confidence:.0%} interval; "
                "hold out more or merge it with another kind"
            )
    # 1 - 0.9 is a hair below 0.1 in floating point, which crepes rounds to the next wider rank.
    intervals_B2 = fitted.predict_int(
        np.zeros(len(names)),
        sigmas=np.ones(len(names)),
        bins=names,
        confidence=confidence - _ROUNDING,
    )
    return dict(zip(names.tolist(), intervals_B2[:, 1].tolist(), strict=True))


def has_enough_rows(rows: int, confidence: float) -> bool:
    """Return whether so many rows can bound an interval of ``confidence``."""
    return (1 - confidence + _ROUNDING) * (rows + 1) >= 1
