"""The Qwen2.5 language model that reads texts and structures.

Shapes  D width, V vocabulary, P element properties.

It is small and untrained, or takes over pretrained weights: those of a Qwen2.5, or of a Qwen2.5-VL
without its eyes, which reads text as a Qwen2.5 does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ase.data import atomic_numbers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model
from transformers.utils import logging as transformers_logging

from model.elements import standardised_properties
from model.errors import ModelError
from model.network.config import QECatalyticConfig
from model.network.language.adapters import ExtendedEmbedding, add_adapters, average_rows
from model.network.language.base_model import check_base, find_base
from model.network.language.configuration import BaseModel, LanguageConfig
from model.text.stream_tokens import stream_embeddings, stream_tokens

CPU = torch.device("cpu")


def small_language(config: LanguageConfig, vocabulary: int) -> Qwen2Model:
    """Return an untrained Qwen2.5 decoder of the configured sizes."""
    return Qwen2Model(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.key_value_heads,
            max_position_embeddings=2 * config.max_tokens,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    )


def build_language(config: QECatalyticConfig, device: torch.device = CPU) -> Any:
    """Return a language model as a checkpoint's weights expect it.

    A small one, or one of which every weight was trained, is empty. Under adapters it holds the
    weights of its base, in the precision that ``device`` is to run it in.

    Raises:
        ModelError: the base model is not there or is another one.
    """
    if config.base is None:
        return _ready(small_language(config.language, config.vocabulary), config.language)
    if config.has_adapters:
        folder = find_base(config.language.pretrained)
        check_base(folder, config.base)
        return pretrained_language(config, folder, device)
    settings, model = _classes(config.base.kind)
    language = model(settings(**config.base.settings))
    language.resize_token_embeddings(config.vocabulary, mean_resizing=False)
    return _ready(language, config.language)


def pretrained_language(config: QECatalyticConfig, folder: Path, device: torch.device = CPU) -> Any:
    """Return the base model of a folder with our tokens, and adapters where configured.

    What is trained whole is held in float32; what is frozen is read in bfloat16 on a GPU.
    """
    if config.base is None:
        raise ValueError("a pretrained model is described before it is loaded: config.base")
    half = config.has_adapters and device.type == "cuda"
    language = _load(config.base, folder, torch.bfloat16 if half else torch.float32)
    new = config.vocabulary - config.base.vocabulary
    if config.has_adapters:
        language.set_input_embeddings(
            ExtendedEmbedding(language.get_input_embeddings(), config.base.vocabulary, new)
        )
        add_adapters(language, config.language.lora_rank)
    else:
        _resize(language, config.base.vocabulary, new)
    return _ready(language, config.language)


def _load(base: BaseModel, folder: Path, dtype: torch.dtype) -> Any:
    settings, model = _classes(base.kind)
    try:
        with _quiet():
            language, report = model.from_pretrained(
                folder,
                config=settings(**base.settings),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,  # never a pickle that lies beside them
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"the base model in {folder} cannot be loaded: {first}") from None
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"the base model in {folder} lacks {len(missing)} weights, first "
            f"{', '.join(missing[:3])}; download it again"
        )
    return language


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting that a VL checkpoint's eyes are left out."""
    verbosity, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _classes(kind: str) -> tuple[Any, Any]:
    if kind == "qwen2":
        return Qwen2Config, Qwen2Model
    # Takes a second: the module brings a vision model's dependencies.
    from transformers import Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel

    return Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel


def _resize(language: Any, vocabulary: int, new: int) -> None:
    """Keep the rows of tokens that the tokenizer knows and add ours, each like an average one."""
    language.resize_token_embeddings(vocabulary + new, mean_resizing=False)
    weight_VD = language.get_input_embeddings().weight
    with torch.no_grad():
        weight_VD[vocabulary:] = average_rows(weight_VD[:vocabulary], new)


def _ready(language: Any, config: LanguageConfig) -> Any:
    if config.gradient_checkpointing:
        # Renamed within transformers 5: the new name is not everywhere, the old one warns.
        new = getattr(language, "activation_checkpointing_enable", None)
        (new or language.gradient_checkpointing_enable)({"use_reentrant": False})
    return language


def initialise_elements(model: Qwen2Model, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the tokens of chemically alike elements begin alike.

    The knowledge of elements is what a language model of this size lacks; with it, a rare element
    borrows from common ones. Tokens that spell no element keep their random start.
    """
    weight_VD = model.embed_tokens.weight
    properties_ZP = torch.from_numpy(standardised_properties()).to(weight_VD)
    mixer_PD = torch.randn(properties_ZP.shape[1], weight_VD.shape[1])
    mixer_PD *= weight_VD.std() / properties_ZP.shape[1] ** 0.5
    with torch.no_grad():
        for token in range(len(tokenizer)):
            number = atomic_numbers.get(str(tokenizer.decode([token])).strip(), 0)
            if 0 < number < len(properties_ZP):
                weight_VD[token] = 0.3 * weight_VD[token] + properties_ZP[number] @ mixer_PD


def initialise_stream_tokens(model: Qwen2Model, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let neighbouring bins of structure streams begin alike, where the tokenizer holds them."""
    weight_VD = model.embed_tokens.weight.detach()
    vocabulary = tokenizer.get_vocab()
    names = stream_tokens()
    if names[0] not in vocabulary:
        return
    start_SD = stream_embeddings(weight_VD.shape[1], std=weight_VD.std().item())
    weight_VD[[vocabulary[name] for name in names]] = torch.from_numpy(start_SD).to(weight_VD)
