"""What fixes the shape of a QE-Catalytic network and of what it reads."""

from dataclasses import asdict, dataclass, field
from typing import Any

from model.encoders import EncoderConfig, encoder_from_json, encoder_to_json
from model.errors import ModelError

FUSIONS = ("pooled", "atoms")


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


@dataclass(frozen=True)
class QECatalyticConfig:
    """Everything that fixes the shape of the network and of its input.

    ``fusion`` says what the language model reads of the graph: one pooled token (arXiv:2512.20084)
    or one token for each atom (its authors' follow-up).
    """

    encoder: EncoderConfig
    levels: tuple[str, ...]
    vocabulary: int
    crop_radius_ang: float | None = 6.0  # atoms further from the adsorbate are left out
    fusion: str = "pooled"
    language: LanguageConfig = field(default_factory=LanguageConfig)

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise ModelError(f"fusion is one of {', '.join(FUSIONS)}, got {self.fusion!r}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as :meth:`from_json` reads them."""
        return asdict(self) | {"encoder": encoder_to_json(self.encoder)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "QECatalyticConfig":
        """Rebuild the configuration that :meth:`to_json` wrote."""
        return cls(
            **{
                **values,
                "encoder": encoder_from_json(values["encoder"]),
                "language": LanguageConfig(**values["language"]),
                "levels": tuple(values["levels"]),
            }
        )
