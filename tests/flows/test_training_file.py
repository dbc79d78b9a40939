"""Every preset trains, is written, read back and answers, in miniature; bad recipes are refused."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stand_ins
import tiny

from flows.recipe_file import preset_names
from flows.training import train
from model.equiformer_v2 import EquiformerV2Config
from model.predictor import load_predictor
from model.rows import Row

METALS = {"Cu": -0.3, "Pt": -0.7, "Ni": -0.6, "Ag": -0.1, "Pd": -0.5, "Au": 0.2}
ADSORBATES = {"O": -1.0, "H": -0.2, "N": -0.4, "C": 1.1, "S": -1.3, "F": -2.0}
HEIGHTS = 6  # a tenth of the rows is held out, and a level is calibrated on 20 or more
ONE_STEP = [
    *("members=1", "processes=1", "align.epochs=1", "joint.epochs=1"),
    *("align.batch_size=64", "joint.batch_size=64"),
]
SMALL_TEXT = [
    *("language.width=16", "language.layers=1", "language.heads=2"),
    *("language.key_value_heads=1", "language.feed_forward=32"),
]
SMALL_EQUIFORMER = {
    **{"num_layers": 1, "sphere_channels": 8, "attn_hidden_channels": 8, "num_heads": 2},
    **{"attn_alpha_channels": 4, "attn_value_channels": 4, "ffn_hidden_channels": 8},
    **{"edge_channels": 8, "num_distance_basis": 16, "max_radius": 5.0, "max_neighbors": 12},
}
EQUIFORMER = [f"encoder.{name}={value}" for name, value in SMALL_EQUIFORMER.items()]
LIGHT = ["encoder.channels=8", "encoder.layers=1", "encoder.max_radius=5.0"]
SHRUNK = {
    "mini": [*ONE_STEP, *SMALL_TEXT, *LIGHT, "members=2"],
    "mini-eqv2": [*ONE_STEP[:2], *ONE_STEP[3::2], *SMALL_TEXT, *EQUIFORMER],
    "small": [*ONE_STEP, *SMALL_TEXT, *EQUIFORMER],
}
LOW_DEGREE = {"lmax": 2, "mmax": 1, "grid_resolution": 6}


def rows() -> list[Row]:
    made = []
    for number, (a, m, h) in enumerate(product(ADSORBATES, METALS, range(HEIGHTS))):
        row = tiny.row(a, m, ADSORBATES[a] + METALS[m] + 0.01 * h, fold=4 if number == 0 else 0)
        row.positions_N3[-1, 2] += 0.05 * h
        made.append(replace(row, uid=f"{a}{m}{h}", pair=f"{a}{m}{h}"))
    return made


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "table.parquet"
    columns = ("uid", "pair", "set", "level", "adsorbate", "text", "kind", "fold", "energy_ev")
    values = [
        {
            **{name: getattr(row, name) for name in columns},
            "numbers": row.numbers_N.tolist(),
            "positions": row.positions_N3.ravel().tolist(),
            "cell": row.cell_33.ravel().tolist(),
            "tags": row.tags_N.tolist(),
        }
        for row in rows()
    ]
    pq.write_table(pa.Table.from_pylist(values), file)
    return file


def changes(preset: str, folder: Path, *, language: str = "qwen_vl") -> list[str]:
    """Return what makes a preset train in a second."""
    if preset != "base":
        return SHRUNK[preset]
    config = EquiformerV2Config(**SMALL_EQUIFORMER, **LOW_DEGREE)
    weights = stand_ins.equiformer(folder / "published.pt", config)
    pretrained = getattr(stand_ins, language)(folder / language)
    return [
        *(*ONE_STEP, *EQUIFORMER, f"encoder_weights={weights}", "language.lora_rank=2"),
        *(f"encoder.{name}={value}" for name, value in LOW_DEGREE.items()),
        *(f"encoder_cache={folder / 'cache'}", f"language.pretrained={pretrained}"),
    ]


def test_the_presets_are_those_that_are_named() -> None:
    assert preset_names() == ["base", "mini", "mini-eqv2", "small"]


@pytest.mark.parametrize("preset", ["base", "mini", "mini-eqv2", "small"])
def test_a_preset_trains_and_its_checkpoint_answers(
    preset: str, table: Path, tmp_path: Path
) -> None:
    made = train(preset, table, tmp_path / "run", changes=changes(preset, tmp_path))
    predictor = load_predictor(made[-1].folder)
    configurations = [row.configuration() for row in rows()[:3]]
    first, again = (predictor.predict(configurations) for _ in range(2))
    assert [p.energy_ev for p in first] == [p.energy_ev for p in again]
    assert all(abs(p.energy_ev) < 20 and p.sigma_ev > 0 for p in first)
