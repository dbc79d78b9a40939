"""Networks that answer together, batch by batch, and how a checkpoint stores them.

A frozen encoder is stored once for all members. The base of adapters, and a checkpoint of fairchem,
are gigabytes that somebody else publishes: their path and hashes are stored, and compared.

Shapes  B systems, M members, R rows, K outputs for a row, D language width, F = M x D.
Units   eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.contract import Configuration
from model.encoders.cache import FrozenEncoder
from model.encoders.fairchem import FairchemConfig
from model.encoders.registry import build_encoder, load_encoder
from model.errors import ModelError
from model.network.batches import Batch, Example, Reader, by_budget, make_batch
from model.network.config import QECatalyticConfig
from model.network.energy_decoder import EnergyDecoder
from model.network.language.build import build_language
from model.network.qe_catalytic import QECatalytic
from model.weights import load_exactly, require_fitting

Columns = tuple[NDArray[np.float64], NDArray[np.float32]]
# Edges and tokens of one forward pass. On one CPU core 24,000 was up to a third slower than 8,000:
# small batches stay in cache. A GPU is fast only when it is full.
BUDGETS = {"cpu": 8_000, "cuda": 400_000}
ENCODER = "encoder.safetensors"
MEMBER = "member-{}.safetensors"


@dataclass(frozen=True)
class EnsembleOutput:
    """Outputs of the members for some rows; nothing is calibrated yet."""

    regression_R: NDArray[np.float64]
    token_R: NDArray[np.float64]
    head_R: NDArray[np.float64]  # absolute error that the networks expect, mean over members
    disagreement_R: NDArray[np.float64]  # standard deviation of the regressions over members
    latent_RF: NDArray[np.float32]  # where the members see a row, side by side

    def energy(self, regression_share: float) -> NDArray[np.float64]:
        """Return (R,) the weighted mean of the two heads."""
        return regression_share * self.regression_R + (1 - regression_share) * self.token_R


class Ensemble:
    """Networks that answer together: their heads are averaged, their disagreement is kept."""

    def __init__(
        self,
        members: Sequence[QECatalytic],
        reader: Reader,
        device: torch.device | None = None,
    ):
        self.device = device or torch.device("cpu")
        self.members = [member.to(self.device).eval() for member in members]
        self.reader = reader
        self.decoder = EnergyDecoder(reader.tokenizer)

    def answer(self, configurations: Sequence[Configuration]) -> EnsembleOutput:
        """Return the output of the members for each configuration, in order."""
        return self.answer_examples(self.reader.read(configurations))

    def answer_examples(self, examples: Sequence[Example]) -> EnsembleOutput:
        """Return the output of the members for each example, in order."""
        width = self.members[0].level.embedding_dim
        output_RK = np.zeros((len(examples), 4))
        latent_RF = np.zeros((len(examples), len(self.members) * width), dtype=np.float32)
        for group in by_budget(examples, BUDGETS[self.device.type]):
            output_RK[group], latent_RF[group] = self._answer_or_halve([examples[i] for i in group])
        regression_R, token_R, head_R, disagreement_R = output_RK.T
        return EnsembleOutput(regression_R, token_R, head_R, disagreement_R, latent_RF)

    def _answer_or_halve(self, examples: Sequence[Example]) -> Columns:
        try:
            return self._answer_batch(make_batch(examples, self.reader.tokenizer.pad_token_id))
        except torch.OutOfMemoryError:
            if len(examples) == 1:
                raise
        half = len(examples) // 2
        parts = [self._answer_or_halve(part) for part in (examples[:half], examples[half:])]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    @torch.inference_mode()
    def _answer_batch(self, batch: Batch) -> Columns:
        batch = batch.to(self.device)
        outputs = [self._output(member, batch) for member in self.members]
        output_MB3 = torch.stack([output_B3 for output_B3, _ in outputs])
        disagreement_B = output_MB3[..., 0].std(dim=0, correction=0)
        output_B4 = torch.cat([output_MB3.mean(dim=0), disagreement_B[:, None]], dim=-1)
        latent_BF = torch.cat([latent_BD for _, latent_BD in outputs], dim=-1)
        return output_B4.double().cpu().numpy(), latent_BF.float().cpu().numpy()

    def _output(self, member: QECatalytic, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (B, 3) regression, tokens and expected absolute error in eV, and (B, D) features.

        The features are the pooled graph's, or the text's where there is no graph.
        """
        states = member.read(batch, keep_cache=True)
        text_BD = states.hidden_BTD[:, -1]
        latent_BD = torch.where(states.graph.has_graph_B[:, None], states.graph.pooled_BD, text_BD)
        standard_B, log_spread_B = member.regress(states, -1)
        regression_B = member.scale.to_ev(standard_B, batch)
        error_B = log_spread_B.clamp(-6, 3).exp() * member.scale.scale_L[batch.level_B]
        token_B = self.decoder.decode(member, batch, states)
        return torch.stack([regression_B, token_B, error_B], dim=-1), latent_BD


