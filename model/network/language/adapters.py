"""The trained part of a frozen language model: low-rank adapters and added tokens.

Shapes  D width, V tokens of the base model, K added tokens, T tokens of a text, B texts.
Source  Hu et al. 2021, arXiv:2106.09685 (LoRA), as peft implements it.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from model.errors import ModelError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SCALE = 2  # alpha over rank: how much an adapter counts


class ExtendedEmbedding(nn.Module):
    """A frozen embedding, and trained rows for added tokens behind its own."""

    def __init__(self, base: nn.Embedding, vocabulary: int, new: int):
        super().__init__()
        self.base = base  # it may have unused rows beyond the tokens of the base model
        self.vocabulary = vocabulary
        rows_KD = average_rows(base.weight.detach()[:vocabulary].float(), new)
        self.new_KD = nn.Parameter(rows_KD)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return (B, T, D) embeddings."""
        base_BTD: Tensor = self.base(ids_BT.clamp(max=self.vocabulary - 1))
        if not len(self.new_KD):
            return base_BTD
        new_BTD = self.new_KD[(ids_BT - self.vocabulary).clamp(min=0)]
        is_new_BT1 = (ids_BT >= self.vocabulary)[..., None]
        return torch.where(is_new_BT1, new_BTD.to(base_BTD.dtype), base_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Return (B, T, V + K) scores of each token."""
        base_BTV = linear(hidden_BTD, self.base.weight[: self.vocabulary])
        new_BTK = linear(hidden_BTD, self.new_KD.to(hidden_BTD.dtype))
        return torch.cat([base_BTV, new_BTK], dim=-1)


def average_rows(rows_VD: Tensor, new: int) -> Tensor:
    """Return (K, D) rows drawn from the spread of given ones, so that none stands out."""
    noise_KD = torch.randn(new, rows_VD.shape[1]).to(rows_VD)
    return rows_VD.mean(0) + rows_VD.std(0) * noise_KD


def add_adapters(language: nn.Module, rank: int) -> None:
    """Put adapters on the projections of attention and feed-forward, and freeze all else.

    Raises:
        ModelError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # an extra, and slow to import
    except ImportError:
        raise ModelError(
            "lora_rank above 0 needs peft, which is not installed; pip install 'sabatier[lora]'"
        ) from None
    settings = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(PROJECTIONS))
    inject_adapter_in_model(settings, language)
    for name, weight in language.named_parameters():
        weight.requires_grad_(is_adapter(name))


def merge_adapters(language: nn.Module) -> None:
    """Add each adapter to the projection that it sits on, and take it off: an ordinary model."""
    if not any(is_lora(name) for name, _ in language.named_parameters()):
        return
    from peft.tuners.lora import LoraLayer  # whoever added them has it

    adapted = [(n, m) for n, m in language.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in adapted:
        layer.merge(safe_merge=True)
        parent, _, leaf = name.rpartition(".")
        setattr(language.get_submodule(parent), leaf, layer.get_base_layer())


def is_lora(name: str) -> bool:
    """Return whether a weight is that of a low-rank adapter."""
    return "lora_" in name


def is_adapter(name: str) -> bool:
    """Return whether a weight of an adapted language model, named within it, is learnt."""
    return is_lora(name) or name.endswith("embed_tokens.new_KD")
