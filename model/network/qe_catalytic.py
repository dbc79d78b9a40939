"""QE-Catalytic: a graph encoder coupled to a Qwen2.5 language model.

Shapes  B systems, N atoms, T tokens, C encoder channels, D language width, L levels of theory,
        V vocabulary, G graph tokens, Z = 95 atomic numbers.
Units   energies in eV; inside the network a level's energies are standardised.
Source  arXiv:2512.20084. The graph's invariant features are pooled, projected and read by the
        language model before the text. Two heads answer: a regression and the energy as tokens.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import DynamicCache

from model.contract import ADSORBATE_TAG, SURFACE_TAG
from model.data.graph import GraphBatch
from model.elements import MAX_ATOMIC_NUMBER, standardised_properties
from model.encoders.cache import FrozenEncoder
from model.encoders.equiformer_v2.encoder import EquiformerV2
from model.encoders.fairchem import FairchemEncoder
from model.encoders.painn.encoder import Painn
from model.encoders.registry import build_encoder
from model.network.batches import Batch
from model.network.config import QECatalyticConfig
from model.network.language.adapters import ExtendedEmbedding, is_adapter
from model.network.language.build import build_language
from model.network.scale import LevelScale
from model.network.shared_weights import SharesWeights
from model.text.text_facts import TextFacts

EncoderModule = EquiformerV2 | Painn | FrozenEncoder


@dataclass(frozen=True)
class GraphFeatures:
    """The encoder's features of a batch; rows of systems without atoms mean nothing."""

    node_ND: Tensor
    pooled_BD: Tensor
    level_BD: Tensor  # the level of theory, in the words of the pooled features
    atoms_B: Tensor  # standardised sum over the adsorbate's atoms
    has_graph_B: Tensor


@dataclass(frozen=True)
class TextEncoding:
    """Features of texts without the language model: their numbers, and their adsorbates' names."""

    facts_BD: Tensor
    adsorbate_B: Tensor  # standardised offset of the adsorbate


@dataclass(frozen=True)
class LanguageStates:
    """States of the language model after it read graph and text."""

    hidden_BTD: Tensor
    graph: GraphFeatures
    text: TextEncoding
    cache: DynamicCache | None


