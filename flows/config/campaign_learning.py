"""What a campaign file may say of learning: how labels become a better model, and when to stop."""

from typing import Literal

from pydantic import Field

from flows.config.strict import YamlModel


class Learning(YamlModel):
    """How the loop fine-tunes after each round, and when it gives up.

    ``method: auto`` chooses by the number of labels; ``replay`` is the share of an epoch that
    repeats what the model knew before. A loop stops where ``patience`` rounds in a row found
    nothing and taught nothing.
    """

    method: Literal["auto", "heads", "lora", "all"] = "auto"
    replay: float = Field(default=0.5, ge=0, lt=1)
    patience: int = Field(default=2, ge=1)
