"""Compare our EquiformerV2 with fairchem-core 1.10's, weight by weight and output by output.

The two fairchem lines share a package name, so this runs in an environment of its own:

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install torch==2.13.0
    /tmp/oracle/bin/pip install --no-deps fairchem-core==1.10.0
    /tmp/oracle/bin/pip install torch-geometric e3nn ase pymatgen safetensors pyyaml tqdm lmdb \
        numba orjson submitit hydra-core tensorboard wandb requests huggingface_hub
    OMP_NUM_THREADS=1 /tmp/oracle/bin/python benchmarks/accuracy/compare_equiformer_v2.py

fairchem turns each edge's frame about the edge at random. The comparison gives it the frames that
ours uses, and states beside it how far fairchem is from itself under two random turns. Its
torch_scatter import is served by a stand-in. ``--write-fixture`` stores a tiny case for the tests.
"""

import argparse
import importlib
import json
import sys
import types
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import add_adsorbate, bcc110, fcc111, fcc211, molecule
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from model.data.graph import Graph, GraphBatch, collate, radius_graph  # noqa: E402
from model.encoders.equiformer_v2 import EquiformerV2, EquiformerV2Config  # noqa: E402
from model.encoders.equiformer_v2.encoder import load_backbone  # noqa: E402

FIXTURE = ROOT / "tests" / "data" / "equiformer_v2_{name}.safetensors"
PUBLISHED = EquiformerV2Config()
SMALL_GATE = EquiformerV2Config(
    num_layers=2,
    sphere_channels=32,
    attn_hidden_channels=32,
    num_heads=4,
    attn_alpha_channels=16,
    attn_value_channels=8,
    ffn_hidden_channels=64,
    norm_type="rms_norm_sh",
    lmax=2,
    grid_resolution=None,
    edge_channels=32,
    max_radius=6.0,
    use_gate_act=True,
    use_grid_mlp=False,
)
TINY = replace(
    SMALL_GATE,
    sphere_channels=6,
    attn_hidden_channels=4,
    num_heads=2,
    attn_alpha_channels=4,
    attn_value_channels=3,
    ffn_hidden_channels=6,
    edge_channels=4,
    max_radius=5.0,
    max_neighbors=12,
)
TINY_GRID = replace(
    TINY,
    num_layers=1,
    lmax=3,
    norm_type="layer_norm_sh",
    use_gate_act=False,
    use_grid_mlp=True,
    grid_resolution=10,
)
CASES = {
    "published 31M": PUBLISHED,
    "lmax 2, gate, rms_norm_sh": SMALL_GATE,
    "lmax 2, separable S2": replace(
        SMALL_GATE, use_gate_act=False, grid_resolution=14, num_layers=3, norm_type="layer_norm_sh"
    ),
    "lmax 2, plain S2, coarse grid": replace(SMALL_GATE, use_gate_act=False, use_sep_s2_act=False),
    "lmax 3, mmax 1, gate, layer_norm": replace(
        SMALL_GATE, lmax=3, mmax=1, norm_type="layer_norm", share_atom_edge_embedding=True
    ),
    "lmax 1, gate, no element on edges": replace(
        SMALL_GATE, lmax=1, mmax=1, use_atom_edge_embedding=False, use_attn_renorm=False
    ),
    "lmax 6, mmax 3, grid feed-forward": replace(
        SMALL_GATE, lmax=6, mmax=3, use_gate_act=False, use_grid_mlp=True, grid_resolution=16
    ),
}


def structures() -> list[Any]:
    """Return adsorbates on rattled metal slabs, and one without any symmetry broken."""
    slabs = [
        (fcc111("Cu", (2, 2, 3), vacuum=8), "OH", 1.9),
        (fcc111("Pt", (3, 3, 4), vacuum=8), "CO", 1.8),
        (fcc211("Pd", (3, 3, 2), vacuum=8), "CH3OH", 2.2),
        (bcc110("Mo", (2, 2, 3), vacuum=8), "NH3", 2.0),
    ]
    made = []
    for seed, (slab, name, height) in enumerate(slabs):
        add_adsorbate(slab, molecule(name), height, "ontop" if seed != 2 else (1.0, 1.5))
        slab.pbc = True
        if seed:
            slab.rattle(0.05, seed=seed)
        made.append(slab)
    return made


