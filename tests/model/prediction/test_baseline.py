from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.synthetic import rows as made_up

from model.checkpoint import BASELINE, open_checkpoint, seal
from model.contract import Prediction
from model.data.domain import domain_of
from model.data.rows import Row
from model.data.splits import split
from model.errors import ModelError
from model.prediction.baseline import BaselinePredictor
from model.training import baseline
from model.training.baseline import level_means, train_baseline


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit fewer trees: the energies are simple."""
    fewer = {"n_estimators": 60, "learning_rate": 0.2}
    monkeypatch.setattr(baseline, "_PARAMETERS", baseline._PARAMETERS | fewer)


def trained(folder: Path, rows: Sequence[Row]) -> tuple[BaselinePredictor, list[Row]]:
    train, held_out, reported = split(rows, report_fold=4, held_out_share=0.3)
    train_baseline(train, held_out, domain_of(rows), folder, seed=0)
    return BaselinePredictor(open_checkpoint(folder)), reported


def energies_and_sigmas(predictor: BaselinePredictor, rows: Sequence[Row]) -> list[float]:
    answers = predictor.predict([row.configuration() for row in rows])
    return [value for answer in answers for value in (answer.energy_ev, answer.sigma_ev)]


def mae(said: Sequence[Prediction], rows: Sequence[Row]) -> float:
    pairs = zip(said, rows, strict=True)
    return float(np.mean([abs(answer.energy_ev - row.energy_ev) for answer, row in pairs]))


def spread(rows: Sequence[Row]) -> float:
    """Return the error of the adsorbates' medians."""
    medians = {
        name: np.median([row.energy_ev for row in rows if row.adsorbate == name])
        for name in {row.adsorbate for row in rows}
    }
    return float(np.mean([abs(row.energy_ev - medians[row.adsorbate]) for row in rows]))


@pytest.mark.parametrize("form", ["adslab", "clean", "text"])
def test_it_learns_more_than_adsorbates_medians(form: str, tmp_path: Path) -> None:
    predictor, reported = trained(tmp_path, made_up(form))
    said = predictor.predict([row.configuration() for row in reported])
    assert mae(said, reported) < 0.5 * spread(reported)
    assert all(answer.in_domain and answer.sigma_ev > 0 for answer in said)


def test_a_slab_is_read_where_the_text_does_not_say_what_it_is(tmp_path: Path) -> None:
    """Alloys of one formula differ in which element is on top."""
    rows = []
    for row in made_up("clean"):
        shift = 0.5 * float(row.numbers_N[row.tags_N == 1].mean() > 40)
        rows.append(replace(row, text=f"{row.adsorbate}</s>X (1 1 1)</s>[]", energy_ev=shift))
    rows = [replace(row, text=row.text.replace("X", "Cu")) for row in rows]
    predictor, reported = trained(tmp_path, rows)
    with_slab = predictor.predict([row.configuration() for row in reported])
    empty = {"numbers_N": np.zeros(0, np.int64), "tags_N": np.zeros(0, np.int64)}
    alone = [
        replace(row.configuration(), positions_N3=np.zeros((0, 3)), **empty) for row in reported
    ]
    assert mae(with_slab, reported) < 0.5 * mae(predictor.predict(alone), reported)


def test_texts_that_say_as_much_as_the_slab_are_read_alone(tmp_path: Path) -> None:
    rows = [replace(row, text=row.text.replace("3", "2")) for row in made_up("adslab")]
    same = [replace(row, numbers_N=np.full_like(row.numbers_N, 29)) for row in rows]
    predictor, reported = trained(tmp_path, same)
    assert ("made-up", "slab") not in predictor.models
    assert len(predictor.predict([row.configuration() for row in reported])) == len(reported)


def test_answers_keep_the_order_of_mixed_levels_and_forms(tmp_path: Path) -> None:
    rows = made_up("clean", level="a") + made_up("text", level="b")
    predictor, reported = trained(tmp_path, rows)
    mixed = [reported[i] for i in np.random.default_rng(0).permutation(len(reported))]
    said = predictor.predict([row.configuration() for row in mixed])
    assert [answer.candidate_id for answer in said] == [row.uid for row in mixed]
    assert [answer.level for answer in said] == [row.level for row in mixed]
    alone = [predictor.predict([row.configuration()])[0] for row in mixed]
    assert [a.energy_ev for a in said] == pytest.approx([a.energy_ev for a in alone])


def test_an_element_never_seen_is_out_of_domain(tmp_path: Path) -> None:
    predictor, reported = trained(tmp_path, made_up("text"))
    text = reported[0].text.replace("Cu", "Zr")
    (answer,) = predictor.predict([replace(reported[0].configuration(), text=text)])
    assert answer.reason == "slab element not in the training set at made-up: Zr"


@pytest.mark.medium
def test_the_same_seed_gives_the_same_checkpoint(tmp_path: Path) -> None:
    one, reported = trained(tmp_path / "one", made_up("text"))
    other, _ = trained(tmp_path / "other", made_up("text"))
    assert energies_and_sigmas(one, reported) == pytest.approx(
        energies_and_sigmas(other, reported), abs=1e-6
    )


@pytest.mark.medium
def test_a_run_into_an_old_folder_leaves_nothing_of_it(tmp_path: Path) -> None:
    trained(tmp_path / "fresh", made_up("text"))
    trained(tmp_path / "used", made_up("clean", level="a") + made_up("text"))
    trained(tmp_path / "used", made_up("text"))
    names = [sorted(f.name for f in (tmp_path / n).iterdir()) for n in ("fresh", "used")]
    assert names[0] == names[1]


def test_an_adsorbate_of_one_row_does_not_know_its_label() -> None:
    rows = made_up("text")
    rare = replace(rows[0], pair="rare", adsorbate="NO", energy_ev=9.0)
    base = level_means([*rows, rare])
    assert base.means_ev["NO"] == pytest.approx((9.0 + 5 * base.median_ev) / 6)


def test_a_checkpoint_of_an_older_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_text('{"levels": ["emt"], "domain": {}}')
    with pytest.raises(ModelError, match="older version; train it again"):
        BaselinePredictor(seal(tmp_path, BASELINE))


def test_no_configuration_no_answer(tmp_path: Path) -> None:
    predictor, _ = trained(tmp_path, made_up("text"))
    assert predictor.predict([]) == []
