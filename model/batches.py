"""From configurations to batches: graph, tokens, level, and a budget of edges and tokens.

Shapes  B systems, T tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from model.contract import Configuration
from model.domain import level_index
from model.errors import ModelError
from model.graph import Graph, collate, configuration_graph
from model.qe_catalytic import Batch, QECatalyticConfig
from model.tokenizer import model_text


@dataclass(frozen=True)
class Example:
    """One configuration, ready for a batch."""

    graph: Graph
    token_ids: list[int]
    level: int

    @property
    def cost(self) -> int:
        """Return edges plus tokens: what a forward pass pays for, within a factor."""
        return int(self.graph.edge_index_2E.shape[1]) + len(self.token_ids)


class Reader:
    """Turns configurations into examples; a checkpoint's tokenizer and cut-offs decide how."""

    def __init__(self, config: QECatalyticConfig, tokenizer: PreTrainedTokenizerFast):
        self.config = config
        self.tokenizer = tokenizer

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

    def _example(self, configuration: Configuration, token_ids: list[int]) -> Example:
        limit = self.config.language.max_tokens
        if len(token_ids) > limit:
            raise ModelError(
                f"text of {configuration.candidate_id} has {len(token_ids)} tokens, the model "
                f"reads {limit}; raise max_tokens and train again"
            )
        encoder = self.config.encoder
        graph = configuration_graph(
            configuration,
            cutoff_ang=encoder.max_radius,
            max_neighbors=encoder.max_neighbors,
            crop_ang=self.config.crop_radius_ang,
        )
        return Example(
            graph=graph,
            token_ids=token_ids,
            level=level_index(self.config.levels, configuration.level),
        )


def make_batch(
    examples: Sequence[Example], pad: int, *, answers: Sequence[list[int]] | None = None
) -> Batch:
    """Join examples; ``answers`` are the energy's tokens, appended to each text in training."""
    sequences = [example.token_ids for example in examples]
    if answers is not None:
        sequences = [ids + answer for ids, answer in zip(sequences, answers, strict=True)]
    ids_BT, is_token_BT = _pad_left(sequences, pad)
    return Batch(
        graph=collate([example.graph for example in examples]),
        token_ids_BT=ids_BT,
        is_token_BT=is_token_BT,
        level_B=torch.tensor([example.level for example in examples]),
    )


def _pad_left(sequences: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids in sequences)
    ids_BT = torch.full((len(sequences), longest), pad)
    is_token_BT = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, ids in enumerate(sequences):
        ids_BT[row, longest - len(ids) :] = torch.tensor(ids)
        is_token_BT[row, longest - len(ids) :] = 1
    return ids_BT, is_token_BT


def by_budget(costs: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield groups of positions, sorted by cost, whose padded cost stays within ``budget``.

    An item dearer than the whole budget gets a group of its own.
    """
    group: list[int] = []
    for position in sorted(range(len(costs)), key=lambda i: (costs[i], i)):
        if group and (len(group) + 1) * costs[position] > budget:
            yield group
            group = []
        group.append(position)
    if group:
        yield group
