"""Distance from the training set, measured where the network looks."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from model.errors import ModelError
from model.uncertainty.latent import LatentReference, latent_reference


def islands(rows: int = 600, centres: int = 6, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return features of several kinds of rows: dense islands in a wide space."""
    rng = np.random.default_rng(seed)
    kind = np.arange(rows) % centres
    centre = np.random.default_rng(99).normal(size=(centres, 24))
    features = 4 * centre[kind] + rng.normal(size=(rows, 24))
    return features.astype(np.float32), [f"kind-{k}" for k in kind]


def test_a_row_of_the_training_set_is_near_and_a_stranger_far() -> None:
    features, _ = islands()
    reference = latent_reference(features, seed=0)
    new, _ = islands(seed=1)
    stranger = new + 20 * np.eye(24, dtype=np.float32)[0]
    own, like, strange = (np.median(reference.distance(x)) for x in (features, new, stranger))
    assert own < like < 0.7 * strange


def test_distance_grows_with_the_way() -> None:
    features, _ = islands()
    reference = latent_reference(features, seed=0)
    steps = features[:1] + np.arange(5.0, 50.0, 5.0)[:, None] * np.ones((1, 24))
    assert (np.diff(reference.distance(steps)) > 0).all()


def test_distance_is_the_mean_to_the_three_nearest() -> None:
    axis = np.array([[-1.0], [-1.0], [1.0], [1.0]])  # mean 0, standard deviation 1
    reference = latent_reference(axis, seed=0)
    assert reference.distance(np.array([[1.0]])) == pytest.approx(2 / 3, abs=1e-3)
    assert reference.distance(np.array([[3.0]])) == pytest.approx((2 + 2 + 4) / 3, abs=1e-3)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    features, _ = islands()
    new, _ = islands(seed=2)
    plain = latent_reference(features, seed=0).distance(new)
    scaled = latent_reference(1000 * features, seed=0).distance(1000 * new)
    np.testing.assert_allclose(scaled, plain, rtol=0.02)


def test_a_reference_is_small_and_survives_safetensors() -> None:
    rng = np.random.default_rng(4)
    reference = latent_reference(rng.normal(size=(9000, 384)).astype(np.float32), seed=0)
    stored = save(reference.arrays())
    assert len(stored) < 310_000
    new = rng.normal(size=(10, 384))
    again = LatentReference.from_arrays(load(stored))
    # The arrays are equal, their places in memory are not: a BLAS may add in another order.
    np.testing.assert_allclose(again.distance(new), reference.distance(new), rtol=1e-12)


def test_equal_features_and_seed_make_equal_references() -> None:
    features, _ = islands(3000)
    first, second = (latent_reference(features, seed=5, kept=500) for _ in range(2))
    for name, values in first.arrays().items():
        # Rows are stored as float16, whose spacing is a thousandth.
        np.testing.assert_allclose(second.arrays()[name], values, rtol=2e-3, atol=1e-6)


def test_two_rows_and_constant_features_are_a_training_set_too() -> None:
    few = latent_reference(np.array([[0.0, 1.0], [1.0, 1.0]]), seed=0)
    assert np.isfinite(few.distance(np.array([[0.5, 1.0]]))).all()
    flat = latent_reference(np.ones((30, 4)), seed=0)
    assert flat.distance(np.full((1, 4), 2.0)) == 0.0


def test_no_rows_have_no_distances() -> None:
    features, _ = islands()
    assert latent_reference(features, seed=0).distance(features[:0]).shape == (0,)


def test_features_of_another_network_are_refused() -> None:
    features, _ = islands()
    with pytest.raises(ModelError, match=r"reads \(rows, 24\) features, got \(600, 20\)"):
        latent_reference(features, seed=0).distance(features[:, :20])


def test_features_that_are_no_numbers_are_refused() -> None:
    features, _ = islands()
    reference = latent_reference(features, seed=0)
    features[7, 3] = np.nan
    with pytest.raises(ModelError, match="row 7"):
        reference.distance(features)
    with pytest.raises(ModelError, match="row 7"):
        latent_reference(features, seed=0)


def test_a_reference_with_a_part_missing_is_refused() -> None:
    with pytest.raises(ModelError, match="lacks axes, rows"):
        LatentReference.from_arrays({"mean": np.zeros(3)})


def test_one_row_is_no_training_set() -> None:
    with pytest.raises(ModelError, match="needs 2 training rows"):
        latent_reference(np.zeros((1, 4)), seed=0)
