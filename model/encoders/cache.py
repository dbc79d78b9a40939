"""A frozen encoder runs once for each structure; its features are kept.

Shapes  N atoms, C channels, B systems.

A structure's name is the hash of its graph and of the encoder's weights: features of other
positions, or of another encoder, are never taken for it.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.data.graph import Graph, GraphBatch, collate
from model.encoders.equiformer_v2.encoder import EquiformerV2
from model.encoders.fairchem import FairchemEncoder
from model.encoders.painn.encoder import Painn
from model.files import new_file

MEMORY_BYTES = 4 * 2**30
FOLDER_BYTES = 50 * 2**30
EDGES_AT_ONCE = 20_000  # of one forward pass: about 3 GB in the published 31M model
_FEATURES = "invariant_NC"


class EncoderCache:
    """Features by name: the latest used in memory, and on disk where a folder is given.

    Both are bounded; what was used longest ago goes first. Processes may share a folder.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        folder_bytes: int = FOLDER_BYTES,
    ):
        self.folder = folder
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._memory_left = memory_bytes
        self._folder_bytes = folder_bytes
        self._folder_left = folder_bytes - sum(size for _, size, _ in self._files())

    def get(self, name: str) -> Tensor | None:
        """Return the features of that name, None where they are not kept."""
        if name in self._memory:
            self._memory.move_to_end(name)
            return self._memory[name]
        features = self._read(name)
        if features is not None:
            self._remember(name, features)
        return features

    def put(self, name: str, features: Tensor) -> None:
        """Keep features, replacing older ones where there is no room."""
        self._remember(name, features)
        if self.folder is not None:
            self._write(name, features)

    def _remember(self, name: str, features: Tensor) -> None:
        self._memory[name] = features
        self._memory_left -= features.nbytes
        while self._memory_left < 0 and self._memory:
            _, oldest = self._memory.popitem(last=False)
            self._memory_left += oldest.nbytes

    def _file(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name[:2] / f"{name}.safetensors"

    def _read(self, name: str) -> Tensor | None:
        file = self._file(name)
        if file is None:
            return None
        try:
            features = load_file(file)[_FEATURES]
            os.utime(file)
        except OSError:  # not there, or just removed by another process
            return None
        except (SafetensorError, KeyError):  # cut short: it is written anew
            file.unlink(missing_ok=True)
            return None
        return features

    def _write(self, name: str, features: Tensor) -> None:
        file = self._file(name)
        if file is None or file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file) as fresh:
            save_file({_FEATURES: features}, fresh)
        self._folder_left -= file.stat().st_size
        if self._folder_left < 0:
            self._make_room()

    def _make_room(self) -> None:
        """Remove files, longest unused first, until a tenth of the folder's limit is free."""
        files = sorted(self._files())
        self._folder_left = self._folder_bytes - sum(size for _, size, _ in files)
        for _, size, file in files:
            if self._folder_left >= self._folder_bytes // 10:
                return
            file.unlink(missing_ok=True)
            self._folder_left += size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each file was last used, its size and the file."""
        for file in self.folder.glob("*/*.safetensors") if self.folder else ():
            try:
                state = file.stat()
            except FileNotFoundError:  # another process made room
                continue
            yield state.st_mtime, state.st_size, file


class FrozenEncoder(nn.Module):
    """An encoder that never learns: a structure it has seen is not encoded again."""

    def __init__(
        self, encoder: EquiformerV2 | Painn | FairchemEncoder, cache: EncoderCache | None = None
    ):
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.channels = encoder.channels
        self.cache = cache or EncoderCache()
        self.identity = weights_sha256(encoder)

    def __deepcopy__(self, memo: dict[int, object]) -> "FrozenEncoder":
        """Copies of a network share the one encoder and its features."""
        return self

    def train(self, mode: bool = True) -> "FrozenEncoder":  # noqa: ARG002  torch calls it so
        """Stay in evaluation mode: nothing is dropped at random."""
        return super().train(False)

    def invariants(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return (N, C) invariants; a condition would be another input, and is refused."""
        if condition_NC is not None:
            raise ValueError("a frozen encoder takes no condition: it runs once for a structure")
        graphs = [each for each in split_batch(graph) if len(each.numbers_N)]
        names = [self._name(each) for each in graphs]
        features = {name: self.cache.get(name) for name in names}
        new = {n: each for n, each in zip(names, graphs, strict=True) if features[n] is None}
        for group in _groups(new.items()):
            features |= self._encode(group, graph.positions_N3)
        parts = [part for name in names if (part := features[name]) is not None]
        none_0C = graph.positions_N3.new_zeros(0, self.channels)
        return torch.cat([none_0C, *(part.to(none_0C) for part in parts)])

    def _name(self, graph: Graph) -> str:
        parts = (graph.numbers_N, graph.tags_N, graph.edge_index_2E, graph.edge_vectors_E3)
        content = hashlib.sha256(self.identity.encode())
        for part in parts:
            content.update(str(part.shape).encode() + part.tobytes())
        return content.hexdigest()

    def _encode(self, group: dict[str, Graph], like: Tensor) -> dict[str, Tensor]:
        """Encode new structures and keep their features, in full precision under autocast too."""
        full = torch.autocast(like.device.type, enabled=False)
        # Features kept from inference mode could not enter a training step later.
        with torch.inference_mode(False), torch.no_grad(), full:
            batch = collate(list(group.values()), like.dtype).to(like.device)
            invariant_NC = self.encoder.invariants(batch)
            ends = np.cumsum([len(graph.numbers_N) for graph in group.values()])
            split = [part.clone() for part in invariant_NC.cpu().tensor_split(ends[:-1].tolist())]
        features = dict(zip(group, split, strict=True))
        for name, each in features.items():
            self.cache.put(name, each)
        return features


