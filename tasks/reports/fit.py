"""Which source of energies to trust: checkpoints and levels against labels of one chemistry.

What is compared is measured on the same labels. An offset for each adsorbate is the mean error of
the *other* labels of that adsorbate (leave one out), so that a few labels flatter nobody. Intervals
draw whole slabs with replacement, because labels on one slab are not independent.

Shapes  R labels, B resamples.
Units   eV; ``sigma`` is one standard deviation.
Source  the questions are those of CatBench: errors as they are, and what a shift leaves of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from model.fine_tuning.paired_bootstrap import PairedErrors, compare_errors, resampled_means
from tasks.reports.report import NORMAL_90

LEAST_LABELS = 10  # that a choice is made on
LEAST_RANKED = 3  # labels of an adsorbate that have an order
WITHIN_EV = 0.1
_INTERVAL = (0.05, 0.95)

Energies = tuple[float, float]  # energy and its sigma (eV); sigma is NaN where there is none


@dataclass(frozen=True)
class FitLabel:
    """A verified energy (eV) that sources are compared with."""

    candidate_id: str
    slab_id: str
    adsorbate: str
    energy_ev: float


@dataclass(frozen=True)
class EnergySource:
    """A checkpoint or a level with its energies (eV) and sigmas by candidate id.

    Where ``same_reference`` is not, energies differ by a constant for each adsorbate, and only what
    is left after an offset means anything.
    """

    name: str
    energies: Mapping[str, Energies]
    same_reference: bool = True
    note: str = ""


@dataclass(frozen=True)
class Interval:
    """A number with the limits between which 90 % of the resamples lie.

    NaN where it has none: no label, or one slab alone, which drawn again is the same.
    """

    value: float
    lower: float
    upper: float


NO_NUMBER = Interval(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class SourceFit:
    """How well one source meets the labels that it has energies for (eV).

    ``within`` is a share of labels within 0.1 eV: after the offset where references differ.
    ``spearman`` is the mean rank correlation within an adsorbate, weighted by its labels.
    """

    name: str
    labels: int
    mae: Interval
    bias: Interval
    mae_after_offset: Interval
    within: Interval
    spearman: Interval
    coverage_90: Interval
    note: str = ""


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors (R,) of one source, what an offset leaves of them, and which slab each label is on."""

    labels: Sequence[FitLabel]
    energy_R: NDArray[np.float64]
    sigma_R: NDArray[np.float64]

    @property
    def truth(self) -> NDArray[np.float64]:
        return np.array([label.energy_ev for label in self.labels])

    @property
    def error(self) -> NDArray[np.float64]:
        return np.asarray(self.energy_R - self.truth)

    @property
    def rest(self) -> NDArray[np.float64]:
        """Return errors beside the mean of the others of the adsorbate; NaN where it is alone."""
        names_R = np.array([label.adsorbate for label in self.labels])
        error_R, rest_R = self.error, np.full(len(self.labels), np.nan)
        for name in set(names_R.tolist()):
            own_R = names_R == name
            count = int(own_R.sum())
            if count > 1:
                rest_R[own_R] = (error_R[own_R] - error_R[own_R].mean()) * count / (count - 1)
        return rest_R


def fit_source(labels: Sequence[FitLabel], source: EnergySource, *, seed: int = 0) -> SourceFit:
    """Compare one source with the labels that it has energies for.

    Args:
        labels: Verified energies (eV) of one level.
        source: Energies (eV) by candidate.
        seed: Of the resamples.

    Returns:
        Errors in eV and shares, each with its 90 % interval.
    """
    errors = _errors(labels, source)
    slabs = [label.slab_id for label in errors.labels]
    error_R, rest_R = errors.error, errors.rest
    counted_R = error_R if source.same_reference else rest_R
    has_sigma = source.same_reference and bool(np.isfinite(errors.sigma_R).all())
    inside_R = np.abs(error_R) <= NORMAL_90 * errors.sigma_R
    raw = (np.abs(error_R), error_R) if source.same_reference else (error_R * np.nan,) * 2
    return SourceFit(
        name=source.name,
        labels=len(errors.labels),
        mae=_mean(raw[0], slabs, seed),
        bias=_mean(raw[1], slabs, seed),
        mae_after_offset=_mean(np.abs(rest_R), slabs, seed),
        within=_mean(_share(np.abs(counted_R) <= WITHIN_EV, counted_R), slabs, seed),
        spearman=_spearman(errors, seed),
        coverage_90=_mean(inside_R.astype(float), slabs, seed) if has_sigma else NO_NUMBER,
        note=source.note,
    )


def which_to_trust(
    labels: Sequence[FitLabel], sources: Sequence[EnergySource], *, seed: int = 0
) -> list[str]:
    """Return sentences: which source has the smallest errors after offsets, and how sure that is.

    Args:
        labels: Verified energies (eV) of one level.
        sources: At least one.
        seed: Of the resamples.

    Returns:
        One sentence for the choice, one for those that are worse for sure, and one for those that
        have too few labels in common with the others to be compared.
    """
    if len(sources) < 2:
        return ["one source is nothing to choose from: give another with --checkpoint"]
    compared = list(sources)
    while not _are_enough(shared := _common(labels, compared)) and len(compared) > 2:
        others = {
            source.name: [each for each in compared if each is not source] for source in compared
        }
        compared = max(others.values(), key=lambda rest: _sizes(labels, rest))
    if not _are_enough(shared):
        shared = _common(labels, sources)
        return [
            f"{len(shared)} labels on {_slabs(shared)} slabs are common to all and have another of "
            f"their adsorbate: at least {LEAST_LABELS} on 2 are needed to say which to trust"
        ]
    left = [source.name for source in sources if source not in compared]
    said = _verdict(shared, compared, seed)
    return said + ([f"too few labels in common with these: {', '.join(left)}"] if left else [])


