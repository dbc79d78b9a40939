"""Stage 3: the language model follows instructions, the encoder frozen.

Four instructions (``prompts``) are mixed: energy, description, structure of a text, and structure
for a target energy. Only answers are learnt.

Shapes  B systems, T tokens, V vocabulary.
Source  arXiv:2512.20084, stage 3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.data.rows import UNRELAXED, Row
from model.errors import ModelError
from model.generation.prompts import INSTRUCTIONS, READ_GRAPH, Instruction, prompt_answer, stream_of
from model.network.batches import Batch, Example, Reader, make_batch
from model.network.qe_catalytic import QECatalytic
from model.text.tokenizer import END, GRAPH, token_ids
from model.training.recipes import InstructRecipe
from model.training.samples import draw_copies
from model.training.trainer import HeldOutScore

WATCHED_ROWS = 128  # held-out rows whose loss is watched, under every instruction


@dataclass(frozen=True)
class InstructionExample:
    """A configuration with its stream; none where the structure cannot be written as one."""

    row: Row
    example: Example
    stream: list[str] | None


def instruction_examples(rows: Sequence[Row], reader: Reader) -> list[InstructionExample]:
    """Return one example for each unrelaxed structure, the form that a design is to have."""
    chosen = [row for row in rows if row.kind in UNRELAXED and len(row.numbers_N)]
    examples = reader.read([row.configuration() for row in chosen])
    return [InstructionExample(r, e, _stream(r)) for r, e in zip(chosen, examples, strict=True)]


def _stream(row: Row) -> list[str] | None:
    try:
        return stream_of(row)
    except ModelError:  # a broken structure teaches energies and descriptions only
        return None


class InstructStage:
    """Ask one of four things of each configuration, and learn the answer."""

    name = "instruct"

    def __init__(
        self,
        examples: Sequence[InstructionExample],
        held_out: Sequence[InstructionExample],
        reader: Reader,
        recipe: InstructRecipe,
    ):
        self.examples = examples
        self.held_out = held_out
        self.reader = reader
        self.recipe = recipe
        self.pad = int(reader.tokenizer.pad_token_id)
        self.end = token_ids(reader.tokenizer, [END])

    def frozen(self, network: QECatalytic) -> Sequence[nn.Module]:
        """Return all that turns structures into features."""
        return network.graph_parts()

    def draw_batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Yield the positions of one epoch's batches, streams of like length together.

        An example comes as often as its set's weight says, on average.
        """
        size = self.recipe.batch_size
        weight_S = np.array([self._weight(each) for each in self.examples])
        shuffled = rng.permutation(draw_copies(weight_S, rng))
        order = sorted(shuffled, key=lambda i: len(self.examples[i].stream or ()))
        starts = np.array(range(0, len(order), size))
        for start in rng.permutation(starts):
            yield [int(i) for i in order[start : start + size]]

    def _weight(self, of: InstructionExample) -> float:
        return self.recipe.weights.get(of.row.set, 1.0)

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Return the names of some rows, for messages."""
        return [self.examples[index].row.uid for index in chosen]

    def batch(
        self, chosen: Sequence[int], rng: np.random.Generator, device: torch.device
    ) -> tuple[Batch, Tensor]:
        """Return a batch of exchanges, the instruction drawn anew for each row."""
        return self._make([self.examples[index] for index in chosen], rng, device)

    def _make(
        self, examples: Sequence[InstructionExample], rng: np.random.Generator, device: torch.device
    ) -> tuple[Batch, Tensor]:
        """Return the batch and (B, T) which of its tokens are to be learnt."""
        exchanges = [self._exchange(each, self._draw(each, rng), rng) for each in examples]
        batch = make_batch(
            [example for example, _ in exchanges], self.pad, answers=[a for _, a in exchanges]
        )
        is_answer_BT = torch.zeros_like(batch.token_ids_BT, dtype=torch.bool)
        for row, (_, answer) in enumerate(exchanges):
            is_answer_BT[row, -len(answer) :] = True
        return batch.to(device), is_answer_BT.to(device)

    def _draw(self, of: InstructionExample, rng: np.random.Generator) -> Instruction:
        shares = np.array([getattr(self.recipe, f"{name}_share") for name in INSTRUCTIONS])
        if of.stream is None:
            shares[2:] = 0.0
        return INSTRUCTIONS[int(rng.choice(len(shares), p=shares / shares.sum()))]

    def _exchange(
        self, of: InstructionExample, instruction: Instruction, rng: np.random.Generator
    ) -> tuple[Example, list[int]]:
        """Return the prompt as an example, and the tokens of the answer."""
        name_bulk = bool(rng.random() < self.recipe.bulk_share)
        text = prompt_answer(of.row, instruction, stream=of.stream, name_bulk=name_bulk)
        prompt, answer = self.reader.tokenizer([text.prompt.removeprefix(GRAPH), text.answer])[
            "input_ids"
        ]
        example = of.example
        if instruction not in READ_GRAPH:
            example = example.without_graph()
        return example.with_text_tokens(list(prompt)), [*answer, *self.end]

    def loss(
        self, network: QECatalytic, labelled: tuple[Batch, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy of the answers' tokens."""
        batch, is_answer_BT = labelled
        hidden_BTD = network.read(batch).hidden_BTD[:, :-1]
        target_BT, wanted_BT = batch.token_ids_BT[:, 1:], is_answer_BT[:, 1:]
        logits_AV = network.logits(hidden_BTD[wanted_BT])
        loss = nn.functional.cross_entropy(logits_AV, target_BT[wanted_BT])
        return loss, {"answers": loss}

    def evaluate(self, network: QECatalytic) -> HeldOutScore:
        """Return the loss on held-out rows, the same questions at every look."""
        device = next(network.parameters()).device
        chosen = self.held_out[:WATCHED_ROWS]
        rng = np.random.default_rng(0)
        with torch.inference_mode():
            loss, _ = self.loss(network, self._make(chosen, rng, device))
        return HeldOutScore(loss.item(), {"answers": loss.item()})
