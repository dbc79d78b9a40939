"""The Qwen2.5 language model that reads texts and structures.

Shapes  D width, V vocabulary, P element properties.
"""

import torch
from ase.data import atomic_numbers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

from model.config import LanguageConfig
from model.elements import standardised_properties


def small_language(config: LanguageConfig, vocabulary: int) -> Qwen2Model:
    """Return an untrained Qwen2.5 decoder of the sizes asked for."""
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


def start_from_periodic_table(model: Qwen2Model, tokenizer: PreTrainedTokenizerFast) -> None:
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
