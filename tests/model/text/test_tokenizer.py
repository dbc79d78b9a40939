"""Tokens keep chemistry whole and lose nothing."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from model.errors import ModelError
from model.text.tokenizer import (
    ANSWER,
    LIMIT_EV,
    WIDTH,
    format_energy,
    load_tokenizer,
    model_text,
    save_tokenizer,
    train_tokenizer,
)

TEXTS = [
    "CO</s>Cu3Pt (1 1 1)</s>[C Cu Pt bridge [Cu Cu Pt C] [Pt Cu Cu C]]",
    "NNH</s>Co2Os6 (2 1 -1)</s>[]",
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(model_text("beef-vdw-ch4", text) for text in TEXTS)


def test_cobalt_is_not_carbon_monoxide(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("Co") == ["Co"]
    assert tokenizer.tokenize("CO") == ["C", "O"]


def test_an_element_no_text_held_is_one_token_all_the_same(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert tokenizer.tokenize("ZrHf") == ["Zr", "Hf"]


def test_an_energy_is_six_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("-01.23") == list("-01.23")


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_decode_to_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_level_and_question_frame_the_text(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer.tokenize(model_text("emt", TEXTS[0]))
    assert "".join(tokens).startswith("emt</s>")
    assert tokens[-1] == ANSWER


def test_a_saved_tokenizer_reads_alike(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


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
