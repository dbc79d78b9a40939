"""A network small enough for a test, and copper slabs with something on them."""

import numpy as np
from ase.build import add_adsorbate, fcc111

from model.data.rows import Row
from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.registry import EncoderConfig
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import QECatalytic
from model.text.tokenizer import GRAPH, model_text, token_ids, train_tokenizer

LEVELS = ("beef-vdw-ch4", "emt")
ENCODER = EquiformerV2Config(
    num_layers=1,
    sphere_channels=8,
    attn_hidden_channels=8,
    num_heads=2,
    attn_alpha_channels=4,
    attn_value_channels=4,
    ffn_hidden_channels=8,
    lmax=1,
    mmax=1,
    grid_resolution=None,
    edge_channels=8,
    num_distance_basis=16,
    max_radius=5.0,
    max_neighbors=12,
    use_grid_mlp=False,
    use_gate_act=True,
    avg_degree=12.0,
    alpha_drop=0.0,
    drop_path_rate=0.0,
)


def row(adsorbate: str, metal: str, energy_ev: float, *, level: str = "emt", fold: int = 0) -> Row:
    """Return a labelled atom on top of a small (111) slab."""
    slab = fcc111(metal, (2, 2, 3), vacuum=7.0)
    add_adsorbate(slab, adsorbate, 1.6, "ontop")
    text = f"{adsorbate}</s>{metal} (1 1 1)</s>[{adsorbate} {metal} atop [{metal} {metal}]]"
    uid = f"{level}-{adsorbate}-{metal}"
    tags = np.where(slab.numbers == slab.numbers[-1], 2, np.where(slab.get_tags() == 1, 1, 0))
    return Row(
        uid=uid,
        pair=uid,
        set="test",
        level=level,
        adsorbate=adsorbate,
        text=text,
        kind="unrelaxed",
        fold=fold,
        energy_ev=energy_ev,
        numbers_N=slab.numbers.astype(np.int64),
        positions_N3=slab.positions,
        cell_33=slab.cell.array,
        tags_N=tags.astype(np.int64),
    )


ROWS = [
    row(adsorbate, metal, energy, level=level)
    for level, shift in (("emt", 0.0), ("beef-vdw-ch4", 2.5))
    for adsorbate, metal, energy in (
        ("O", "Cu", 1.1 + shift),
        ("H", "Pt", -0.3 + shift),
        ("C", "Ni", 0.4 + shift),
        ("N", "Ag", 2.2 + shift),
    )
]


def network_and_reader(
    encoder: EncoderConfig = ENCODER, fusion: str = "pooled"
) -> tuple[QECatalytic, Reader]:
    """Return an untrained tiny network with its tokenizer."""
    tokenizer = train_tokenizer(model_text(r.level, r.text) for r in ROWS)
    config = QECatalyticConfig(
        encoder=encoder,
        fusion=fusion,
        levels=LEVELS,
        vocabulary=len(tokenizer),
        language=LanguageConfig(width=16, layers=1, heads=2, key_value_heads=1, feed_forward=32),
    )
    network = QECatalytic(config, graph_token=token_ids(tokenizer, [GRAPH])[0])
    return network, Reader(config, tokenizer)
