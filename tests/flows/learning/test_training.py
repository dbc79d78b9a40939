"""Every preset trains, is written, read back and answers, in miniature; bad recipes are refused."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import stand_ins, tiny

from flows.errors import CampaignError
from flows.learning.training import (
    PRESETS,
    find_recipe,
    preset_names,
    read_recipe,
    read_values,
    train,
    training_plan,
)
from model.data.rows import Row
from model.encoders.cache import FrozenEncoder
from model.encoders.equiformer_v2 import EquiformerV2Config
from model.encoders.fairchem import FairchemConfig
from model.errors import ModelError
from model.prediction.predictor import load_predictor
from model.prediction.qe_catalytic import QECatalyticPredictor
from model.training.run import TrainingPlan

METALS = {"Cu": -0.3, "Pt": -0.7, "Ni": -0.6, "Ag": -0.1, "Pd": -0.5, "Au": 0.2}
ADSORBATES = {"O": -1.0, "H": -0.2, "N": -0.4, "C": 1.1, "S": -1.3, "F": -2.0}
HEIGHTS = 6  # a tenth of the rows is held out, and a level is calibrated on 20 or more
ONE_STEP = [
    *("members=1", "processes=1", "align.epochs=1", "joint.epochs=1"),
    *("align.batch_size=64", "joint.batch_size=64"),
]
ALONE = ["encode.epochs=1", "encode.batch_size=64"]
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
    "mini": [*ONE_STEP, *ALONE, *SMALL_TEXT, *LIGHT, "members=2", "instruct.epochs=1"],
    "mini-eqv2": [*ONE_STEP, *ALONE, *SMALL_TEXT, *EQUIFORMER],
    "small": [*ONE_STEP, *ALONE, *SMALL_TEXT, *EQUIFORMER],
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


NETWORKS = [name for name in preset_names() if name != "difference"]


def plan_of(preset: str, *changes: str) -> TrainingPlan:
    file = find_recipe(preset)
    return training_plan(read_recipe(file, changes), file, Path("table"), Path("out"))


def test_a_preset_is_found_by_its_name_and_a_file_by_its_path(tmp_path: Path) -> None:
    assert preset_names() == ["base", "difference", "mini", "mini-eqv2", "small"]
    assert find_recipe("mini") == PRESETS / "mini.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("")
    assert find_recipe(own) == own
    with pytest.raises(
        CampaignError, match=r"a preset \(base, difference, mini, .*\) or a file, got maxi"
    ):
        find_recipe("maxi")


@pytest.mark.parametrize("preset", NETWORKS)
def test_a_preset_holds_together_at_full_size(preset: str) -> None:
    plan = plan_of(preset)
    assert plan.report_fold == 4
    assert plan.stages


def test_the_base_preset_is_the_published_encoder_and_adapters_on_a_language_model() -> None:
    plan = plan_of("base")
    assert plan.encoder == EquiformerV2Config()
    assert (plan.encoder_frozen, plan.encoder_weights) == (True, Path("eq2_31M_ec4_allmd.pt"))
    assert plan.language.pretrained.startswith("Qwen/Qwen2.5-VL-3B")
    assert plan.language.lora_rank > 0
    assert plan.language.gradient_checkpointing


@pytest.mark.medium
@pytest.mark.parametrize("preset", NETWORKS)
def test_a_preset_trains_and_its_checkpoint_answers(
    preset: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = train(preset, table, Path("run"), changes=changes(preset, Path()))
    folder = made[-1].folder.absolute()
    monkeypatch.chdir(tmp_path.parent)  # what was named from there is found from here
    predictor = load_predictor(folder)
    configurations = [row.configuration() for row in rows()[:3]]
    first, again = (predictor.predict(configurations) for _ in range(2))
    assert [p.energy_ev for p in first] == [p.energy_ev for p in again]
    assert all(abs(p.energy_ev) < 20 and p.sigma_ev > 0 for p in first)
    assert isinstance(predictor, QECatalyticPredictor)
    spent = json.loads((folder / "card.json").read_text())["seconds"]
    assert len(spent["joint"]) == len(predictor.ensemble.members)
    encoder = predictor.ensemble.members[0].encoder
    assert isinstance(encoder, FrozenEncoder) == (preset == "base")


@pytest.mark.medium
def test_a_model_trained_on_texts_alone_answers_texts(table: Path, tmp_path: Path) -> None:
    texts = pq.read_table(table)
    nothing = pa.array([[]] * texts.num_rows, pa.list_(pa.float64()))
    for name in ("numbers", "positions", "cell", "tags"):
        texts = texts.set_column(texts.column_names.index(name), name, nothing)
    kinds = pa.array(["text"] * texts.num_rows)
    texts = texts.set_column(texts.column_names.index("kind"), "kind", kinds)
    pq.write_table(texts, tmp_path / "texts.parquet")
    small = [*SMALL_TEXT, *LIGHT, "members=1", "align=null", "instruct=null"]
    once = [*ALONE, "joint.epochs=1", "joint.text_share=0.0"]
    made = train("mini", tmp_path / "texts.parquet", tmp_path / "run", changes=[*small, *once])
    predictor = load_predictor(made[-1].folder)
    alone = [
        replace(row, numbers_N=row.numbers_N[:0], tags_N=row.tags_N[:0]).configuration()
        for row in rows()[:3]
    ]
    assert all(p.sigma_ev > 0 for p in predictor.predict(alone))


def test_a_change_reaches_any_depth_and_makes_missing_keys(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("members: 3\nlanguage: {layers: 2}\nalign: {epochs: 4}\n")
    values = read_values(
        file, ["members=1", "language.pretrained=/w", "encoder.kind=painn", "align=null", "x=a=b"]
    )
    assert values == {
        "members": 1,
        "language": {"layers": 2, "pretrained": "/w"},
        "encoder": {"kind": "painn"},
        "align": None,
        "x": "a=b",
    }


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("language.pretrained", "reads like language.layers=4, got 'language.pretrained'"),
        ("=4", "reads like"),
        (".a=4", "reads like"),
        ("members.a=4", "members has no parts to set"),
        ("members=[", "must be YAML, got 'members=\\['"),
        ("encodr_weights=x", "encodr_weights: Extra inputs are not permitted; keys are report"),
        ("members=many", "members: Input should be a valid integer"),
        ("encoder.kind=gnn", "mini.yaml: encoder: .* must be one of equiformer_v2, painn"),
        ("language.depth=2", "mini.yaml: language: .* 'depth'; fields are width, layers"),
        ("joint.epochs=many", "mini.yaml: joint.epochs: Input should be a valid integer"),
        ("joint.batch_size=0", "mini.yaml: joint: batch_size is at least 1, got 0"),
        ("joint.learning_rate=.nan", "mini.yaml: joint: learning_rate is at least 0, got nan"),
        ("language.layers=1000000000", "mini.yaml: language: layers of a language model is 1 to"),
        ("encoder.layers=1000000000", "mini.yaml: encoder: layers must be at most 100"),
        ("language.lora_rank=8", "mini.yaml: language: lora_rank 8 adapts a pretrained model"),
    ],
)
def test_a_change_that_cannot_be_is_refused(change: str, rule: str) -> None:
    with pytest.raises(CampaignError, match=rule):
        plan_of("mini", change)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (["joint.jitter_ang=0.05"], r"jitter_ang must be 0 in stage joint, got 0\.05"),
        (["encoder_weights=null"], "name its encoder_weights"),
        (["instruct={}"], "teaches a language model of our own"),
    ],
)
def test_a_change_that_the_base_preset_cannot_follow_is_refused(
    changes: list[str], rule: str
) -> None:
    with pytest.raises(ModelError, match=rule):
        plan_of("base", *changes)


def test_an_encoder_of_fairchem_takes_the_place_of_the_published_one() -> None:
    fairchem = "encoder={kind: fairchem, checkpoint: uma.pt, sha256: ab}"
    assert plan_of("base", fairchem, "encoder_weights=null").encoder == FairchemConfig(
        "uma.pt", sha256="ab"
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("encoder_weights=/gone.pt", "there is no file of weights /gone.pt"),
        ("language.pretrained=/gone", "there is no folder /gone; put it there"),
        ("encoder.num_layers=2", r"\d+ differ, first blocks\.1\.ffn\..* is missing"),
    ],
)
def test_pretrained_parts_are_checked_before_anything_is_trained(
    change: str, rule: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=rule):
        train("base", table, tmp_path / "run", changes=[*changes("base", tmp_path), change])
    assert [file.name for file in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.medium
def test_a_run_goes_on_with_the_network_it_began_with(table: Path, tmp_path: Path) -> None:
    begun = [*SHRUNK["mini"], "members=1"]
    train("mini", table, tmp_path, until="align", changes=begun)
    other = [*begun, "encoder.channels=12", "fusion=atoms"]
    rule = r"began with .*: encoder\.channels is 8, not 12, fusion is 'pooled', not 'atoms'"
    with pytest.raises(ModelError, match=rule):
        train("mini", table, tmp_path, changes=other)
