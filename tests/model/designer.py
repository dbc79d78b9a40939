"""A designer small enough for a test, in a checkpoint folder of its own."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny import ROWS
from transformers import Qwen2Config, Qwen2Model

from model.checkpoint import Checkpoint, seal
from model.design import SETTINGS, WEIGHTS, designer_settings, seen_levels
from model.stream_tokens import stream_tokens
from model.tokenizer import model_text, save_tokenizer, train_tokenizer


def designer_checkpoint(folder: Path, kind: str = "qe-catalytic") -> Checkpoint:
    """Write an untrained designer that has seen H, C, N and O on four metals."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(model_text(row.level, row.text) for row in ROWS)
    tokenizer.add_tokens(stream_tokens(), special_tokens=True)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    torch.manual_seed(0)
    language = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    save_file(Qwen2Model(language).state_dict(), folder / WEIGHTS)
    settings = {"designer": designer_settings(language, seen_levels(ROWS))}
    (folder / SETTINGS).write_text(json.dumps(settings))
    return seal(folder, kind)