class QECatalytic(SharesWeights):
    """Graph and text, or text alone, in; a regression and energy tokens out.

    An ``encoder`` or a ``language`` model that is given is taken as it is; without them both are
    as the configuration says. A frozen encoder and the base of adapters are shared.
    """

    def __init__(
        self,
        config: QECatalyticConfig,
        *,
        graph_token: int,
        encoder: EncoderModule | None = None,
        language: Any = None,
    ):
        super().__init__()
        self.config = config
        self.graph_token = graph_token
        self.encoder = new_encoder(config) if encoder is None else encoder
        self.language = build_language(config) if language is None else language
        width = self.language.config.hidden_size
        self.condition = nn.Linear(MAX_ATOMIC_NUMBER + 1, self.encoder.channels, bias=False)
        self.pooling = GraphPooling(self.encoder.channels, width)
        self.projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.facts = TextFacts(width, len(config.levels), len(config.adsorbates))
        self.level = nn.Embedding(len(config.levels), width)  # which no graph says
        self.regression = _head(3 * width, width)
        self.recall = _head(2 * width, width)  # answers where there is no graph
        self.spread = _head(3 * width, width)
        # Stage 0 teaches what graph and numbers say; what is read sets in where that ended.
        _zero_inputs(self.regression, slice(0, width), slice(2 * width, None))
        _zero_inputs(self.recall, slice(0, width))
        self.scale = LevelScale(len(config.levels), len(config.adsorbates))
        self.graph_side = nn.Linear(width, width, bias=False)
        self.text_side = nn.Linear(width, width, bias=False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))

    def _is_shared(self, name: str) -> bool:
        part, _, rest = name.partition(".")
        if part == "language":
            return self.config.has_adapters and not is_adapter(rest)
        return part == "encoder" and self.config.encoder_frozen

    def graph_parts(self) -> tuple[nn.Module, ...]:
        """Return all that turns structures into features."""
        return (self.encoder, self.condition, self.pooling, self.level)

    def encode_graph(self, batch: Batch) -> GraphFeatures:
        """Encode the graphs, each with its adsorbate's composition as a condition.

        A frozen encoder's input stays as it is: there the condition joins its output.
        """
        graph = batch.graph
        condition_NC = self.condition(batch.adsorbate_BZ)[graph.system_N]
        if isinstance(self.encoder, FrozenEncoder):
            invariant_NC = self.encoder.invariants(graph) + condition_NC
        else:
            invariant_NC = self.encoder.invariants(graph, condition_NC)
        node_ND, pooled_BD, atoms_B = self.pooling(invariant_NC, graph)
        has_graph_B = torch.bincount(graph.system_N, minlength=graph.n_systems) > 0
        pooled_BD = torch.where(has_graph_B[:, None], pooled_BD, 0.0)
        level_BD = self.level(batch.level_B)
        return GraphFeatures(node_ND, pooled_BD, level_BD, atoms_B, has_graph_B)

    def read(self, batch: Batch, *, keep_cache: bool = False) -> LanguageStates:
        """Encode the graphs, then read graph and text."""
        graph = self.encode_graph(batch)
        embedded_BTD = self._vocabulary()(batch.token_ids_BT)
        is_graph_BT1 = (batch.token_ids_BT == self.graph_token)[..., None]
        # Tokens stand in the order of systems and, within one, of atoms: as the rows do.
        graph_GD = self.projection(
            graph.node_ND if self.config.fusion == "atoms" else graph.pooled_BD[graph.has_graph_B]
        )
        embedded_BTD = embedded_BTD.masked_scatter(is_graph_BT1, graph_GD.to(embedded_BTD.dtype))
        read = self.language(
            inputs_embeds=embedded_BTD,
            attention_mask=batch.is_token_BT,
            position_ids=position_ids(batch.is_token_BT),
            use_cache=keep_cache,
        )
        return LanguageStates(read.last_hidden_state, graph, self.encode_text(batch), read.cache)

    def encode_text(self, batch: Batch) -> TextEncoding:
        """Return the features of the texts, without the language model."""
        facts_BD = self.facts(batch.named)
        if not self.config.text_facts:
            facts_BD = torch.zeros_like(facts_BD)
        return TextEncoding(facts_BD, self.scale.adsorbate_offset(batch))

    def align(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (B, D) graph and (B, D) text features of length one, for stage 1.

        The text is read without its graph, and its features are the mean over its tokens.
        """
        graph_BD = self.graph_side(self.encode_graph(batch).pooled_BD)
        is_text_BT = batch.is_token_BT * (batch.token_ids_BT != self.graph_token)
        read = self.language(
            input_ids=batch.token_ids_BT,
            attention_mask=is_text_BT,
            position_ids=position_ids(is_text_BT),
        )
        weight_BT1 = is_text_BT[..., None].to(graph_BD.dtype)
        text_BD = (read.last_hidden_state * weight_BT1).sum(1) / weight_BT1.sum(1)
        return normalize(graph_BD, dim=-1), normalize(self.text_side(text_BD), dim=-1)

    def temperature(self) -> Tensor:
        """Return the temperature of the contrastive loss, at least 0.01 (arXiv:2103.00020)."""
        return self.log_temperature.exp().clamp(min=0.01)

    def regress(self, states: LanguageStates, question: int) -> tuple[Tensor, Tensor]:
        """Return (B,) standardised energies and (B,) log of their expected absolute error.

        ``question`` is the position of the token that asks for the energy.

        The spread learns from features it may not bend: accuracy is not traded for calibration.
        """
        graph, question_BD = states.graph, states.hidden_BTD[:, question]
        seen_BD = graph.pooled_BD + graph.level_BD
        facts_BD = states.text.facts_BD
        seen_BE = torch.cat([question_BD, seen_BD, facts_BD], dim=-1)
        with_graph_B = graph.atoms_B + self.regression(seen_BE)[:, 0]
        alone_B = (
            states.text.adsorbate_B + self.recall(torch.cat([question_BD, facts_BD], -1))[:, 0]
        )
        energy_B = torch.where(graph.has_graph_B, with_graph_B, alone_B)
        return energy_B, self.spread(seen_BE.detach())[:, 0]

    def regress_graph(self, batch: Batch) -> Tensor:
        """Return (B,) standardised energies of graphs alone, their texts left out."""
        graph = self.encode_graph(batch)
        nothing_BD = torch.zeros_like(graph.pooled_BD)
        seen_BE = torch.cat([nothing_BD, graph.pooled_BD + graph.level_BD, nothing_BD], dim=-1)
        energy_B: Tensor = graph.atoms_B + self.regression(seen_BE)[:, 0]
        return energy_B

    def regress_text(self, batch: Batch) -> Tensor:
        """Return (B,) standardised energies from texts' features, without the language model."""
        text = self.encode_text(batch)
        nothing_BD = torch.zeros_like(text.facts_BD)
        energy_B: Tensor = self.recall(torch.cat([nothing_BD, text.facts_BD], dim=-1))[:, 0]
        return text.adsorbate_B + energy_B

    def _vocabulary(self) -> nn.Embedding | ExtendedEmbedding:
        table = self.language.get_input_embeddings()
        assert isinstance(table, nn.Embedding | ExtendedEmbedding)  # noqa: S101  for mypy
        return table

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Return (B, T, V) next-token scores, through the tied embedding, in full precision."""
        table = self._vocabulary()
        if isinstance(table, ExtendedEmbedding):
            return table.logits(hidden_BTD).float()
        return torch.nn.functional.linear(hidden_BTD, table.weight).float()


def _head(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, 1))


def _zero_inputs(head: nn.Sequential, *inputs: slice) -> None:
    """Set the first layer's weights of some inputs to zero: the head starts without them."""
    first = head[0]
    assert isinstance(first, nn.Linear)  # noqa: S101  for mypy
    with torch.no_grad():
        for each in inputs:
            first.weight[:, each] = 0.0


def new_encoder(config: QECatalyticConfig) -> EncoderModule:
    """Return an encoder in which chemically alike elements begin alike.

    So rare ones borrow from common ones. A frozen encoder stays as it is.
    """
    encoder = build_encoder(config.encoder)
    if config.encoder_frozen or isinstance(encoder, FairchemEncoder):
        return FrozenEncoder(encoder)
    weight = encoder.elements.weight
    properties_ZP = torch.from_numpy(standardised_properties()).to(weight)
    rows = min(len(weight), len(properties_ZP))
    mixer_PC = torch.randn(properties_ZP.shape[1], weight.shape[1]) / properties_ZP.shape[1]
    with torch.no_grad():
        weight[:rows] = 0.1 * weight[:rows] + properties_ZP[:rows] @ mixer_PC
    return encoder


def position_ids(is_token_BT: Tensor) -> Tensor:
    """Return (B, T) positions that count real tokens only, padding at 0."""
    return (is_token_BT.long().cumsum(-1) - 1).clamp(min=0)


class GraphPooling(nn.Module):
    """Invariant node features to one vector: adsorbate sum, focus mean, attention and maximum.

    The focus of an adslab is its adsorbate, that of a clean slab its surface atoms.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.node = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.gaze = nn.Linear(width, 1)
        self.mix = nn.Sequential(nn.Linear(4 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.atom = nn.Linear(width, 1)

    def forward(self, invariant_NC: Tensor, graph: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, D) nodes, (B, D) pooled vectors and (B,) the adsorbate's atom energies.

        A bound molecule's energy grows with its atoms; a sum says so without having to learn it.
        """
        node_ND = self.node(invariant_NC)
        empty_BD = node_ND.new_zeros(graph.n_systems, node_ND.shape[1])
        system_ND = graph.system_N[:, None].expand_as(node_ND)
        adsorbate_N1, focus_N1 = _focus(graph, node_ND.dtype)
        total_BD = empty_BD.index_add(0, graph.system_N, node_ND * adsorbate_N1)
        focus_BD = _mean(node_ND, focus_N1, graph)
        highest_BD = empty_BD.scatter_reduce(0, system_ND, node_ND, "amax", include_self=False)
        # exp of a bounded score: a softmax over each system's atoms that cannot overflow.
        weight_N1 = torch.exp(4.0 * torch.tanh(self.gaze(node_ND) / 4.0))
        attended_BD = _mean(node_ND, weight_N1, graph)
        # A sum over ten atoms and a sum over one should enter the mixer at comparable size.
        pooled = [0.2 * total_BD, focus_BD, highest_BD, attended_BD]
        atoms_B = self.atom(0.2 * total_BD)[:, 0]
        return node_ND, self.mix(torch.cat(pooled, dim=-1)), atoms_B


def _focus(graph: GraphBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (N, 1) masks: adsorbate atoms, and those or a clean slab's surface atoms."""
    is_adsorbate_N = graph.tags_N == ADSORBATE_TAG
    has_adsorbate_B = torch.zeros(graph.n_systems, dtype=torch.bool, device=graph.tags_N.device)
    has_adsorbate_B[graph.system_N[is_adsorbate_N]] = True
    is_bare_N = ~has_adsorbate_B[graph.system_N]
    is_focus_N = is_adsorbate_N | (is_bare_N & (graph.tags_N == SURFACE_TAG))
    return is_adsorbate_N.to(dtype)[:, None], is_focus_N.to(dtype)[:, None]


def _mean(node_ND: Tensor, weight_N1: Tensor, graph: GraphBatch) -> Tensor:
    empty_BD = node_ND.new_zeros(graph.n_systems, node_ND.shape[1])
    total_BD = empty_BD.index_add(0, graph.system_N, node_ND * weight_N1)
    weight_B1 = empty_BD[:, :1].index_add(0, graph.system_N, weight_N1)
    return total_BD / weight_B1.clamp(min=1e-6)