def graph_of(atoms: Any, config: EquiformerV2Config) -> Graph:
    """Return our graph of a structure."""
    return radius_graph(
        atoms.numbers,
        atoms.positions,
        atoms.cell[:],
        atoms.pbc,
        config.max_radius,
        config.max_neighbors,
    )


@dataclass
class OracleGraph:
    """The fields that fairchem's forward pass reads off its own graph."""

    edge_index: Tensor
    edge_distance: Tensor
    edge_distance_vec: Tensor
    atomic_numbers_full: Tensor
    batch_full: Tensor
    node_offset: int = 0


def stand_in_for_torch_scatter() -> None:
    """Let fairchem import ``torch_scatter.scatter`` without the compiled package."""

    def scatter(source: Tensor, index: Tensor, dim: int = 0, dim_size: int = 0) -> Tensor:
        shape = [*source.shape]
        shape[dim] = dim_size
        return source.new_zeros(shape).index_add_(dim, index, source)

    module = types.ModuleType("torch_scatter")
    module.scatter = scatter  # type: ignore[attr-defined]
    sys.modules["torch_scatter"] = module


def oracle(config: EquiformerV2Config) -> Any:
    """Return fairchem's backbone of the same configuration, in evaluation mode."""
    importlib.import_module("e3nn")  # fairchem looks for it among the imported modules
    from fairchem.core.models.equiformer_v2.equiformer_v2 import EquiformerV2Backbone

    names = asdict(config)
    lmax, mmax = names.pop("lmax"), names.pop("mmax")
    return EquiformerV2Backbone(
        **names, lmax_list=[lmax], mmax_list=[mmax], use_m_share_rad=False, otf_graph=True
    ).eval()


def our_frames(vectors_E3: Tensor) -> Tensor:
    """Return (E, 3, 3) rotations into the frames that ours uses, in x, y, z."""
    unit_E3 = vectors_E3 / vectors_E3.norm(dim=1, keepdim=True)
    x, y, z = unit_E3.unbind(1)
    sine = torch.hypot(x, z)
    safe = torch.where(sine == 0, 1.0, sine)
    cos_c, sin_c = torch.where(sine == 0, 1.0, z / safe), -x / safe
    zero = torch.zeros_like(x)
    rows = [
        torch.stack((cos_c, zero, sin_c), 1),
        torch.stack((-sine * sin_c, y, sine * cos_c), 1),
        torch.stack((-y * sin_c, -sine, y * cos_c), 1),
    ]
    return torch.stack(rows, 1)


def run_oracle(backbone: Any, batch: GraphBatch, *, frames: bool) -> Tensor:
    """Return fairchem's node embeddings on our edges, in our frames or in its random ones.

    Args:
        backbone: A network of fairchem's.
        batch: N atoms in B systems with E edges, positions in Å.
        frames: Whether edges have our frames; else fairchem turns each at random.

    Returns:
        (N, K, C) embeddings: K coefficients of spherical harmonics, C channels.
    """
    from fairchem.core.models.equiformer_v2 import equiformer_v2 as published

    own_frames = published.init_edge_rot_mat
    data = types.SimpleNamespace(
        natoms=torch.bincount(batch.system_N),
        pos=batch.positions_N3,
        atomic_numbers=batch.numbers_N,
        batch=batch.system_N,
    )
    backbone.generate_graph = lambda *_, **__: OracleGraph(
        batch.edge_index_2E,
        batch.edge_distances_E,
        batch.edge_vectors_E3,
        batch.numbers_N,
        batch.system_N,
    )
    if frames:
        published.init_edge_rot_mat = our_frames
    try:
        with torch.no_grad():
            embedding: Tensor = backbone(data)["node_embedding"].embedding
    finally:
        published.init_edge_rot_mat = own_frames
    return embedding


