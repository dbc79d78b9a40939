"""Gradient boosting sees what a chemist reads off the text."""

import numpy as np
import pytest

from model.text.text_features import feature_names, text_features

CU = "CO</s>Cu (1 1 1)</s>[C Cu Cu bridge [Cu Cu Cu C] [Cu Cu C]]"
PT = CU.replace("Cu", "Pt")


def test_every_column_has_a_name() -> None:
    assert text_features([CU, PT]).shape == (2, len(feature_names()))


def test_another_metal_is_another_row() -> None:
    copper, platinum = text_features([CU, PT])
    column = feature_names().index("contact_mean_electronegativity")
    assert copper[column] == pytest.approx(1.90)
    assert platinum[column] == pytest.approx(2.28)


def test_isomers_differ() -> None:
    rows = text_features([CU.replace("CO<", "CHOH<"), CU.replace("CO<", "CH2O<")])
    assert not np.array_equal(rows[0], rows[1])


def test_nothing_that_touches_is_no_number() -> None:
    row = text_features(["N</s>Sc8Se12 (1 1 1)</s>[]"])[0]
    assert np.isnan(row[feature_names().index("contact_mean_group")])


def test_the_contacts_of_each_adsorbate_atom_are_told_apart() -> None:
    both = "CO</s>CuPt (1 1 1)</s>[C Cu atop [Cu Cu C]][O Pt atop [Pt Pt Pt O]]"
    (row,) = text_features([both])
    names = feature_names()
    assert row[names.index("contact_of_C_electronegativity")] == pytest.approx(1.90)
    assert row[names.index("contact_of_O_electronegativity")] == pytest.approx(2.28)
    assert np.isnan(row[names.index("contact_of_N_electronegativity")])
    assert row[names.index("coordination_max")] == 3.0
