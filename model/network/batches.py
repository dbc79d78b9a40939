"""Turn configurations into batches: graph, tokens, level, and a budget of edges and tokens.

A configuration whose text and graph contradict one another is refused.

Shapes  B systems, T tokens, Z = 95 atomic numbers (row 0 unused), F features and K counts of a
        text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from model.contract import ADSORBATE_TAG, Configuration
from model.data.domain import level_index
from model.data.graph import Graph, GraphBatch, collate, configuration_graph, empty_graph
from model.elements import MAX_ATOMIC_NUMBER, composition
from model.errors import ModelError
from model.network.config import QECatalyticConfig
from model.text.configuration_text import SEPARATOR, parse_text
from model.text.text_facts import TextInputs
from model.text.text_features import element_counts, text_features
from model.text.tokenizer import GRAPH, model_text, token_ids


@dataclass(frozen=True)
class Batch:
    """Several configurations for one forward pass; texts are padded on the left.

    A system without atoms has only its text. ``adsorbate_BZ`` counts the atoms of the
    adsorbate that the text names, ``named`` is what else it names.
    """

    graph: GraphBatch
    token_ids_BT: Tensor
    is_token_BT: Tensor
    level_B: Tensor
    adsorbate_BZ: Tensor
    named: TextInputs

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return replace(
            self,
            graph=self.graph.to(device),
            token_ids_BT=self.token_ids_BT.to(device),
            is_token_BT=self.is_token_BT.to(device),
            level_B=self.level_B.to(device),
            adsorbate_BZ=self.adsorbate_BZ.to(device),
            named=self.named.to(device),
        )


@dataclass(frozen=True)
class Example:
    """One configuration, ready for a batch: the text's tokens follow the graph's."""

    name: str
    graph: Graph
    graph_tokens: list[int]  # none where there is no graph
    text_tokens: list[int]
    level: int
    adsorbate: int  # index of its name among those seen in training, from 1; 0: not seen
    adsorbate_Z: NDArray[np.float32]  # how many atoms of each element the adsorbate has
    features_F: NDArray[np.float32]  # of the text: model.text.text_features
    elements_K: NDArray[np.float32]

    @property
    def token_ids(self) -> list[int]:
        """Return the input of the language model."""
        return self.graph_tokens + self.text_tokens

    def with_text_tokens(self, text_tokens: list[int]) -> "Example":
        """Return the example with another text."""
        return replace(self, text_tokens=text_tokens)

    def without_graph(self) -> "Example":
        """Return the example without its structure."""
        return replace(self, graph=empty_graph(), graph_tokens=[])

    @property
    def edges(self) -> int:
        """Return how many edges the encoder passes messages over."""
        return int(self.graph.edge_index_2E.shape[1])

    @property
    def tokens(self) -> int:
        """Return how many tokens the language model reads."""
        return len(self.graph_tokens) + len(self.text_tokens)


class Reader:
    """Turns configurations into examples; a checkpoint's tokenizer and cut-offs decide how."""

    def __init__(self, config: QECatalyticConfig, tokenizer: PreTrainedTokenizerFast):
        self.config = config
        self.tokenizer = tokenizer
        self._adsorbates = {name: index for index, name in enumerate(config.adsorbates, start=1)}
        self._graph_token = token_ids(tokenizer, [GRAPH])[0]

    def read(self, configurations: Sequence[Configuration]) -> list[Example]:
        """Return one example for each configuration.

        Raises:
            ModelError: a text is too long, a level unknown or a structure empty.
        """
        if not configurations:
            return []
        texts = [model_text(c.level, c.text) for c in configurations]
        ids = self.tokenizer(texts)["input_ids"]
        return [self._example(c, i) for c, i in zip(configurations, ids, strict=True)]

    def _example(self, configuration: Configuration, text_tokens: list[int]) -> Example:
        counts_Z = adsorbate_counts(configuration)
        graph = self._graph(configuration)
        tokens = len(graph.numbers_N) if self.config.fusion == "atoms" else len(graph.numbers_N) > 0
        example = Example(
            name=configuration.candidate_id,
            graph=graph,
            graph_tokens=[self._graph_token] * int(tokens),
            text_tokens=text_tokens,
            level=level_index(self.config.levels, configuration.level),
            adsorbate=self.adsorbate(configuration.text),
            adsorbate_Z=counts_Z,
            features_F=text_features([configuration.text])[0].astype(np.float32),
            elements_K=element_counts(configuration.text),
        )
        limit = self.config.language.max_tokens
        if len(example.token_ids) > limit:
            raise ModelError(
                f"text of {configuration.candidate_id} has {len(example.token_ids)} tokens, the "
                f"model reads {limit}; raise max_tokens and train again"
            )
        return example

    def adsorbate(self, text: str) -> int:
        """Return the index of a text's adsorbate among those seen in training, 0 for a new one."""
        return self._adsorbates.get(text.partition(SEPARATOR)[0], 0)

    def _graph(self, configuration: Configuration) -> Graph:
        if not len(configuration.numbers_N):
            return empty_graph()
        has_adsorbate = bool((configuration.tags_N == ADSORBATE_TAG).any())
        return configuration_graph(
            configuration,
            cutoff_ang=self.config.encoder.max_radius,
            max_neighbors=self.config.encoder.max_neighbors,
            crop_ang=self.config.crop_radius_ang if has_adsorbate else None,
        )


