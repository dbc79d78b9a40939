"""QE-Catalytic: an EquiformerV2 graph encoder coupled to a Qwen2.5 language model.

Shapes  B systems, N atoms, T tokens, C encoder channels, D language width, L levels of theory,
        V vocabulary, Z = 95 atomic numbers.
Units   energies in eV; inside the network a level's energies are standardised.
Source  arXiv:2512.20084. The graph's invariant features are pooled, projected and read by the
        language model before the text. Two heads answer: a regression and the energy as tokens.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, Qwen2Config, Qwen2Model

from model.elements import MAX_ATOMIC_NUMBER, standardised_properties
from model.equiformer_v2.config import EquiformerV2Config
from model.equiformer_v2.encoder import EquiformerV2
from model.graph import ADSORBATE_TAG, GraphBatch


@dataclass(frozen=True)
class LanguageConfig:
    """The size of the Qwen2.5 decoder."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 384
    max_tokens: int = 512


@dataclass(frozen=True)
class QECatalyticConfig:
    """Everything that fixes the shape of the network and of its input."""

    encoder: EquiformerV2Config
    levels: tuple[str, ...]
    vocabulary: int
    crop_radius_ang: float = 6.0  # atoms further than this from the adsorbate are left out
    language: LanguageConfig = field(default_factory=LanguageConfig)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as :meth:`from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "QECatalyticConfig":
        """Rebuild the configuration that :meth:`to_json` wrote."""
        return cls(
            **{
                **values,
                "encoder": EquiformerV2Config(**values["encoder"]),
                "language": LanguageConfig(**values["language"]),
                "levels": tuple(values["levels"]),
            }
        )


@dataclass(frozen=True)
class Batch:
    """Several configurations for one forward pass; texts are padded on the left."""

    graph: GraphBatch
    token_ids_BT: Tensor
    is_token_BT: Tensor
    level_B: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.graph.to(device),
            self.token_ids_BT.to(device),
            self.is_token_BT.to(device),
            self.level_B.to(device),
        )


class LevelScale(nn.Module):
    """Offset and scale of each level of theory, with an offset for each adsorbate atom.

    A label is an energy of formation from references, so its mean is linear in the adsorbate's
    composition; the network learns what is left.
    """

    def __init__(self, levels: int):
        super().__init__()
        self.register_buffer("offset_L", torch.zeros(levels))
        self.register_buffer("scale_L", torch.ones(levels))
        self.register_buffer("atom_offset_LZ", torch.zeros(levels, MAX_ATOMIC_NUMBER + 1))

    offset_L: Tensor
    scale_L: Tensor
    atom_offset_LZ: Tensor

    def reference(self, batch: Batch) -> Tensor:
        """Return (B,) the energy in eV that composition alone suggests."""
        graph = batch.graph
        is_adsorbate_N = graph.tags_N == ADSORBATE_TAG
        system = graph.system_N[is_adsorbate_N]
        atoms = self.atom_offset_LZ[batch.level_B[system], graph.numbers_N[is_adsorbate_N]]
        return self.offset_L[batch.level_B].index_add(0, system, atoms)

    def to_ev(self, standard_B: Tensor, batch: Batch) -> Tensor:
        """Return (B,) energies in eV from standardised ones."""
        return standard_B * self.scale_L[batch.level_B] + self.reference(batch)

    def to_standard(self, energy_B: Tensor, batch: Batch) -> Tensor:
        """Return (B,) standardised energies from those in eV."""
        return (energy_B - self.reference(batch)) / self.scale_L[batch.level_B]


class GraphPooling(nn.Module):
    """Invariant node features to one vector: adsorbate sum, adsorbate mean, maximum over all."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.node = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.atom = nn.Linear(width, 1)

    def forward(self, invariant_NC: Tensor, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the (B, D) pooled vector and (B,) the sum of the adsorbate's atom energies.

        A bound molecule's energy grows with its atoms; a sum says so without having to learn it.
        """
        node_ND = self.node(invariant_NC)
        empty_BD = node_ND.new_zeros(graph.n_systems, node_ND.shape[1])
        is_adsorbate_N = (graph.tags_N == ADSORBATE_TAG).to(node_ND.dtype)
        total_BD = empty_BD.index_add(0, graph.system_N, node_ND * is_adsorbate_N[:, None])
        count_B = empty_BD[:, 0].index_add(0, graph.system_N, is_adsorbate_N).clamp(min=1)
        system_ND = graph.system_N[:, None].expand_as(node_ND)
        highest_BD = empty_BD.scatter_reduce(0, system_ND, node_ND, "amax", include_self=False)
        # A sum over ten atoms and a sum over one should enter the mixer at comparable size.
        pooled = [0.2 * total_BD, total_BD / count_B[:, None], highest_BD]
        atoms_B = self.atom(0.2 * total_BD)[:, 0]
        return self.mix(torch.cat(pooled, dim=-1)), atoms_B


@dataclass(frozen=True)
class Reading:
    """What the language model holds once graph and text are read."""

    hidden_BTD: Tensor
    graph_BD: Tensor
    atoms_B: Tensor  # standardised sum over the adsorbate's atoms
    cache: DynamicCache | None


class QECatalytic(nn.Module):
    """Graph and text in; a regression and energy tokens out."""

    def __init__(self, config: QECatalyticConfig, *, graph_token: int):
        super().__init__()
        self.config = config
        self.graph_token = graph_token
        width = config.language.width
        self.encoder = EquiformerV2(config.encoder)
        self.pooling = GraphPooling(config.encoder.sphere_channels, width)
        self.projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.language = Qwen2Model(_qwen(config))
        self.regression = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 1))
        self.spread = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 1))
        self.scale = LevelScale(len(config.levels))
        self._start_from_periodic_table()

    def _start_from_periodic_table(self) -> None:
        """Let chemically alike elements begin alike, so that rare ones borrow from common ones."""
        weight = self.encoder.sphere_embedding.weight
        properties_ZP = torch.from_numpy(standardised_properties()).to(weight)
        rows = min(len(weight), len(properties_ZP))
        mixer_PC = torch.randn(properties_ZP.shape[1], weight.shape[1]) / properties_ZP.shape[1]
        with torch.no_grad():
            weight[:rows] = 0.1 * weight[:rows] + properties_ZP[:rows] @ mixer_PC

    def read(self, batch: Batch, *, keep_cache: bool = False) -> Reading:
        """Encode the graphs, then read graph and text."""
        graph_BD, atoms_B = self.pooling(self.encoder.invariants(batch.graph), batch.graph)
        embedded_BTD = self.language.embed_tokens(batch.token_ids_BT)
        is_graph_BT1 = (batch.token_ids_BT == self.graph_token)[..., None]
        embedded_BTD = torch.where(
            is_graph_BT1, self.projection(graph_BD)[:, None, :], embedded_BTD
        )
        read = self.language(
            inputs_embeds=embedded_BTD,
            attention_mask=batch.is_token_BT,
            position_ids=positions(batch.is_token_BT),
            use_cache=keep_cache,
        )
        return Reading(read.last_hidden_state, graph_BD, atoms_B, read.past_key_values)

    def regress(self, reading: Reading, question: int) -> tuple[Tensor, Tensor]:
        """Return (B,) standardised energies and (B,) log of their expected absolute error.

        ``question`` is the position of the token that asks for the energy.

        The spread learns from features it may not bend: accuracy is not traded for doubt.
        """
        seen_BE = torch.cat([reading.hidden_BTD[:, question], reading.graph_BD], dim=-1)
        energy_B = reading.atoms_B + self.regression(seen_BE)[:, 0]
        return energy_B, self.spread(seen_BE.detach())[:, 0]

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Return (B, T, V) next-token scores, through the tied embedding."""
        return hidden_BTD @ self.language.embed_tokens.weight.T


def positions(is_token_BT: Tensor) -> Tensor:
    """Return (B, T) positions that count real tokens only, padding at 0."""
    return (is_token_BT.long().cumsum(-1) - 1).clamp(min=0)


def _qwen(config: QECatalyticConfig) -> Qwen2Config:
    language = config.language
    return Qwen2Config(
        vocab_size=config.vocabulary,
        hidden_size=language.width,
        intermediate_size=language.feed_forward,
        num_hidden_layers=language.layers,
        num_attention_heads=language.heads,
        num_key_value_heads=language.key_value_heads,
        max_position_embeddings=2 * language.max_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