def _common(labels: Sequence[FitLabel], sources: Sequence[EnergySource]) -> list[FitLabel]:
    """Return the labels that all sources have, each with another of its adsorbate."""
    found = [label for label in labels if all(label.candidate_id in s.energies for s in sources)]
    count = Counter(label.adsorbate for label in found)
    return [label for label in found if count[label.adsorbate] > 1]


def _slabs(labels: Sequence[FitLabel]) -> int:
    return len({label.slab_id for label in labels})


def _are_enough(labels: Sequence[FitLabel]) -> bool:
    return len(labels) >= LEAST_LABELS and _slabs(labels) > 1


def _sizes(labels: Sequence[FitLabel], sources: Sequence[EnergySource]) -> tuple[int, int, int]:
    """Return what sources are the better for: enough slabs, labels of all, labels of each."""
    shared = _common(labels, sources)
    own = sum(len(_common(labels, [source])) for source in sources)
    return min(_slabs(shared), 2), len(shared), own


def _verdict(shared: Sequence[FitLabel], sources: Sequence[EnergySource], seed: int) -> list[str]:
    rests = {source.name: np.abs(_errors(shared, source).rest) for source in sources}
    count = len(shared)
    order = sorted(rests, key=lambda name: (float(np.nanmean(rests[name])), name))
    best, others = order[0], order[1:]
    worse: list[str] = []
    alike: list[str] = []
    for name in others:
        found = _difference(shared, rests[best], rests[name], seed)
        words = f"{name} ({found.value:+.3f} eV, {found.lower:+.3f} to {found.upper:+.3f})"
        (worse if found.lower > 0 else alike).append(words)
    mean = float(np.nanmean(rests[best]))
    head = f"on {count} common labels {best} has the smallest errors after offsets, {mean:.3f} eV"
    if not alike:
        return [f"trust {best}: {head}; all others are worse for sure: {'; '.join(worse)}"]
    said = [f"{head}, but the difference from {'; '.join(alike)} is not significant"]
    return said + ([f"worse for sure: {'; '.join(worse)}"] if worse else [])


def _errors(labels: Sequence[FitLabel], source: EnergySource) -> _Errors:
    found = [label for label in labels if label.candidate_id in source.energies]
    pairs = np.array([source.energies[label.candidate_id] for label in found]).reshape(-1, 2)
    return _Errors(found, pairs[:, 0], pairs[:, 1])


def _difference(
    labels: Sequence[FitLabel], best_R: NDArray[np.float64], other_R: NDArray[np.float64], seed: int
) -> Interval:
    """Return by how much the errors of another are larger, with one-sided limits of 95 %."""
    kept_R = np.isfinite(best_R) & np.isfinite(other_R)
    slabs = [label.slab_id for label, kept in zip(labels, kept_R, strict=True) if kept]
    found = compare_errors([PairedErrors(best_R[kept_R], other_R[kept_R], slabs)], seed=seed)
    return Interval(found.difference_ev, found.lower_ev, found.upper_ev)


def _share(holds_R: NDArray[np.bool_], of_R: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(of_R), holds_R, np.nan)


def _mean(value_R: NDArray[np.float64], slabs: Sequence[str], seed: int) -> Interval:
    """Return the mean of the numbers among values, with limits from resampled slabs."""
    kept_R = np.isfinite(value_R)
    if not kept_R.any():
        return NO_NUMBER
    kept = [slab for slab, is_number in zip(slabs, kept_R, strict=True) if is_number]
    value = float(value_R[kept_R].mean())
    if len(set(kept)) < 2:
        return Interval(value, np.nan, np.nan)
    lower, upper = np.quantile(resampled_means(value_R[kept_R], kept, seed=seed), _INTERVAL)
    return Interval(value, float(lower), float(upper))


def _spearman(errors: _Errors, seed: int) -> Interval:
    """Return the mean rank correlation within adsorbates; adsorbates are drawn with their slabs."""
    names_R = np.array([label.adsorbate for label in errors.labels])
    slabs_R = np.array([label.slab_id for label in errors.labels])
    whole = _rank_correlation(names_R, errors.energy_R, errors.truth)
    if not np.isfinite(whole):
        return NO_NUMBER
    if len(set(slabs_R.tolist())) < 2:
        return Interval(whole, np.nan, np.nan)
    members = [np.flatnonzero(slabs_R == slab) for slab in np.unique(slabs_R)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(200):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(
            _rank_correlation(names_R[chosen], errors.energy_R[chosen], errors.truth[chosen])
        )
    lower, upper = np.nanquantile([whole, *drawn], _INTERVAL)
    return Interval(whole, float(lower), float(upper))


def _rank_correlation(
    names_R: NDArray[np.str_], energy_R: NDArray[np.float64], truth_R: NDArray[np.float64]
) -> float:
    found, weights = [], []
    for name in np.unique(names_R):
        own_R = names_R == name
        has_order = np.ptp(energy_R[own_R]) > 0 and np.ptp(truth_R[own_R]) > 0
        if own_R.sum() >= LEAST_RANKED and has_order:
            found.append(float(spearmanr(energy_R[own_R], truth_R[own_R]).statistic))
            weights.append(float(own_R.sum()))
    return float(np.average(found, weights=weights)) if found else float("nan")