def split_batch(batch: GraphBatch) -> list[Graph]:
    """Return the graphs of a batch, each for itself, in the batch's precision."""
    here = batch.to("cpu")
    size_B = torch.bincount(here.system_N, minlength=here.n_systems)
    edges_B = torch.bincount(here.system_N[here.edge_index_2E[1]], minlength=here.n_systems)
    # Atoms and edges stand system by system.
    atom_B, edge_B = size_B.cumsum(0), edges_B.cumsum(0)
    pieces = zip(
        np.split(here.numbers_N.numpy(), atom_B[:-1]),
        np.split(here.positions_N3.numpy(), atom_B[:-1]),
        np.split(here.tags_N.numpy(), atom_B[:-1]),
        np.split(here.edge_index_2E.numpy(), edge_B[:-1], axis=1),
        np.split(here.edge_vectors_E3.numpy(), edge_B[:-1]),
        (atom_B - size_B).tolist(),
        strict=True,
    )
    return [
        Graph(numbers_N, positions_N3, tags_N, index_2E - first, vectors_E3)
        for numbers_N, positions_N3, tags_N, index_2E, vectors_E3, first in pieces
    ]


def _groups(items: Iterable[tuple[str, Graph]]) -> Iterator[dict[str, Graph]]:
    """Yield structures in groups of at most so many edges, a larger one by itself."""
    group: dict[str, Graph] = {}
    edges = 0
    for name, graph in items:
        count = graph.edge_index_2E.shape[1]
        if group and edges + count > EDGES_AT_ONCE:
            yield group
            group, edges = {}, 0
        group[name] = graph
        edges += count
    if group:
        yield group


def weights_sha256(module: nn.Module) -> str:
    """Return a hash of a module's weights under their names, and of its configuration."""
    content = hashlib.sha256(repr(getattr(module, "config", "")).encode())
    for name, weight in sorted(module.state_dict().items()):
        content.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        content.update(weight.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()