def make_batch(
    examples: Sequence[Example], pad: int, *, answers: Sequence[list[int]] | None = None
) -> Batch:
    """Join examples; ``answers`` are the energy's tokens, appended to each text in training."""
    sequences = [example.token_ids for example in examples]
    if answers is not None:
        sequences = [ids + answer for ids, answer in zip(sequences, answers, strict=True)]
    ids_BT, is_token_BT = pad_left(sequences, pad)
    return Batch(
        graph=collate([example.graph for example in examples]),
        token_ids_BT=ids_BT,
        is_token_BT=is_token_BT,
        level_B=torch.tensor([example.level for example in examples]),
        adsorbate_BZ=torch.from_numpy(np.stack([example.adsorbate_Z for example in examples])),
        named=TextInputs(
            level_B=torch.tensor([example.level for example in examples]),
            adsorbate_B=torch.tensor([example.adsorbate for example in examples]),
            features_BF=torch.from_numpy(np.stack([example.features_F for example in examples])),
            elements_BK=torch.from_numpy(np.stack([example.elements_K for example in examples])),
        ),
    )


def pad_left(sequences: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return (B, T) tokens, padded on the left, and which of them are real."""
    longest = max(len(ids) for ids in sequences)
    ids_BT = torch.full((len(sequences), longest), pad)
    is_token_BT = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, ids in enumerate(sequences):
        ids_BT[row, longest - len(ids) :] = torch.tensor(ids)
        is_token_BT[row, longest - len(ids) :] = 1
    return ids_BT, is_token_BT


def by_budget(examples: Sequence[Example], budget: int) -> Iterator[list[int]]:
    """Yield groups of positions whose edges and padded tokens stay within ``budget``.

    Only texts are padded, so texts of like length share a group. An example dearer than the whole
    budget gets a group of its own.
    """
    group: list[int] = []
    edges = 0
    for position in sorted(range(len(examples)), key=lambda i: (examples[i].tokens, i)):
        example = examples[position]
        if group and edges + example.edges + (len(group) + 1) * example.tokens > budget:
            yield group
            group, edges = [], 0
        group.append(position)
        edges += example.edges
    if group:
        yield group


def adsorbate_counts(configuration: Configuration) -> NDArray[np.float32]:
    """Count the atoms of each element of an adsorbate, as the text names it.

    Args:
        configuration: Text and, where it has a structure, atoms of one adslab.

    Returns:
        Counts (Z,) by atomic number, Z = 95.

    Raises:
        ModelError: the text cannot be parsed, names an unknown element, or contradicts the atoms:
            another adsorbate, or a slab with elements that its bulk does not hold.
    """
    text = parse_text(configuration.text)
    adsorbate = _composition(text.adsorbate, configuration.candidate_id)
    bulk = _composition(text.bulk, configuration.candidate_id)
    is_adsorbate_N = configuration.tags_N == ADSORBATE_TAG
    if is_adsorbate_N.any():
        atoms = Counter(_symbols(configuration.numbers_N[is_adsorbate_N]))
        if atoms != adsorbate:
            raise ModelError(
                f"text and graph of {configuration.candidate_id} must name one adsorbate, got "
                f"{text.adsorbate} in the text and {_formula(atoms)} among the atoms tagged 2"
            )
    slab = set(_symbols(configuration.numbers_N[~is_adsorbate_N]))
    if strangers := sorted(slab - set(bulk)):
        raise ModelError(
            f"text and graph of {configuration.candidate_id} must name one bulk, got {text.bulk} "
            f"in the text and {', '.join(strangers)} among the slab's atoms"
        )
    counts_Z = np.zeros(MAX_ATOMIC_NUMBER + 1, dtype=np.float32)
    for symbol, count in adsorbate.items():
        counts_Z[atomic_numbers[symbol]] = count
    return counts_Z


@lru_cache(maxsize=4096)
def _counted(formula: str) -> Counter[str]:
    return composition(formula)


def _composition(formula: str, name: str) -> Counter[str]:
    counts = _counted(formula)
    elements = chemical_symbols[1 : MAX_ATOMIC_NUMBER + 1]
    if unknown := sorted(set(counts) - set(elements)):
        raise ModelError(
            f"text of {name} must name elements up to {elements[-1]}, got {', '.join(unknown)} "
            f"in {formula!r}"
        )
    return counts


def _symbols(numbers_N: NDArray[np.int64]) -> list[str]:
    return [chemical_symbols[number] for number in numbers_N]


def _formula(counts: Counter[str]) -> str:
    return "".join(f"{s}{n if n > 1 else ''}" for s, n in sorted(counts.items()))
