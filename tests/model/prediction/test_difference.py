import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.invented import train_invented
from support.labels.differences import HASH, ON, WRONG_BY, fewer_trees, labelled, learnt

from model.checkpoint import BASE_FOLDER, MANIFEST, open_checkpoint
from model.contract import Configuration, LevelEnergy, Prediction
from model.data.domain import domain_of
from model.data.rows import Row
from model.errors import ModelError
from model.prediction.difference import Potential
from model.prediction.predictor import load_predictor
from model.training import baseline
from model.training.baseline import train_baseline
from model.training.difference_fit import fit_level, fit_offsets


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fit fewer trees: the energies are simple."""
    fewer = baseline._PARAMETERS | {"n_estimators": 60, "learning_rate": 0.2}
    monkeypatch.setattr(baseline, "_PARAMETERS", fewer)
    with fewer_trees():
        yield


def configurations(rows: Sequence[Row]) -> list[Configuration]:
    return [row.configuration() for row in rows]


def without_energies(rows: Sequence[Row]) -> list[Configuration]:
    return [replace(row, energies=()).configuration() for row in rows]


def mae(answers: Sequence[Prediction], rows: Sequence[Row]) -> float:
    pairs = zip(answers, rows, strict=True)
    return float(np.mean([abs(answer.energy_ev - row.energy_ev) for answer, row in pairs]))


def few(rows: Sequence[Row]) -> list[Row]:
    return list(rows)[::6]  # 38 labels


def test_a_few_labels_give_an_offset_for_each_adsorbate(tmp_path: Path) -> None:
    rows = labelled(scatter_ev=0.05)
    predictor = learnt(tmp_path / "d", few(rows))
    assert predictor.models["made-up"].energies == ()
    offsets = predictor.models["made-up"].offsets.adsorbates
    assert offsets == pytest.approx(WRONG_BY, abs=0.05)
    answers = predictor.predict(configurations(rows))
    assert mae(answers, rows) < 0.05
    assert {answer.basis for answer in answers} == {"potential"}


def test_an_adsorbate_of_one_label_takes_little_of_it_where_labels_scatter() -> None:
    names = np.array(["O"] * 20 + ["H"] * 20 + ["CO"])
    rest = np.concatenate([np.tile([-0.5, 0.5], 20), [3.0]])
    pairs = np.arange(41).astype(str)
    offsets = fit_offsets(names, rest, pairs)
    assert abs(offsets.adsorbates["CO"] - offsets.common_ev) < 0.9 * 3.0
    assert offsets.of(["CO", "never seen"])[1] == offsets.common_ev


def test_both_views_of_a_pair_are_one_label() -> None:
    names = np.array(["O", "O", "O", "O"])
    pairs = np.array(["a", "a", "a", "b"])
    offsets = fit_offsets(names, np.array([1.0, 1.0, 1.0, 0.0]), pairs)
    assert offsets.common_ev == pytest.approx(0.5)


@pytest.mark.medium
def test_many_labels_teach_where_a_potential_is_wrong() -> None:
    rows = labelled(by_metal_ev=0.5)
    fitted = fit_level(rows, ON, seed=0)
    assert fitted.model.energies
    assert min(fitted.errors_ev.values()) < 0.5 * fitted.errors_ev["offsets"]


@pytest.mark.medium
def test_boosting_gives_way_to_offsets_where_there_is_nothing_else_to_learn() -> None:
    noise_R = np.random.default_rng(0).normal(scale=0.2, size=225)
    rows = [
        replace(row, energy_ev=row.energy_ev + noise)
        for row, noise in zip(labelled(), noise_R.tolist(), strict=True)
    ]
    fitted = fit_level(rows, ON, seed=0)
    assert fitted.model.energies == ()
    assert fitted.errors_ev.keys() == {"offsets", "small", "medium", "large"}


@pytest.mark.medium
def test_intervals_hold_labels_that_were_not_learnt_from(tmp_path: Path) -> None:
    rows = labelled(scatter_ev=0.1, by_metal_ev=0.3)
    surfaces = sorted({row.group for row in rows})
    train = [row for row in rows if surfaces.index(row.group) % 3]
    others = [row for row in rows if surfaces.index(row.group) % 3 == 0]
    answers = learnt(tmp_path / "d", train).predict(configurations(others))
    inside = [
        abs(answer.energy_ev - row.energy_ev) <= 1.645 * answer.sigma_ev
        for answer, row in zip(answers, others, strict=True)
    ]
    assert 0.75 < np.mean(inside) <= 1.0


def test_two_potentials_err_less_than_one(tmp_path: Path) -> None:
    rows = labelled("one", "other", scatter_ev=0.2)
    both = learnt(tmp_path / "both", few(rows), on=[Potential(n, HASH) for n in ("one", "other")])
    alone = learnt(tmp_path / "alone", few(rows), on=[Potential("one", HASH)])
    errors = [mae(p.predict(configurations(rows)), rows) for p in (both, alone)]
    assert errors[0] < 0.85 * errors[1]
    assert both.predict(configurations(rows[:1]))[0].basis == "one+other"


def test_without_a_base_a_configuration_that_was_not_relaxed_is_refused(tmp_path: Path) -> None:
    rows = labelled(scatter_ev=0.05)
    predictor = learnt(tmp_path / "d", few(rows))
    with pytest.raises(ModelError, match=r"energies at potential are known, adslab0 has none"):
        predictor.predict(without_energies(rows[:1]))


@pytest.mark.medium
def test_a_base_answers_where_nothing_was_relaxed_and_never_surer_than_the_difference(
    tmp_path: Path,
) -> None:
    rows = labelled(scatter_ev=0.3)
    train_baseline(rows, rows, domain_of(rows), tmp_path / "b", seed=0)
    predictor = learnt(tmp_path / "d", few(rows), base=tmp_path / "b")
    base = load_predictor(tmp_path / "b").predict(without_energies(rows))
    mixed = predictor.predict([*without_energies(rows), *configurations(rows)])
    alone, relaxed = mixed[: len(rows)], mixed[len(rows) :]
    assert [answer.energy_ev for answer in alone] == [answer.energy_ev for answer in base]
    assert {answer.basis for answer in alone} == {""}
    assert {answer.basis for answer in relaxed} == {"potential"}
    assert max(answer.sigma_ev for answer in base) < min(answer.sigma_ev for answer in alone)
    assert min(a.sigma_ev for a in alone) >= min(answer.sigma_ev for answer in relaxed)
    assert {answer.checkpoint_sha256 for answer in mixed} == {predictor.checkpoint_sha256}


@pytest.mark.medium
def test_a_base_of_the_potentials_level_is_asked_there_and_the_offset_is_added(
    tmp_path: Path,
) -> None:
    rows = labelled(scatter_ev=0.05)
    there = [
        replace(row, level="potential", energy_ev=row.energies[0].energy_ev, energies=())
        for row in rows
    ]
    train_baseline(there, there, domain_of(there), tmp_path / "b", seed=0)
    predictor = learnt(tmp_path / "d", few(rows), base=tmp_path / "b")
    base = load_predictor(tmp_path / "b").predict(configurations(there))
    answers = predictor.predict(without_energies(rows))
    shifts_ev = predictor.models["made-up"].offsets.of([row.adsorbate for row in rows])
    expected = [one.energy_ev + shift for one, shift in zip(base, shifts_ev, strict=True)]
    assert [answer.energy_ev for answer in answers] == pytest.approx(expected)
    assert {(answer.level, answer.basis) for answer in answers} == {("made-up", "")}
    assert mae(answers, rows) < 0.5 * mae(base, rows)
    assert (
        predictor.domain.levels["made-up"]
        == load_predictor(tmp_path / "b").domain.levels["potential"]
    )


def test_a_base_of_other_levels_is_refused(tmp_path: Path) -> None:
    train_invented(tmp_path / "b", seed=0)
    with pytest.raises(ModelError, match="answers at beef-vdw-ch4, emt and not at made-up"):
        learnt(tmp_path / "d", few(labelled()), base=tmp_path / "b")


@pytest.mark.medium
def test_a_base_that_was_changed_is_noticed(tmp_path: Path) -> None:
    rows = labelled()
    train_baseline(rows, rows, domain_of(rows), tmp_path / "b", seed=0)
    learnt(tmp_path / "d", few(rows), base=tmp_path / "b")
    manifest = tmp_path / "d" / BASE_FOLDER / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text())))
    with pytest.raises(ModelError, match=r"the base in .* must be the .* checkpoint"):
        open_checkpoint(tmp_path / "d")


@pytest.mark.parametrize(
    ("energies", "said"),
    [
        ((), "carries the energy of its pair at potential, adslab0 has none"),
        ((LevelEnergy("potential", "b" * 64, 0.0),), "hash aaaaaaaaaaaa, adslab0 has one of bbbb"),
    ],
)
def test_labels_without_the_potentials_energy_or_of_another_hash_are_refused(
    tmp_path: Path, energies: tuple[LevelEnergy, ...], said: str
) -> None:
    rows = few(labelled())
    with pytest.raises(ModelError, match=said):
        learnt(tmp_path / "d", [replace(rows[0], energies=energies), *rows[1:]])


def test_too_few_labels_and_too_few_surfaces_are_refused() -> None:
    rows = labelled()
    with pytest.raises(ModelError, match="at least 20 labels of a level, got 19 at made-up"):
        fit_level(rows[:19], ON, seed=0)
    with pytest.raises(ModelError, match=r"labels on at least 5, got 1"):
        fit_level([replace(row, group="one") for row in rows], ON, seed=0)


def test_an_energy_that_is_no_number_is_named(tmp_path: Path) -> None:
    rows = few(labelled())
    predictor = learnt(tmp_path / "d", rows)
    broken = replace(rows[0].configuration(), energies_ev={"potential": float("nan")})
    with pytest.raises(ModelError, match="adslab0 has nan at potential"):
        predictor.predict([broken])


def test_what_was_never_learnt_is_out_of_domain_with_its_energy(tmp_path: Path) -> None:
    rows = few(labelled())
    predictor = learnt(tmp_path / "d", rows)
    text = rows[0].text.replace("Cu", "Zr")
    (answer,) = predictor.predict([replace(rows[0].configuration(), text=text)])
    assert answer.reason == "slab element not in the training set at made-up: Zr"


def test_the_same_labels_and_seed_make_the_same_predictions(tmp_path: Path) -> None:
    rows = labelled(by_metal_ev=0.5)[::3]
    one, other = (learnt(tmp_path / name, rows) for name in ("one", "other"))
    asked = [row.configuration() for row in rows]
    first, second = one.predict(asked), other.predict(asked)
    assert [a.energy_ev for a in first] == pytest.approx([a.energy_ev for a in second], abs=1e-9)
    assert [a.sigma_ev for a in first] == pytest.approx([a.sigma_ev for a in second], abs=1e-9)
