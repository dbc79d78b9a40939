"""An energy is six characters, and six characters are an energy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ModelError
from model.text.energy_tokens import LIMIT_EV, WIDTH, format_energy


@given(st.floats(-LIMIT_EV, LIMIT_EV))
def test_an_energy_survives_its_spelling_to_a_hundredth(energy_ev: float) -> None:
    text = format_energy(energy_ev)
    assert len(text) == WIDTH
    assert float(text) == pytest.approx(energy_ev, abs=0.005 + 1e-9)


def test_zero_has_one_spelling() -> None:
    assert format_energy(-0.001) == format_energy(0.001) == "+00.00"


@pytest.mark.parametrize("energy_ev", [100.0, -120.0, math.nan, math.inf])
def test_what_six_characters_cannot_say_is_refused(energy_ev: float) -> None:
    with pytest.raises(ModelError, match=r"within \+-99.99 eV, got"):
        format_energy(energy_ev)
