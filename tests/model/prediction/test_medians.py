from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.synthetic import rows as made_up

from model.checkpoint import ADSORBATE_MEDIAN, LEVEL_MEDIAN, open_checkpoint
from model.data.domain import domain_of
from model.data.rows import Row
from model.errors import ModelError
from model.prediction.medians import MedianPredictor
from model.training.baseline import train_medians

ROWS = made_up("adslab")


def trained(folder: Path, rows: list[Row], *, by_adsorbate: bool) -> MedianPredictor:
    domain = domain_of(rows)
    train_medians(rows, rows[::3], domain, folder, by_adsorbate=by_adsorbate, seed=0)
    return MedianPredictor(open_checkpoint(folder))


def test_the_level_s_median_is_the_same_for_all(tmp_path: Path) -> None:
    predictor = trained(tmp_path, ROWS, by_adsorbate=False)
    said = predictor.predict([row.configuration() for row in ROWS])
    median = np.median([row.energy_ev for row in ROWS])
    assert [answer.energy_ev for answer in said] == pytest.approx([median] * len(ROWS))
    assert open_checkpoint(tmp_path).kind == LEVEL_MEDIAN


def test_an_adsorbate_s_median_is_its_own(tmp_path: Path) -> None:
    predictor = trained(tmp_path, ROWS, by_adsorbate=True)
    for name in ("O", "H", "CO"):
        mine = [row for row in ROWS if row.adsorbate == name]
        (answer,) = predictor.predict([mine[0].configuration()])
        assert answer.energy_ev == pytest.approx(np.median([row.energy_ev for row in mine]))
        assert answer.in_domain
    assert open_checkpoint(tmp_path).kind == ADSORBATE_MEDIAN


def test_an_adsorbate_never_seen_gets_the_level_s_median_and_is_out_of_domain(
    tmp_path: Path,
) -> None:
    predictor = trained(tmp_path, ROWS, by_adsorbate=True)
    known = ROWS[0].configuration()
    (answer,) = predictor.predict([replace(known, text=known.text.replace("O</s>", "OH</s>"))])
    assert answer.energy_ev == pytest.approx(np.median([row.energy_ev for row in ROWS]))
    assert not answer.in_domain
    assert answer.reason == "adsorbate not in the training set at made-up: OH"


def test_ninety_percent_intervals_hold_nine_tenths_of_the_held_out_rows(tmp_path: Path) -> None:
    predictor = trained(tmp_path, ROWS, by_adsorbate=False)
    held_out = ROWS[::3]
    said = predictor.predict([row.configuration() for row in held_out])
    inside = [
        abs(answer.energy_ev - row.energy_ev) <= 1.645 * answer.sigma_ev
        for answer, row in zip(said, held_out, strict=True)
    ]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)


def test_rows_of_one_pair_count_once(tmp_path: Path) -> None:
    ends = [replace(row, uid=f"{row.uid}#end", kind="relaxed") for row in ROWS[:40]]
    one = trained(tmp_path / "one", ROWS, by_adsorbate=True)
    both = trained(tmp_path / "both", ROWS + ends, by_adsorbate=True)
    assert one.levels["made-up"] == both.levels["made-up"]


def test_text_alone_is_enough(tmp_path: Path) -> None:
    predictor = trained(tmp_path, made_up("text"), by_adsorbate=True)
    assert predictor.predict([made_up("text")[0].configuration()])[0].in_domain


def test_another_level_is_refused(tmp_path: Path) -> None:
    predictor = trained(tmp_path, ROWS, by_adsorbate=False)
    with pytest.raises(ModelError, match="answers at made-up; got level of theory 'emt'"):
        predictor.predict([replace(ROWS[0].configuration(), level="emt")])


def test_a_level_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="at least one row"):
        train_medians([], ROWS, domain_of(ROWS), tmp_path, by_adsorbate=False, seed=0)
