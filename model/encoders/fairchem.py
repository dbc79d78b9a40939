"""An encoder out of a fairchem 2.x checkpoint (UMA and its like): frozen, and an extra.

Shapes  N atoms, E edges, B systems, C channels.
Units   radii in Å.

fairchem is imported when an encoder is made: that takes 5 to 9 seconds. It reads its checkpoints
by unpickling, which runs what the file says: the recipe therefore states the hash of a file that
its author trusts, and no other file is opened.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.data.graph import GraphBatch
from model.errors import ModelError


@dataclass(frozen=True)
class FairchemConfig:
    """The checkpoint, and the settings that its structures are read with.

    ``task`` is the data set whose embedding a multi-task model adds: adslabs are ``oc20``.
    ``max_radius`` must be the checkpoint's own.
    """

    checkpoint: str
    sha256: str = ""
    task: str = "oc20"
    max_radius: float = 6.0
    max_neighbors: int = 300


class FairchemEncoder(nn.Module):
    """The backbone of a fairchem model: scalars on atoms out of its node embedding."""

    def __init__(self, config: FairchemConfig):
        super().__init__()
        self.config = config
        self.backbone = _backbone(config)
        self.channels = int(self.backbone.sphere_channels)

    def invariants(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return the (N, C) scalars after the last layer; it takes no condition."""
        if condition_NC is not None:
            raise ValueError("an encoder of fairchem takes no condition")
        if not len(graph.numbers_N):
            return graph.positions_N3.new_zeros(0, self.channels)
        data = _atomic_data(graph, self.config.task)  # made for this call: forward changes it
        device = graph.positions_N3.device
        # It turns each edge's frame by an angle of chance: seeded, so that a rerun says the same.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            node_NKC: Tensor = self.backbone(data)["node_embedding"]
        return node_NKC[:, 0].detach()


def _backbone(config: FairchemConfig) -> Any:
    """Return the backbone of a checkpoint, checked against its configuration."""
    try:
        from fairchem.core.units.mlip_unit import load_predict_unit
        from fairchem.core.units.mlip_unit.api.inference import InferenceSettings
    except ImportError as error:
        raise ModelError(
            "an encoder of kind fairchem needs fairchem-core, which cannot be imported "
            f"({error}); pip install 'sabatier[fairchem]'"
        ) from None
    _check_hash(config)
    settings = InferenceSettings(
        activation_checkpointing=False,
        external_graph_gen=True,  # our graphs, cropped as ours are
        auto_add_default_untrained_tasks=False,
    )
    try:
        with _random_state_kept():
            unit = load_predict_unit(config.checkpoint, inference_settings=settings, device="cpu")
    except Exception as error:  # whatever torch, hydra and fairchem make of a file
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"fairchem cannot load {config.checkpoint} ({type(error).__name__}: {first}); use a "
            "checkpoint of fairchem 2.x"
        ) from None
    backbone = unit.model.module.backbone.requires_grad_(False).eval()
    _check_backbone(backbone, config)
    if hasattr(backbone, "regress_config"):  # nobody asks for forces: no derivatives are kept
        backbone.regress_config.forces = backbone.regress_config.stress = False
    return backbone


def _check_hash(config: FairchemConfig) -> None:
    try:
        with Path(config.checkpoint).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"fairchem checkpoint {config.checkpoint} cannot be read: {error.strerror}; "
            "set encoder.checkpoint to the file"
        ) from None
    if found != config.sha256:
        raise ModelError(
            f"fairchem unpickles its checkpoints, so encoder.sha256 must be that of a file you "
            f"trust, got {config.sha256 or 'none'} and {config.checkpoint} has {found}; set it to "
            "that only if you know where the file is from"
        )


def _check_backbone(backbone: Any, config: FairchemConfig) -> None:
    if not hasattr(backbone, "cutoff") or not hasattr(backbone, "sphere_channels"):
        raise ModelError(
            f"a fairchem backbone must have spherical channels and a cutoff, "
            f"{type(backbone).__name__} has not; use a UMA, eSEN or eSCN-MD checkpoint"
        )
    if abs(float(backbone.cutoff) - config.max_radius) > 1e-6:
        raise ModelError(
            f"max_radius of encoder fairchem must be the checkpoint's {float(backbone.cutoff)}, "
            f"got {config.max_radius}"
        )
    tasks = getattr(backbone, "dataset_mapping", None)
    if tasks and config.task not in tasks:
        raise ModelError(
            f"task of encoder fairchem must be one of {', '.join(tasks)}, got {config.task!r}"
        )


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Undo the seeding that loading brings: later draws must not depend on it."""
    # fairchem seeds the global generators, so it is those that are kept
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


def _atomic_data(graph: GraphBatch, task: str) -> Any:
    """Return a batch as fairchem reads it.

    Our edges know their lattice shift in Å already, so every system gets the unit cell of 1 Å, in
    which shifts are their own coordinates.
    """
    from fairchem.core.datasets.atomic_data import AtomicData

    source_E, target_E = graph.edge_index_2E
    shift_E3 = graph.edge_vectors_E3 - graph.positions_N3[source_E] + graph.positions_N3[target_E]
    size_B = torch.bincount(graph.system_N, minlength=graph.n_systems)
    edges_B = torch.bincount(graph.system_N[target_E], minlength=graph.n_systems)
    nothing_B = torch.zeros_like(size_B)
    return AtomicData(
        pos=graph.positions_N3.clone(),
        atomic_numbers=graph.numbers_N,
        cell=torch.eye(3).to(shift_E3).repeat(graph.n_systems, 1, 1),
        pbc=size_B.new_ones(graph.n_systems, 3, dtype=torch.bool),
        natoms=size_B,
        edge_index=graph.edge_index_2E,
        cell_offsets=shift_E3,
        nedges=edges_B,
        charge=nothing_B,
        spin=nothing_B,
        fixed=torch.zeros_like(graph.numbers_N),
        tags=graph.tags_N,
        batch=graph.system_N,
        sid=[""] * graph.n_systems,
        dataset=[task] * graph.n_systems,
    )
