"""Tokens keep chemistry whole and lose nothing."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from model.text.tokenizer import (
    ANSWER,
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
