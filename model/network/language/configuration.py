"""The size of a language model and the pretrained model that it starts from."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from model.errors import ModelError

# Sizes beyond them are of no model that a machine of today holds; they end a loop over layers.
MOST_LAYERS = 512
MOST_TOKENS = 2_000_000  # also of widths and of a vocabulary


@dataclass(frozen=True)
class LanguageConfig:
    """The Qwen2.5 decoder: its size or, where ``pretrained`` names one, whose weights it takes."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 384
    max_tokens: int = 512
    pretrained: str = ""  # a folder, or a name on the hub; the sizes above are then its own
    lora_rank: int = 0  # 0 trains every weight; above it, low-rank adapters alone (peft)
    gradient_checkpointing: bool = False  # compute activations twice rather than keep them

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "key_value_heads", "feed_forward", "max_tokens"):
            most = MOST_LAYERS if name == "layers" else MOST_TOKENS
            if not 1 <= getattr(self, name) <= most:
                raise ModelError(
                    f"{name} of a language model is 1 to {most:,}, got {getattr(self, name)}"
                )
        if not 0 <= self.lora_rank <= MOST_TOKENS:
            raise ModelError(f"lora_rank must be 0 (train all) or more, got {self.lora_rank}")
        if self.lora_rank and not self.pretrained:
            raise ModelError(
                f"lora_rank {self.lora_rank} adapts a pretrained model, got none; name its folder "
                "in language.pretrained"
            )


@dataclass(frozen=True)
class BaseModel:
    """The pretrained language model that a network took over, as its folder held it."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    kind: str  # model_type in its configuration
    settings: dict[str, Any]  # its configuration, the language model's part
    vocabulary: int  # tokens it knows; ours follow
    files: dict[str, str]  # configuration and weights: name -> SHA-256
