"""The tokenizer of configuration texts and energies: byte-level BPE that keeps chemistry whole.

An element symbol is never split or merged with its neighbour, and a digit always stands alone, so
``CO`` is carbon and oxygen while ``Co`` is cobalt, and ``+01.23`` is six tokens: the sign comes
first and the width never changes, so that decoding can be constrained to the characters that may
stand at each position.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ase.data import chemical_symbols
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from model.errors import ModelError, shortened
from model.text.configuration_text import SEPARATOR

PAD, END, GRAPH, ANSWER = "<pad>", "<end>", "<graph>", "<energy>"
WIDTH = 6  # characters of an energy, each one token
LIMIT_EV = 99.99
_VOCABULARY = 1024
DIGITS = "0123456789"
ALLOWED_CHARACTERS = ("+-", DIGITS, DIGITS, ".", DIGITS, DIGITS)  # at each position
_PIECES = r"</s>| ?[A-Z][a-z]?| ?[a-z][a-z-]*|\d| ?\[|\]| "


def train_tokenizer(texts: Iterable[str], *, whole: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Learn the merges of ``texts``; every element symbol and digit is a token from the start.

    ``whole`` are further tokens that are never split, on top of the vocabulary: those of streams.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY + len(whole),
        special_tokens=[PAD, END, GRAPH, ANSWER, SEPARATOR, *whole],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_every_element(texts), trainer)
    return _wrap(tokenizer)


def _with_every_element(texts: Iterable[str]) -> Iterator[str]:
    yield from texts
    for symbol in chemical_symbols[1:]:  # twice each: BPE merges nothing it saw once
        yield f"{symbol} {symbol} {symbol} {symbol}{symbol}"


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, padding_side="left"
    )


def load_tokenizer(file: Path, vocabulary: int | None = None) -> PreTrainedTokenizerFast:
    """Read a ``tokenizer.json``.

    Args:
        file: The file.
        vocabulary: How many tokens the network knows that reads its ids; None where none does.

    Returns:
        The tokenizer.

    Raises:
        ModelError: it is no tokenizer, or has tokens that the network does not know.
    """
    try:
        tokenizer = _wrap(Tokenizer.from_file(str(file)))
    except Exception as error:  # the library raises bare exceptions
        raise ModelError(f"{file} is not a tokenizer: {shortened(str(error), 200)}") from None
    last = max(tokenizer.get_vocab().values(), default=-1)
    if vocabulary is not None and last >= vocabulary:
        raise ModelError(
            f"{file} has a token of number {last}, its network knows {vocabulary:,} tokens; "
            "restore the folder or train it again"
        )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, file: Path) -> None:
    """Write a ``tokenizer.json``."""
    tokenizer.backend_tokenizer.save(str(file))


def token_ids(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[str]) -> list[int]:
    """Return the ids of tokens, one by one.

    Raises:
        ModelError: the tokenizer has no such token.
    """
    vocabulary = tokenizer.get_vocab()
    try:
        return [vocabulary[token] for token in tokens]
    except KeyError as missing:
        raise ModelError(
            f"a tokenizer of this model has the token {missing.args[0]!r}, this one has none; "
            "restore the checkpoint or train it again"
        ) from None


def model_text(level: str, text: str) -> str:
    """Return the text that follows the graph: level, configuration text, question."""
    return f"{level}{SEPARATOR}{text}{ANSWER}"


def format_energy(energy_ev: float) -> str:
    """Return ``energy_ev`` as six characters, rounded to 0.01 eV.

    Raises:
        ModelError: the energy is not a number or beyond +-99.99 eV.
    """
    if not math.isfinite(energy_ev) or abs(energy_ev) > LIMIT_EV:
        raise ModelError(f"energy must be a number within +-{LIMIT_EV} eV, got {energy_ev}")
    text = f"{energy_ev:+06.2f}"
    return "+00.00" if text == "-00.00" else text
