"""Designers for tests: an untrained one in a checkpoint, and one that follows a script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2Model

from model.checkpoint import Checkpoint, seal
from model.contract import BondRule, Configuration, Domain, LevelDomain, Prediction
from model.generation.design import DESIGNER_WEIGHTS, SETTINGS, designer_settings, seen_levels
from model.generation.stream_grammar import StreamConstraints
from model.generation.stream_sampler import SampledStream, Sampling
from model.generation.structure_stream import Structure, encode_stream
from model.text.stream_tokens import stream_tokens
from model.text.tokenizer import model_text, save_tokenizer, train_tokenizer
from support.tiny import ROWS


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
    save_file(Qwen2Model(language).state_dict(), folder / DESIGNER_WEIGHTS)
    settings = {"designer": designer_settings(language, seen_levels(ROWS))}
    (folder / SETTINGS).write_text(json.dumps(settings))
    return seal(folder, kind)


@dataclass
class Language:
    device: str = "cpu"


@dataclass
class ScriptedSampler:
    """Writes given structures in turn, and remembers what it was asked."""

    script: Sequence[Structure | None]
    language: Language = field(default_factory=Language)
    prompts: list[tuple[str, StreamConstraints]] = field(default_factory=list)

    def write(
        self,
        prompts: Sequence[str],
        wanted: Sequence[StreamConstraints],
        sampling: Sampling,
        draw: torch.Generator,
    ) -> list[SampledStream]:
        self.prompts += list(zip(prompts, wanted, strict=True))
        start = len(self.prompts) - len(prompts)
        turns = [self.script[(start + i) % len(self.script)] for i in range(len(prompts))]
        return [SampledStream(() if s is None else tuple(encode_stream(s)), s) for s in turns]


@dataclass
class LayerPredictor:
    """Answers the height of the adsorbate above the slab, as an energy."""

    checkpoint_sha256: str = "0" * 64
    bond_rule: BondRule = "radii"
    domain: Domain = field(default_factory=lambda: Domain({"emt": LevelDomain()}))

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        return [self._one(configuration) for configuration in configurations]

    def _one(self, c: Configuration) -> Prediction:
        height = c.positions_N3[c.tags_N == 2, 2].min() - c.positions_N3[c.tags_N == 1, 2].max()
        return Prediction(c.candidate_id, c.level, "0" * 64, -height, 0.1, -height, -height, True)
