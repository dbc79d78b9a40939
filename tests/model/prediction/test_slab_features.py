import numpy as np
import pytest
from support.synthetic import rows

from model.prediction.slab_features import slab_feature_names, slab_features


def column(name: str) -> int:
    return slab_feature_names().index(name)


def test_every_column_has_a_name() -> None:
    values = slab_features([row.configuration() for row in rows("clean")[:3]])
    assert values.shape == (3, len(slab_feature_names()))


def test_the_adsorbate_is_left_out() -> None:
    clean = slab_features([row.configuration() for row in rows("clean")])
    covered = slab_features([row.configuration() for row in rows("adslab")])
    np.testing.assert_allclose(clean, covered, rtol=1e-9)


def test_layers_spacing_and_shares() -> None:
    copper_platinum = rows("clean")[3].configuration()  # Cu3Pt
    (values,) = slab_features([copper_platinum])
    assert values[column("spacing_ang")] == pytest.approx(2.0)
    assert values[column("area_per_top_atom_ang2")] == pytest.approx(25 / 4)
    assert values[column("element0_in_top")] == pytest.approx(0.75)
    assert values[column("element1_in_second")] == pytest.approx(0.25)
    assert values[column("top_max_row")] == 6.0


def test_without_a_structure_nothing_is_known() -> None:
    assert np.isnan(slab_features([rows("text")[0].configuration()])).all()