def compare(name: str, config: EquiformerV2Config, dtype: torch.dtype) -> dict[str, float]:
    """Return the largest differences of one case, and print them as a row.

    Args:
        name: The case, as the table names it.
        config: The network of the case.
        dtype: The type that both networks compute in.

    Returns:
        The number of parameters, the largest value, and the largest absolute differences.

    Raises:
        SystemExit: the two networks' parameters differ in names or shapes.
    """
    torch.set_default_dtype(dtype)  # fairchem makes some tensors in the default type
    torch.manual_seed(0)
    backbone, ours = oracle(config), EquiformerV2(config).eval()
    published = {key: value.shape for key, value in backbone.named_parameters()}
    if published != {key: value.shape for key, value in ours.state_dict().items()}:
        raise SystemExit(f"{name}: parameter names or shapes differ")
    load_backbone(ours, {f"module.backbone.{k}": v for k, v in backbone.state_dict().items()})
    batch = collate([graph_of(atoms, config) for atoms in structures()], dtype)
    with torch.no_grad():
        result = ours(batch)
    expected = run_oracle(backbone, batch, frames=True)
    turned = [run_oracle(backbone, batch, frames=False) for _ in range(2)]
    row = {
        "parameters": sum(value.numel() for value in ours.parameters()),
        "largest value": expected.abs().max().item(),
        "difference": (result - expected).abs().max().item(),
        "oracle under two random turns": (turned[0] - turned[1]).abs().max().item(),
        "ours against a random turn": (result - turned[0]).abs().max().item(),
    }
    values = " | ".join(f"{value:.3g}" for value in list(row.values())[1:])
    print(f"| {name} | {str(dtype)[6:]} | {row['parameters']:,} | {values} |", flush=True)
    return row


def compare_edges() -> None:
    """Check our edges against fairchem's own graph where no neighbour limit applies."""
    from fairchem.core.common.utils import get_pbc_distances, radius_graph_pbc

    for atoms in structures():
        data = types.SimpleNamespace(
            pos=torch.tensor(atoms.positions).float(),
            cell=torch.tensor(atoms.cell[:]).float()[None],
            natoms=torch.tensor([len(atoms)]),
            pbc=torch.tensor(atoms.pbc)[None],
        )
        index, offsets, neighbors = radius_graph_pbc(data, 6.0, 1000)
        theirs = get_pbc_distances(
            data.pos, index, data.cell, offsets, neighbors, return_distance_vec=True
        )
        ours = radius_graph(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, 6.0, 1000)
        gap = np.abs(
            _sorted_rows(theirs["edge_index"].numpy(), theirs["distance_vec"].numpy())
            - _sorted_rows(ours.edge_index_2E, ours.edge_vectors_E3)
        ).max()
        print(
            f"edges of {atoms.get_chemical_formula()}: {ours.edge_index_2E.shape[1]}, {gap:.1e} Å"
        )


def _sorted_rows(index_2E: Any, vectors_E3: Any) -> Any:
    rows = np.concatenate((index_2E.T, vectors_E3), axis=1)
    return rows[np.lexsort(np.round(rows, 3).T)]


def write_fixture(name: str, config: EquiformerV2Config, *, frames: bool) -> None:
    """Store float32 weights, a batch of two structures, and fairchem's float64 outputs on it.

    Args:
        name: The fixture's name, part of its file name.
        config: The network that is stored.
        frames: Whether edges have our frames; else fairchem turns each at random.
    """
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    backbone = oracle(config)
    for value in backbone.parameters():
        value.data = value.data.float().double()
    made = structures()
    batch = collate([graph_of(made[0], config), graph_of(made[3], config)], torch.float64)
    tensors = {
        f"weights.{key}": value.detach().float() for key, value in backbone.named_parameters()
    }
    for field in ("numbers_N", "positions_N3", "edge_index_2E", "system_N", "tags_N"):
        tensors[f"graph.{field}"] = getattr(batch, field)
    tensors["graph.edge_vectors_E3"] = batch.edge_vectors_E3
    tensors["graph.edge_distances_E"] = batch.edge_distances_E
    tensors["nodes_NKC"] = run_oracle(backbone, batch, frames=frames)
    path = Path(str(FIXTURE).format(name=name))
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"config": json.dumps(asdict(config)), "oracle": "fairchem-core 1.10.0"}
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Print the table, and write the fixture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-fixture", action="store_true")
    parser.add_argument("--case", help="only the case of this name")
    arguments = parser.parse_args()
    stand_in_for_torch_scatter()
    if arguments.write_fixture:
        # fairchem keeps its random frames where a turn about the edge changes nothing.
        write_fixture("gate", TINY, frames=False)
        write_fixture("grid", TINY_GRID, frames=True)
        return
    compare_edges()
    print(
        "| case | type | parameters | largest value | difference | oracle with itself, turned |",
        end="",
    )
    print(" ours with oracle, turned |")
    for name, config in CASES.items():
        if arguments.case in (None, name):
            for dtype, limit in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
                if compare(name, config, dtype)["difference"] > limit:
                    raise SystemExit(f"{name}: above {limit}")


if __name__ == "__main__":
    main()
