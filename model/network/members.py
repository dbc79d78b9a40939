"""The networks of a checkpoint, on disk: what each learnt, and what they borrow together.

A frozen encoder is stored once for all members. The base of adapters, and a checkpoint of fairchem,
are gigabytes that somebody else publishes: their place and hashes are stored, and compared.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model.encoders.cache import FrozenEncoder
from model.encoders.fairchem import FairchemConfig
from model.encoders.registry import load_encoder
from model.network.config import QECatalyticConfig
from model.network.language import build_language
from model.network.qe_catalytic import QECatalytic
from model.weights import load_exactly

ENCODER = "encoder.safetensors"
MEMBER = "member-{}.safetensors"


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
    """Return the members of a checkpoint; what they borrow is loaded once.

    Raises:
        ModelError: weights are of another architecture, or what is borrowed is not there or is
            another one.
    """
    stored = config.encoder_frozen and not isinstance(config.encoder, FairchemConfig)
    first = QECatalytic(
        config,
        graph_token=graph_token,
        encoder=FrozenEncoder(load_encoder(config.encoder, folder / ENCODER)) if stored else None,
        language=build_language(config, device),
    )
    members: list[QECatalytic] = []
    for file in sorted(folder.glob(MEMBER.format("*"))):
        member = first.clone() if members else first
        load_exactly(member, load_file(file), file.name)
        members.append(member)
    return members
