"""Errors beside labels, what offsets leave of them, and when a choice is sure."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tasks.reports.fit import EnergySource, FitLabel, fit_source, which_to_trust

RNG = np.random.default_rng(3)
TRUE_EV = RNG.normal(-1.0, 0.5, 40)
LABELS = [
    FitLabel(f"c{i}", f"slab{i // 2}", ("O", "CO")[i % 2], float(energy))
    for i, energy in enumerate(TRUE_EV)
]


def source(
    name: str, error_ev: Callable[[int], float], sigma_ev: float = 0.1, *, same: bool = True
) -> EnergySource:
    energies = {
        label.candidate_id: (label.energy_ev + error_ev(i), sigma_ev)
        for i, label in enumerate(LABELS)
    }
    return EnergySource(name, energies, same)


def wave(size_ev: float) -> Callable[[int], float]:
    return lambda i: size_ev * math.sin(2.4 * i + 0.3)


@pytest.mark.medium
def test_a_constant_for_each_adsorbate_is_gone_after_the_offset() -> None:
    found = fit_source(LABELS, source("shifted", lambda i: (0.5, -0.2)[i % 2]))
    assert found.mae.value == pytest.approx(0.35)
    assert found.bias.value == pytest.approx(0.15)
    assert found.mae_after_offset.value == pytest.approx(0.0, abs=1e-9)
    assert found.spearman.value == pytest.approx(1.0)
    assert (found.within.value, found.coverage_90.value) == (0.0, 0.0)


def test_the_offset_of_a_label_is_learnt_from_the_others() -> None:
    # of two labels of one adsorbate each is judged by the other: their errors are 0 and 1
    pair = [FitLabel("a", "s", "O", 0.0), FitLabel("b", "t", "O", 0.0)]
    found = fit_source(pair, EnergySource("two", {"a": (0.0, 0.1), "b": (1.0, 0.1)}))
    assert found.mae_after_offset.value == pytest.approx(1.0)
    alone = fit_source(pair[:1], EnergySource("one", {"a": (0.3, 0.1)}))
    assert math.isnan(alone.mae_after_offset.value)
    assert alone.mae.value == pytest.approx(0.3)


def test_of_another_reference_only_what_an_offset_leaves_is_told() -> None:
    found = fit_source(LABELS, source("other", lambda i: 3.0 + 0.05 * (-1) ** (i // 2), same=False))
    assert math.isnan(found.mae.value)
    assert math.isnan(found.coverage_90.value)
    assert found.mae_after_offset.value == pytest.approx(0.05, abs=0.005)
    assert found.within.value == 1.0


@pytest.mark.medium
def test_intervals_hold_the_value_and_shrink_with_slabs() -> None:
    found = fit_source(LABELS, source("wave", wave(0.2))).mae
    assert found.lower < found.value < found.upper
    one_slab = [FitLabel(e.candidate_id, "slab", e.adsorbate, e.energy_ev) for e in LABELS]
    alone = fit_source(one_slab, source("wave", wave(0.2))).mae
    assert math.isfinite(alone.value)
    assert math.isnan(alone.lower)
    assert math.isnan(alone.upper)


def test_a_clear_winner_is_named() -> None:
    (said,) = which_to_trust(LABELS, [source("bad", wave(0.6)), source("good", wave(0.05))])
    assert said.startswith("trust good: on 40 common labels")
    assert "bad (+0." in said


def test_a_difference_that_is_not_significant_is_said_so() -> None:
    near = source("near", lambda i: wave(0.20)(i + 7))
    said = which_to_trust(LABELS, [source("one", wave(0.20)), near, source("bad", wave(1.5))])
    assert "is not significant" in said[0]
    assert said[1].startswith("worse for sure: bad")


def test_a_source_with_few_labels_is_left_out_of_the_choice_by_name() -> None:
    few = source("few", wave(0.01))
    few = EnergySource("few", dict(list(few.energies.items())[:6]))
    pair = [source("good", wave(0.05)), source("bad", wave(0.6))]
    said = which_to_trust(LABELS, [few, *pair])
    assert said[0].startswith("trust good: on 40 common labels")
    assert said[1:] == ["too few labels in common with these: few"]


def test_few_labels_choose_nothing() -> None:
    pair = [source("one", wave(0.1)), source("two", wave(0.9))]
    assert "at least 10 on 2 are needed" in which_to_trust(LABELS[:6], pair)[0]
    assert "0 labels on 0 slabs" in which_to_trust(LABELS, [pair[0], EnergySource("none", {})])[0]
    assert "give another with --checkpoint" in which_to_trust(LABELS, pair[:1])[0]
