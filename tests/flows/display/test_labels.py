"""What is printed about labels: all of them are shown, and only the trainable ones count."""

import pytest

from flows.display.labels import show_labels
from screening_db.queries.labels import LabelledPrediction


def test_a_flagged_label_is_shown_and_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    surface = ("Cu3Pt", "(1 1 1)", "0.25", "O", "bridge Cu-Pt", "emt", "emt")
    good = LabelledPrediction("a" * 64, *surface, -1.0, 0.1, -1.1, True, "promising")
    flagged = LabelledPrediction("b" * 64, *surface, -1.0, 0.1, -5.0, False, None)
    show_labels([good, flagged], "tiny")
    said = capsys.readouterr().out
    assert "no (flagged)" in said
    assert "Cu3Pt(111) 0.25" in said
    assert "bridge Cu-Pt" in said
    assert "1 labels count: MAE 0.100 eV, 90 % intervals hold 100 % of them" in said


def test_labels_of_another_level_are_no_error_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    surface = ("Cu", "(1 1 1)", "", "H", "hollow Cu-Cu-Cu", "gpaw-pbe-fast", "emt")
    label = LabelledPrediction("a" * 64, *surface, -0.5, 0.1, -0.2, True, "promising")
    show_labels([label], "tiny")
    said = capsys.readouterr().out
    assert "-0.20" in said
    assert "predicted at emt, labels at gpaw-pbe-fast" in said
    assert "MAE" not in said
    assert "+0.3" not in said
