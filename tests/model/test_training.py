"""Training goes on where it stopped, and stops where a number is missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import ROWS, network_and_reader

from model.errors import ModelError
from model.fit import fit_scale, make_samples
from model.predictor import Ensemble
from model.rows import split
from model.training import Recipe, Trainer

RECIPE = Recipe(seed=3, epochs=4, batch_size=3)


def trainer(folder: Path, recipe: Recipe = RECIPE) -> Trainer:
    torch.manual_seed(recipe.seed)
    network, reader = network_and_reader()
    samples = make_samples(ROWS, reader, {"test": 2.5})
    return Trainer(network, reader.tokenizer, samples, recipe, folder)


def losses(folder: Path) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["regression_loss"], line["token_loss"]) for line in lines]


def test_a_stopped_run_ends_with_the_same_loss_curve(tmp_path: Path) -> None:
    trainer(tmp_path / "whole").run(watch=lambda _: "", every=100)

    class KilledError(Exception):
        pass

    def kill(_: Trainer) -> str:
        raise KilledError

    with pytest.raises(KilledError):
        trainer(tmp_path / "stopped").run(watch=kill, every=2)
    trainer(tmp_path / "stopped").run(watch=lambda _: "", every=100)
    # The line of the epoch in which it was killed is lost; its weights are not.
    whole, stopped = losses(tmp_path / "whole"), losses(tmp_path / "stopped")
    assert stopped == [whole[0], *whole[2:]]


def test_the_loss_falls(tmp_path: Path) -> None:
    trainer(tmp_path, replace(RECIPE, epochs=12)).run(watch=lambda _: "", every=100)
    curve = losses(tmp_path)
    assert sum(curve[-1]) < 0.8 * sum(curve[0])


def test_a_learned_energy_is_spelt_and_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    samples = make_samples([replace(ROWS[0], energy_ev=-1.37)] * 4, reader, {"test": 16.0})
    recipe = Recipe(seed=0, epochs=60, batch_size=4, learning_rate=0.01, average=0.9)
    taught = Trainer(network, reader.tokenizer, samples, recipe, tmp_path)
    taught.run(watch=lambda _: "", every=100)
    answers = Ensemble([taught.averaged()], reader).answer([ROWS[0].configuration()])
    assert answers.token_R[0] == pytest.approx(-1.37, abs=0.1)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    broken = trainer(tmp_path)
    with torch.no_grad():
        broken.network.regression[0].weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="the loss is nan in epoch 1; the state before it is kept"):
        broken.run(watch=lambda _: "")


def test_offsets_per_atom_explain_energies_of_formation() -> None:
    rows = [replace(row, energy_ev=3.0 * (row.adsorbate == "O") + 0.5) for row in ROWS] * 50
    offset, scale, atom_offset_Z = fit_scale(rows)
    assert offset + atom_offset_Z[8] == pytest.approx(3.5, abs=0.1)
    assert offset + atom_offset_Z[6] == pytest.approx(0.5, abs=0.1)
    assert scale < 0.1


def test_no_pair_is_on_two_sides_of_a_split() -> None:
    rows = [replace(ROWS[0], uid=f"{i}", pair=f"p{i // 2}", fold=(i // 2) % 5) for i in range(200)]
    train, held_out, reported = split(rows, report_fold=4)
    sides = [{row.pair for row in side} for side in (train, held_out, reported)]
    assert len(train) + len(held_out) + len(reported) == 200
    assert not sides[0] & (sides[1] | sides[2])
    assert not sides[1] & sides[2]
    assert {row.fold for row in reported} == {4}
