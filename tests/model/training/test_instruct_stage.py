"""Stage 3 asks four things, learns the answers alone, and leaves the encoder as it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import ENCODER, LEVELS, ROWS

from model.generation.prompts import INSTRUCTIONS
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import QECatalytic
from model.text.stream_tokens import stream_tokens
from model.text.tokenizer import END, GRAPH, model_text, token_ids, train_tokenizer
from model.training.instruct_stage import InstructStage, instruction_examples
from model.training.recipes import InstructRecipe
from model.training.trainer import Trainer

RECIPE = InstructRecipe(seed=0, epochs=30, batch_size=8, learning_rate=0.01, average=0.9)


def network_and_reader() -> tuple[QECatalytic, Reader]:
    texts = [model_text(row.level, row.text) for row in ROWS]
    tokenizer = train_tokenizer(texts, whole=stream_tokens())
    language = LanguageConfig(width=16, layers=1, heads=2, key_value_heads=1, feed_forward=32)
    config = QECatalyticConfig(ENCODER, LEVELS, len(tokenizer), language=language)
    return QECatalytic(config, graph_token=token_ids(tokenizer, [GRAPH])[0]), Reader(
        config, tokenizer
    )


def objective(reader: Reader, recipe: InstructRecipe = RECIPE) -> InstructStage:
    examples = instruction_examples(ROWS, reader)
    return InstructStage(examples, examples, reader, recipe)


def only(instruction: str) -> InstructRecipe:
    shares = {f"{name}_share": float(name == instruction) for name in INSTRUCTIONS}
    return replace(RECIPE, **shares)  # type: ignore[arg-type]


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_what_is_learnt_is_the_answer_and_its_end(instruction: str) -> None:
    _, reader = network_and_reader()
    taught = objective(reader, only(instruction))
    batch, is_answer_BT = taught.batch([0, 1], np.random.default_rng(0), torch.device("cpu"))
    end = token_ids(reader.tokenizer, [END])[0]
    graph = token_ids(reader.tokenizer, [GRAPH])[0]
    for ids_T, wanted_T in zip(batch.token_ids_BT, is_answer_BT, strict=True):
        assert ids_T[wanted_T][-1] == end
        assert not (ids_T[wanted_T] == graph).any()
        assert (ids_T == graph).any() == (instruction in ("energy", "describe"))
    assert batch.graph.n_systems == 2
    assert (len(batch.graph.numbers_N) > 0) == (instruction in ("energy", "describe"))


def test_instructions_come_by_their_shares() -> None:
    _, reader = network_and_reader()
    taught = objective(reader)
    rng = np.random.default_rng(0)
    drawn = [taught._draw(taught.examples[0], rng) for _ in range(400)]
    assert drawn.count("design") / 400 == pytest.approx(RECIPE.design_share, abs=0.08)
    assert drawn.count("describe") / 400 == pytest.approx(RECIPE.describe_share, abs=0.06)


def test_a_structure_that_no_stream_holds_teaches_energy_and_description_alone() -> None:
    _, reader = network_and_reader()
    taught = objective(reader)
    without = replace(taught.examples[0], stream=None)
    rng = np.random.default_rng(0)
    assert {taught._draw(without, rng) for _ in range(100)} == {"energy", "describe"}


def test_the_encoder_stays_and_the_answers_are_learnt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    taught = objective(reader)
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    first = taught.evaluate(network).score
    trained = Trainer(network, taught, RECIPE, tmp_path).run()
    assert taught.evaluate(trained).score < 0.7 * first
    after = trained.encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
