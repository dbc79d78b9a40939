"""The settings that fix the shape of a QE-Catalytic network and of its inputs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict

from model.encoders.fairchem import FairchemConfig
from model.encoders.registry import EncoderConfig, encoder_from_json, encoder_to_json
from model.errors import ModelError
from model.network.language.configuration import (
    MOST_LAYERS,
    MOST_TOKENS,
    BaseModel,
    LanguageConfig,
)
from model.stored_values import checked_values

FUSIONS = ("pooled", "atoms")
_ENCODER = "the encoder's configuration"


@dataclass(frozen=True)
class QECatalyticConfig:
    """Everything that fixes the shape of the network and of its input.

    ``fusion`` says what the language model reads of the graph: one pooled token (arXiv:2512.20084)
    or one token for each atom (its authors' follow-up). ``base`` is recorded when training starts.
    """

    encoder: EncoderConfig
    levels: tuple[str, ...]
    vocabulary: int
    adsorbates: tuple[str, ...] = ()  # by name, as texts of the training set have them
    crop_radius_ang: float | None = 6.0  # atoms further from the adsorbate are left out
    fusion: str = "pooled"
    text_facts: bool = True  # what the text says in numbers reaches the regression, too
    language: LanguageConfig = field(default_factory=LanguageConfig)
    encoder_frozen: bool = False  # it never learns, and runs once for each structure
    base: BaseModel | None = None

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        if not 1 <= self.vocabulary <= MOST_TOKENS:
            raise ModelError(f"vocabulary is 1 to {MOST_TOKENS:,} tokens, got {self.vocabulary}")
        if self.base is not None:
            layers = self.base.settings.get("num_hidden_layers")
            if not isinstance(layers, int) or not 1 <= layers <= MOST_LAYERS:
                raise ModelError(f"a base model has 1 to {MOST_LAYERS} layers, got {layers!r}")
        if self.fusion not in FUSIONS:
            raise ModelError(f"fusion is one of {', '.join(FUSIONS)}, got {self.fusion!r}")
        if isinstance(self.encoder, FairchemConfig) and not self.encoder_frozen:
            raise ModelError("an encoder of fairchem stays as it is: set encoder_frozen to true")

    @property
    def has_adapters(self) -> bool:
        """Whether the language model stays as it is but for low-rank adapters."""
        return self.base is not None and self.language.lora_rank > 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as :meth:`from_json` reads them."""
        return asdict(self) | {"encoder": encoder_to_json(self.encoder)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "QECatalyticConfig":
        """Rebuild the configuration that :meth:`to_json` wrote.

        Raises:
            ModelError: it holds what this version does not know.
        """
        encoder = encoder_from_json(checked_values(dict[str, Any], values.get("encoder"), _ENCODER))
        return checked_values(cls, {**values, "encoder": encoder}, "the network's configuration")


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Return, field by field, where two configurations (as JSON) differ: left value, then right."""
    a, b = dict(_flat(left)), dict(_flat(right))
    return [
        f"{name} is {a.get(name, 'nothing')!r}, not {b.get(name, 'nothing')!r}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
