"""Training goes on where it stopped, and stops where a number is missing."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import ROWS, network_and_reader
from torch import Tensor

from model.data.splits import split
from model.errors import ModelError
from model.network.ensemble import Ensemble
from model.network.qe_catalytic import QECatalytic
from model.network.scale import fit_scale
from model.training.joint_stage import JointStage
from model.training.pretraining import (
    AlignStage,
    EncoderStage,
    LanguageStage,
    info_nce,
    retrieval,
    similarity,
)
from model.training.recipes import AlignRecipe, EncodeRecipe, JointRecipe, ReadRecipe
from model.training.samples import make_samples
from model.training.trainer import HeldOutScore, Trainer

pytestmark = pytest.mark.medium

RECIPE = JointRecipe(seed=3, epochs=4, batch_size=3, watch_every=2)


class KilledError(Exception):
    pass


def trainer(folder: Path, recipe: JointRecipe = RECIPE) -> Trainer:
    torch.manual_seed(recipe.seed)
    network, reader = network_and_reader()
    samples = make_samples(ROWS, reader, {"test": 2.5})
    return Trainer(network, JointStage(samples, samples, reader, recipe), recipe, folder)


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_killed_run_ends_with_the_same_loss_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(tmp_path / "whole").run()
    stopped = trainer(tmp_path / "stopped")

    def kill(chosen: list[int], rng: np.random.Generator, share: float) -> dict[str, float]:
        if stopped.epoch == 2:
            raise KilledError
        return backward(chosen, rng, share)

    backward = stopped._backward
    monkeypatch.setattr(stopped, "_backward", kill)
    with pytest.raises(KilledError):
        stopped.run()
    trainer(tmp_path / "stopped").run()
    stopped_at, whole = losses(tmp_path / "stopped"), losses(tmp_path / "whole")
    assert [line["epoch"] for line in stopped_at] == [line["epoch"] for line in whole]
    for name in ("regression", "tokens"):
        curves = [[line[name] for line in lines] for lines in (stopped_at, whole)]
        assert curves[0] == pytest.approx(curves[1], abs=2e-4)  # written with four decimals


def test_accumulated_batches_step_as_one(tmp_path: Path) -> None:
    plain = replace(RECIPE, loss="sum", jitter_ang=0.0, text_share=0.0, clip_norm=1e9)
    apart, whole = (trainer(tmp_path / name, plain) for name in ("apart", "whole"))
    rng = np.random.default_rng(0)
    apart._step([[0, 1], [2, 3]], rng)
    whole._step([[0, 1, 2, 3]], rng)
    for a, b in zip(apart.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_batch_too_large_for_memory_is_halved_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("model"), "propagate", True)  # the CLI turns it off
    small = trainer(tmp_path)
    loss = small.objective.loss

    def narrow(network: QECatalytic, batch: tuple[object, Tensor]) -> object:
        if len(batch[1]) > 2:
            raise torch.OutOfMemoryError
        return loss(network, batch)

    monkeypatch.setattr(small.objective, "loss", narrow)
    small.run()
    assert caplog.messages.count("memory does not hold 3 samples: batches are halved") == 1
    assert small.epoch == RECIPE.epochs


def test_patience_ends_training_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = trainer(tmp_path, replace(RECIPE, epochs=50, watch_every=1, patience=3))
    scores = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(patient.objective, "evaluate", lambda _: HeldOutScore(next(scores)))
    patient.run()
    assert patient.epoch == 5
    assert patient.best["epoch"] == 2
    kept = patient.kept().state_dict()
    assert all(torch.equal(kept[name], value) for name, value in patient.best["weights"].items())


def test_the_loss_falls(tmp_path: Path) -> None:
    trainer(tmp_path, replace(RECIPE, epochs=12, learning_rate=0.01)).run()
    curve = [line["regression"] + line["tokens"] for line in losses(tmp_path)]
    assert curve[-1] < 0.8 * curve[0]


@pytest.mark.full
def test_a_learned_energy_is_spelt_and_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    samples = make_samples([replace(ROWS[0], energy_ev=-1.37)] * 4, reader, {"test": 16.0})
    recipe = JointRecipe(
        seed=0, epochs=120, batch_size=4, learning_rate=0.01, average=0.9, text_share=0.5
    )
    taught = Trainer(network, JointStage(samples, samples, reader, recipe), recipe, tmp_path).run()
    seen = Ensemble([taught], reader)
    examples = reader.read([ROWS[0].configuration()])
    for example in (examples[0], examples[0].without_graph()):
        answers = seen.answer_examples([example])
        assert answers.token_R[0] == pytest.approx(-1.37, abs=0.1)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_row(tmp_path: Path) -> None:
    broken = trainer(tmp_path)
    broken.objective.samples[3] = replace(broken.objective.samples[3], energy_ev=float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="the loss is nan in epoch 1 of stage joint, for emt-N-Ag"):
        broken.run()


def test_alignment_leaves_the_language_model_and_finds_texts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    samples = make_samples(ROWS[:4], reader, {})  # a graph does not know its level
    recipe = AlignRecipe(seed=0, epochs=100, batch_size=4, learning_rate=0.003, average=0.9)
    before = {k: v.clone() for k, v in network.language.state_dict().items()}
    aligned = Trainer(network, AlignStage(samples, samples, reader, recipe), recipe, tmp_path).run()
    after = aligned.language.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    seen = similarity(aligned, samples, int(reader.tokenizer.pad_token_id))
    found = retrieval(seen)
    assert found["R@1"] > 0.8
    assert found["diagonal"] > found["off_diagonal"] + 0.2


def test_equal_texts_are_not_each_others_wrong_answers() -> None:
    graph_BD = torch.eye(3)
    text_BD = torch.stack([graph_BD[0] + graph_BD[1], graph_BD[0] + graph_BD[1], graph_BD[2]])
    same_BB = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    shared = info_nce(graph_BD, text_BD, torch.tensor(0.05), same_BB)
    apart = info_nce(graph_BD, text_BD, torch.tensor(0.05), torch.eye(3, dtype=torch.bool))
    assert shared == pytest.approx(np.log(2) * 2 / 3, abs=1e-3)
    assert apart == pytest.approx(np.log(2) * 2 / 3, abs=1e-3)
    sharp = info_nce(graph_BD, graph_BD, torch.tensor(0.05), same_BB)
    assert sharp > shared


def test_the_encoder_learns_alone_and_texts_set_in_where_it_ended(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    samples = make_samples(ROWS, reader, {})
    recipe = EncodeRecipe(seed=0, epochs=40, batch_size=4, learning_rate=0.01, average=0.9)
    objective = EncoderStage(samples, samples, reader, recipe)
    language = {k: v.clone() for k, v in network.language.state_dict().items()}
    before = objective.evaluate(network).score
    taught = Trainer(network, objective, recipe, tmp_path).run()
    after = objective.evaluate(taught)
    assert after.score < 0.5 * before
    assert all(torch.equal(taught.language.state_dict()[k], v) for k, v in language.items())
    begun = JointStage(samples, samples, reader, JointRecipe()).evaluate(taught)
    assert begun.parts == pytest.approx(after.parts, abs=1e-4)


def test_reading_lowers_the_loss_on_texts_and_touches_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    texts = [sample.views[0].text_tokens for sample in make_samples(ROWS, reader, {})]
    recipe = ReadRecipe(seed=0, epochs=20, batch_size=4, learning_rate=0.01, average=0.9)
    objective = LanguageStage(texts, texts, int(reader.tokenizer.pad_token_id), recipe)
    before = objective.evaluate(network).score
    encoder = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    read = Trainer(network, objective, recipe, tmp_path).run()
    assert objective.evaluate(read).score < 0.5 * before
    assert all(torch.equal(read.encoder.state_dict()[k], v) for k, v in encoder.items())


def test_offsets_per_atom_explain_energies_of_formation() -> None:
    counts_RZ = np.zeros((200, 95))
    counts_RZ[:100, 8] = counts_RZ[100:, 6] = 1
    energy_R = np.where(counts_RZ[:, 8] > 0, 3.5, 0.5)
    fitted = fit_scale(counts_RZ, [1] * 100 + [2] * 100, energy_R)
    assert fitted.offset_ev + fitted.atom_offset_Z[8] == pytest.approx(3.5, abs=0.1)
    assert fitted.offset_ev + fitted.atom_offset_Z[6] == pytest.approx(0.5, abs=0.1)
    assert fitted.scale_ev < 0.1


def test_isomers_have_offsets_of_their_own_and_few_labels_little() -> None:
    counts_RZ = np.zeros((46, 95))
    counts_RZ[:, [6, 8]] = 1
    adsorbate_R = [1] * 20 + [2] * 25 + [0]
    energy_R = np.array([1.0] * 20 + [-1.0] * 25 + [9.0])
    fitted = fit_scale(counts_RZ, adsorbate_R, energy_R)
    base = fitted.offset_ev + fitted.atom_offset_Z[[6, 8]].sum()
    assert base + fitted.adsorbate_offset[1] == pytest.approx(1.0, abs=0.25)
    assert base + fitted.adsorbate_offset[2] == pytest.approx(-1.0, abs=0.25)
    assert fitted.adsorbate_offset[0] == pytest.approx((9.0 - base) / 6, abs=1e-6)


def test_no_pair_is_on_two_sides_of_a_split() -> None:
    rows = [replace(ROWS[0], uid=f"{i}", pair=f"p{i // 2}", fold=(i // 2) % 5) for i in range(200)]
    train, held_out, reported = split(rows, report_fold=4)
    sides = [{row.pair for row in side} for side in (train, held_out, reported)]
    assert len(train) + len(held_out) + len(reported) == 200
    assert not sides[0] & (sides[1] | sides[2])
    assert not sides[1] & sides[2]
    assert {row.fold for row in reported} == {4}
