"""Published files in miniature: pretrained language models and encoder weights."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from model.encoders.equiformer_v2 import EquiformerV2, EquiformerV2Config

TEXTS = ["O</s>Cu (1 1 1)</s>[O Cu atop [Cu Cu]]", "beef-vdw-ch4 emt +01.23 -45.67 89"]
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
UNUSED = 7  # rows of the embedding beyond the tokenizer, as the published models have


def tokenizer(folder: Path, *, single_digits: bool = True, texts: list[str] = TEXTS) -> int:
    """Write a byte-level tokenizer that knows none of our tokens; return its size."""
    made = Tokenizer(models.BPE())
    digits = [pre_tokenizers.Digits(individual_digits=True)] if single_digits else []
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [*digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return int(made.get_vocab_size())


def qwen(folder: Path, **changes: object) -> Path:
    """Write a tiny Qwen2.5."""
    torch.manual_seed(0)
    settings = SIZES | changes
    rope = {"rope_type": "default", "rope_theta": 1e6}
    config = Qwen2Config(vocab_size=tokenizer(folder) + UNUSED, rope_parameters=rope, **settings)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def qwen_vl(folder: Path, *, is_flat: bool = False) -> Path:
    """Write a tiny Qwen2.5-VL, eyes included; its configuration flat, as the first ones were."""
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    config = Qwen2_5_VLConfig(
        text_config={
            **SIZES,
            "vocab_size": tokenizer(folder) + UNUSED,
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": None,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        tie_word_embeddings=True,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    if is_flat:
        _flatten(folder / "config.json")
    return folder


def _flatten(file: Path) -> None:
    values = json.loads(file.read_text())
    values = values.pop("text_config") | values
    rope = values.pop("rope_parameters")
    values["rope_theta"] = rope["rope_theta"]
    values["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    file.write_text(json.dumps(values))


def qwen_vl_flat(folder: Path) -> Path:
    """Write a tiny Qwen2.5-VL whose configuration is flat."""
    return qwen_vl(folder, is_flat=True)


def equiformer(file: Path, config: EquiformerV2Config) -> Path:
    """Write an EquiformerV2 as the published files hold one: prefixes, heads and constants too."""
    torch.manual_seed(0)
    state = {
        f"module.module.{name}": value for name, value in EquiformerV2(config).state_dict().items()
    }
    state |= {
        "module.module.SO3_rotation.0.mapping.to_m": torch.zeros(1),
        "module.module.energy_block.so3_linear_1.weight": torch.zeros(1),
        "module.module.force_block.alpha_dot": torch.zeros(1),
    }
    held = {
        "epoch": 2,
        "step": 10,
        "state_dict": state,
        "normalizers": {"target": {"mean": torch.tensor(-0.7), "std": torch.tensor(2.2)}},
        "config": {"model": "equiformer_v2", "model_attributes": {"num_layers": config.num_layers}},
    }
    torch.save(held, file)
    return file