def save_members(members: Sequence[QECatalytic], folder: Path) -> None:
    """Write the members' weights, and the encoder's where it is frozen and ours to store."""
    for number, member in enumerate(members):
        save_file(member.state_dict(), folder / MEMBER.format(number))
    encoder, config = members[0].encoder, members[0].config.encoder
    if isinstance(encoder, FrozenEncoder) and not isinstance(config, FairchemConfig):
        save_file(encoder.encoder.state_dict(), folder / ENCODER)


def load_members(
    config: QECatalyticConfig, graph_token: int, folder: Path, device: torch.device
) -> list[QECatalytic]:
    """Return the members of a checkpoint; the weights that they share are loaded once.

    Args:
        config: The architecture that the checkpoint states.
        graph_token: The token of the text in whose place the graph stands.
        folder: The checkpoint's folder.
        device: Where parts that lie outside of it are loaded to.

    Returns:
        The members, in the order of their files.

    Raises:
        ModelError: weights are of another architecture, or shared ones are missing or differ.
    """
    files = sorted(folder.glob(MEMBER.format("*")))
    if not files:
        raise ModelError(
            f"a checkpoint has a network, {folder} has no {MEMBER.format(0)}; restore it or train "
            "it again"
        )
    if isinstance(config.encoder, FairchemConfig):
        _require_elsewhere(Path(config.encoder.checkpoint), folder)
    encoder = _frozen_encoder(config, folder / ENCODER)
    # What lies outside the checkpoint has the size of its own files.
    if not (isinstance(config.encoder, FairchemConfig) or config.has_adapters):
        require_fitting(
            lambda: QECatalytic(config, graph_token=graph_token, encoder=encoder), files[0]
        )
    first = QECatalytic(
        config,
        graph_token=graph_token,
        encoder=encoder,
        language=build_language(config, device),
    )
    members: list[QECatalytic] = []
    for file in files:
        member = first.clone() if members else first
        load_exactly(member, load_file(file), file.name)
        members.append(member)
    return members


def _require_elsewhere(pickled: Path, folder: Path) -> None:
    """Refuse a file that fairchem would unpickle where it came with the checkpoint that names it.

    The hash beside its name is then the word of whoever made both.
    """
    if folder.resolve() in pickled.resolve().parents:
        raise ModelError(
            f"nothing that comes with a checkpoint is unpickled, {folder} names {pickled} as its "
            "fairchem encoder; take that file from those who publish it, and state its own path"
        )


def _frozen_encoder(config: QECatalyticConfig, weights: Path) -> FrozenEncoder | None:
    """Return the encoder that a checkpoint stores beside its members; None where it stores none."""
    if not config.encoder_frozen or isinstance(config.encoder, FairchemConfig):
        return None
    require_fitting(lambda: build_encoder(config.encoder), weights)
    return FrozenEncoder(load_encoder(config.encoder, weights))
