"""Folders of pretrained Qwen2.5 models: found, checked, hashed, and their tokenizers extended."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, PreTrainedTokenizerFast

from model.errors import ModelError
from model.network.language.configuration import BaseModel
from model.text.configuration_text import SEPARATOR
from model.text.tokenizer import (
    ALLOWED_CHARACTERS,
    ANSWER,
    END,
    GRAPH,
    PAD,
    load_tokenizer,
)

LANGUAGE_KINDS = ("qwen2", "qwen2_5_vl", "qwen2_5_vl_text")
WEIGHT_FILES = "*.safetensors"
INDEX = "model.safetensors.index.json"
_WANTED = ("config.json", INDEX, WEIGHT_FILES, "tokenizer.json")


def find_base(name: str) -> Path:
    """Return the folder of a base model: a path, or a name on the hub (its local cache first).

    Raises:
        ModelError: there is neither a folder nor a model of that name.
    """
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"a base model is a folder or a name on the hub such as Qwen/Qwen2.5-0.5B, and there "
            f"is no folder {name}; put it there, or a link to it, or set language.pretrained"
        )
    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=list(_WANTED)))
    except (LocalEntryNotFoundError, HFValidationError):
        return _download(name)


def _download(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, ValueError) as error:  # what the hub and the network raise derives from them
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"base model {name} is neither a folder here nor in the hub's cache, and the hub does "
            f"not give it ({type(error).__name__}: {first}); give a folder in language.pretrained"
        ) from None


def describe_base(folder: Path) -> BaseModel:
    """Return the description of a base model in a folder.

    Args:
        folder: A folder as Hugging Face writes it.

    Returns:
        The kind, the settings, the tokens it knows and the hashes of its files.

    Raises:
        ModelError: it is no Qwen2.5 model, or a file is missing or broken.
    """
    values = _configuration(folder)
    kind = str(values.get("model_type", "a model of no type"))
    if kind not in LANGUAGE_KINDS:
        raise ModelError(
            f"a base model must be a Qwen2.5 or Qwen2.5-VL ({', '.join(LANGUAGE_KINDS)}), {folder} "
            f"holds {kind}; choose another folder"
        )
    weights = sorted(folder.glob(WEIGHT_FILES))
    if not weights:
        raise ModelError(
            f"{folder} must hold weights as {WEIGHT_FILES}, got none; download them too"
        )
    heads = [name for file in weights for name in _heads(file)]
    if heads and not values.get("tie_word_embeddings"):
        raise ModelError(
            f"the energy's tokens are scored by the embedding, but {folder} has an lm_head of its "
            "own (tie_word_embeddings is false); choose a model of up to 3B parameters"
        )
    return BaseModel(kind, _text_settings(folder), _known(folder), _hashes(folder))


def _text_settings(folder: Path) -> dict[str, Any]:
    """Return the language model's part of a configuration, old flat ones of Qwen2.5-VL too."""
    text = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    settings: dict[str, Any] = json.loads(text.to_json_string(use_diff=False))
    settings.pop("transformers_version", None)
    return settings


def check_base(folder: Path, base: BaseModel) -> None:
    """Compare a folder with the base model that a checkpoint was trained on.

    Raises:
        ModelError: a file is missing or differs; it is named.
    """
    found = _hashes(folder)
    odd = [
        f"{name} {'is missing' if name not in found else 'differs'}"
        for name, expected in base.files.items()
        if found.get(name) != expected
    ]
    if odd:
        raise ModelError(
            f"the base model in {folder} must be the one that was trained on: {', '.join(odd)}; "
            "restore those files"
        )


def base_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the base model's tokenizer with our own tokens behind its own.

    Raises:
        ModelError: there is none, or it has no token for a character of an energy.
    """
    file = folder / "tokenizer.json"
    _known(folder)
    tokenizer = load_tokenizer(file)
    example = "+01.23"
    single = sorted({character for position in ALLOWED_CHARACTERS for character in position})
    if lacking := [character for character in single if character not in tokenizer.get_vocab()]:
        raise ModelError(
            f"each character of an energy must be one token, {file} has none for "
            f"{' '.join(lacking)}; choose another base model"
        )
    if (tokens := tokenizer.tokenize(example)) != list(example):
        raise ModelError(
            f"each character of an energy must be one token, {file} reads {example} as "
            f"{' '.join(tokens)}; choose another base model"
        )
    tokenizer.add_tokens([PAD, END, GRAPH, ANSWER, SEPARATOR], special_tokens=True)
    return tokenizer


def _known(folder: Path) -> int:
    """Return how many tokens a base model knows."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError(f"a base model needs its tokenizer, there is no {file}; download it too")
    try:
        return int(Tokenizer.from_file(str(file)).get_vocab_size())
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise ModelError(f"{file} is not a tokenizer: {error}") from None


def _configuration(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        held = ", ".join(sorted(each.name for each in folder.iterdir())[:5]) or "nothing"
        raise ModelError(
            f"a base model's folder has a config.json, {folder} holds {held}; choose another folder"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
    return values


def _heads(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as weights:
            return [name for name in weights.keys() if name.endswith("lm_head.weight")]  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{file} is broken: {error}; download it again") from None


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that the model depends on."""
    files = [folder / "config.json", folder / INDEX, *sorted(folder.glob(WEIGHT_FILES))]
    return {
        file.name: _sha256(file, file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file()
    }


@cache
def _sha256(file: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  they key the cache
    """Hash a file once for each process: several members may share gigabytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
