"""Let a language model write structure streams under the grammar, several at once.

Shapes  B streams, T prompt tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerFast, Qwen2Model

from model.errors import ModelError
from model.generation.stream_grammar import Parser, StreamConstraints, stream_parser
from model.generation.structure_stream import Structure
from model.text.stream_tokens import Tokens
from model.text.tokenizer import END, token_ids


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: ``temperature`` divides the scores, ``top_p`` cuts the tail off."""

    temperature: float = 0.35
    top_p: float = 0.95
    most_tokens: int = 512  # a stream that is longer is given up

    def __post_init__(self) -> None:
        if not (0 < self.temperature < float("inf") and 0 < self.top_p <= 1):
            raise ModelError(
                "sampling needs a temperature above 0 and a top_p above 0 and at most 1, got "
                f"{self.temperature} and {self.top_p}"
            )


@dataclass(frozen=True)
class SampledStream:
    """One stream; ``structure`` is None where it did not end within the limit."""

    tokens: tuple[str, ...]
    structure: Structure | None


class StreamSampler:
    """Draws streams from a language model with tied embeddings."""

    def __init__(self, language: Qwen2Model, tokenizer: PreTrainedTokenizerFast):
        self.language = language.eval()
        self.tokenizer = tokenizer
        self._ids: dict[Tokens, Tensor] = {}

    @torch.inference_mode()
    def write(
        self,
        prompts: Sequence[str],
        constraints: Sequence[StreamConstraints],
        sampling: Sampling,
        generator: torch.Generator,
    ) -> list[SampledStream]:
        """Return one stream for each prompt; equal generators give equal streams.

        Args:
            prompts: B prompts of the instructions ``structure`` or ``design``.
            constraints: Those of each stream; every token is drawn from those that the grammar
                admits under them, by their scores.
            sampling: Temperature, tail and longest stream.
            generator: Where random numbers come from, on the device of the language model.

        Returns:
            B streams, each with its structure, None where the stream did not end within the limit.
        """
        if not prompts:
            return []
        streams = [_Stream(stream_parser(one)) for one in constraints]
        ids_BT, is_token_BT = self._padded(prompts)
        cache = DynamicCache()
        for _ in range(sampling.most_tokens):
            scores_BV = self._scores(ids_BT, is_token_BT, cache)
            ids_BT = self._draw(scores_BV, streams, sampling, generator)
            for stream, token in zip(streams, ids_BT[:, 0].tolist(), strict=True):
                stream.take(str(self.tokenizer.convert_ids_to_tokens(token)))
            if all(stream.is_done for stream in streams):
                break
            is_token_BT = torch.cat([is_token_BT, torch.ones_like(ids_BT)], dim=-1)
        return [SampledStream(tuple(stream.tokens), stream.structure) for stream in streams]

    def _padded(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        read = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        device = self.language.device
        return read["input_ids"].to(device), read["attention_mask"].to(device)

    def _scores(self, ids_BT: Tensor, is_token_BT: Tensor, cache: DynamicCache) -> Tensor:
        """Return (B, V) scores of the next token; the cache grows by ``ids_BT``."""
        position_BT = (is_token_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        read = self.language(
            input_ids=ids_BT,
            attention_mask=is_token_BT,
            position_ids=position_BT,
            cache=cache,
            use_cache=True,
        )
        scores_BV: Tensor = read.last_hidden_state[:, -1] @ self.language.embed_tokens.weight.T
        return scores_BV

    def _draw(
        self,
        scores_BV: Tensor,
        streams: Sequence["_Stream"],
        sampling: Sampling,
        generator: torch.Generator,
    ) -> Tensor:
        """Return (B, 1) one admitted token for each stream."""
        admitted_BV = torch.full_like(scores_BV, -torch.inf)
        for row, stream in enumerate(streams):
            admitted_BV[row, self._token_ids(stream.admitted)] = 0.0
        p_BV = (scores_BV / sampling.temperature + admitted_BV).softmax(-1)
        p_BV, order_BV = p_BV.sort(dim=-1, descending=True, stable=True)
        p_BV[p_BV.cumsum(-1) - p_BV > sampling.top_p] = 0.0
        return order_BV.gather(1, torch.multinomial(p_BV, 1, generator=generator))

    def _token_ids(self, tokens: Tokens) -> Tensor:
        if tokens not in self._ids:
            ids = torch.tensor(token_ids(self.tokenizer, tokens), device=self.language.device)
            self._ids[tokens] = ids
        return self._ids[tokens]


class _Stream:
    """A stream being written; once it is done it takes end tokens and stays as it is."""

    def __init__(self, parser: Parser):
        self._parser = parser
        self.admitted: Tokens = next(parser)
        self.tokens: list[str] = []
        self.structure: Structure | None = None
        self.is_done = False

    def take(self, token: str) -> None:
        """Go on with a token that was admitted."""
        if self.is_done:
            return
        try:
            self.admitted = self._parser.send(token)
            self.tokens.append(token)
        except StopIteration as finished:
            self.structure = finished.value
            self.is_done = True
            self.admitted = (END,)
