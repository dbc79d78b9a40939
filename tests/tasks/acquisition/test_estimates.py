from dataclasses import replace

import numpy as np
import pytest

from tasks.acquisition import AcquisitionError, PairEstimates

TWO = PairEstimates.plain(
    ["a", "b"],
    ["s", "s"],
    ["x", "x"],
    energy_R=[0.0, 1.0],
    sigma_R=[0.1, 0.2],
    low_R=-0.5,
    high_R=0.5,
)

BAD: dict[str, tuple[dict[str, object], str]] = {
    "a row too many": (
        {"energy_R": np.zeros(3)},
        r"needs one value of energy_R.*\(3,",
    ),
    "a slab too few": ({"slab_ids": ("s",)}, "one value of slab_ids"),
    "an energy that is none": ({"energy_R": np.array([0, np.nan])}, "energy_R must be finite"),
    "a negative sigma": ({"sigma_R": np.array([0.1, -0.1])}, "sigma_R.*at least 0.*-0.1.*date b"),
    "a window upside down": ({"low_R": np.array([1.0, -0.5])}, "low_R must be below high_R"),
    "work for nothing": ({"cost_R": np.array([1.0, 0.0])}, "cost_R must be above 0, got 0.0"),
    "a negative penalty": ({"penalty_R": np.array([-1.0, 0.0])}, "penalty_R must be at least 0"),
    "features of one": ({"features_RF": np.zeros((1, 3))}, "features need one row"),
    "features that are none": ({"features_RF": np.full((2, 1), np.inf)}, "features_RF must be fin"),
    "one candidate twice": ({"candidate_ids": ("a", "a")}, "each candidate is one row"),
    "a slab of two prices": (
        {"slab_cost_R": np.array([1.0, 2.0])},
        "has one cost, got 1.0 and 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_estimates_that_cannot_be_are_refused(case: str) -> None:
    change, rule = BAD[case]
    with pytest.raises(AcquisitionError, match=rule):
        replace(TWO, **change)  # type: ignore[arg-type]


def test_plain_estimates_cost_one_each() -> None:
    assert TWO.cost_R.tolist() == [1, 1]
    assert TWO.slab_cost_R.tolist() == [0, 0]
