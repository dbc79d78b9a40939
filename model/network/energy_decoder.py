"""Read the energy that the language model would write, as an expectation over its digits.

Shapes  B systems, W beams, V vocabulary.

At each position only the characters allowed there compete. The likeliest spellings are followed
(a beam), since 0.99 and 1.01 share no digit; the last digit enters as its expectation.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerFast

from model.network.batches import Batch
from model.network.qe_catalytic import LanguageStates, QECatalytic, position_ids
from model.text.tokenizer import ALLOWED_CHARACTERS, token_ids

BEAMS = 4
_DIGIT_VALUES = (0.0, 10.0, 1.0, 0.0, 0.1, 0.01)  # eV of a digit at each position


class EnergyDecoder:
    """Constrained decoding of ``+01.23`` for a batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.ids = [torch.tensor(token_ids(tokenizer, position)) for position in ALLOWED_CHARACTERS]

    def decode(self, network: QECatalytic, batch: Batch, states: LanguageStates) -> Tensor:
        """Return (B,) energies in eV; ``states`` was made with its cache kept."""
        if states.cache is None:
            raise ValueError(
                "decoding goes on from the states of a batch: read with keep_cache=True"
            )
        beams = _Beams(batch, states.cache)
        logits_XV = network.logits(states.hidden_BTD[:, -1:])[:, 0]
        for position, ids in enumerate(self.ids[:-1]):
            ids = ids.to(logits_XV.device)
            beams.extend(logits_XV[:, ids].log_softmax(-1), ids, position)
            logits_XV = beams.step(network)
        last = self.ids[-1].to(logits_XV.device)
        digit_X = logits_XV[:, last].softmax(-1) @ torch.arange(10.0, device=last.device)
        return beams.expectation(digit_X * _DIGIT_VALUES[-1])


class _Beams:
    """The W likeliest beginnings of each system's answer, flattened to X = B x W rows."""

    def __init__(self, batch: Batch, cache: DynamicCache):
        self.systems = len(batch.token_ids_BT)
        self.cache = cache
        self.is_token_XT = batch.is_token_BT
        device = batch.is_token_BT.device
        self.log_p_X = torch.zeros(self.systems, device=device)
        self.size_X = torch.zeros(self.systems, device=device)  # eV, without sign
        self.sign_X = torch.ones(self.systems, device=device)
        self.token_X = torch.zeros(self.systems, dtype=torch.long, device=device)

    def extend(self, log_p_XO: Tensor, ids: Tensor, position: int) -> None:
        """Let each beam continue with each option, and keep the likeliest W of a system."""
        options = log_p_XO.shape[1]
        total_BY = (self.log_p_X[:, None] + log_p_XO).reshape(self.systems, -1)
        beams = total_BY.shape[1] // options
        log_p_BW, best_BW = total_BY.topk(min(BEAMS, total_BY.shape[1]), dim=-1)
        first_B1 = torch.arange(self.systems, device=ids.device)[:, None] * beams
        parent_X = (first_B1 + best_BW // options).reshape(-1)
        option_X = (best_BW % options).reshape(-1)
        self.log_p_X = log_p_BW.reshape(-1)
        self.size_X = self.size_X[parent_X] + option_X * _DIGIT_VALUES[position]
        self.sign_X = self.sign_X[parent_X]
        if position == 0:
            self.sign_X = 1.0 - 2.0 * option_X  # the first choice is "+" or "-"
        self.token_X = ids[option_X]
        self.is_token_XT = self.is_token_XT[parent_X]
        self.cache.batch_select_indices(parent_X)

    def step(self, network: QECatalytic) -> Tensor:
        """Feed the newest token of each beam and return (X, V) scores for the next."""
        is_new_X1 = self.is_token_XT.new_ones(len(self.token_X), 1)
        self.is_token_XT = torch.cat([self.is_token_XT, is_new_X1], dim=-1)
        read = network.language(
            input_ids=self.token_X[:, None],
            attention_mask=self.is_token_XT,
            position_ids=position_ids(self.is_token_XT)[:, -1:],
            cache=self.cache,
            use_cache=True,
        )
        return network.logits(read.last_hidden_state)[:, 0]

    def expectation(self, rest_X: Tensor) -> Tensor:
        """Return (B,) energies in eV, beams weighted by their probability."""
        value_BW = (self.sign_X * (self.size_X + rest_X)).reshape(self.systems, -1)
        weight_BW = self.log_p_X.reshape(self.systems, -1).softmax(-1)
        return (weight_BW * value_BW).sum(-1)
