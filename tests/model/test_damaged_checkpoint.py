"""A checkpoint that was sealed damaged is refused in one line, before it takes much memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import learning
from support.synthetic import rows as made_up

from model.checkpoint import seal
from model.data.domain import domain_of
from model.errors import ModelError
from model.prediction.predictor import load_predictor
from model.training.baseline import train_baseline, train_medians

ROWS = made_up("text")
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any) -> dict[str, Path]:
    """Return a checkpoint of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    learning.checkpoint(folder / "qe-catalytic", members=1)
    domain = domain_of(ROWS)
    train_baseline(ROWS, ROWS[::3], domain, folder / "baseline", seed=0)
    train_medians(ROWS, ROWS[::3], domain, folder / "median", by_adsorbate=False, seed=0)
    return {name: folder / name for name in ("qe-catalytic", "baseline", "median")}


def settings(file: str, *path: str, value: Any) -> Damage:
    """Return the damage of one value of a JSON file; ``...`` leaves the field out."""

    def change(folder: Path) -> None:
        content = part = json.loads((folder / file).read_text())
        for name in path[:-1]:
            part = part[name]
        if value is ...:
            del part[path[-1]]
        else:
            part[path[-1]] = value
        (folder / file).write_text(json.dumps(content))

    return change


def weights(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    """Return the damage of one tensor of the member."""

    def apply(folder: Path) -> None:
        file = folder / "member-0.safetensors"
        state = load_file(file)
        state[name] = change(state[name]).contiguous()
        save_file(state, file)

    return apply


def text(file: str, change: Callable[[str], str]) -> Damage:
    """Return the damage of a text file."""

    def apply(folder: Path) -> None:
        (folder / file).write_text(change((folder / file).read_text()))

    return apply


QE, BOOSTER = "qe-catalytic.json", "text-0.txt"
NETWORK = ("network", "language")
LEVEL = ("modes", "text", "calibration", "made-up")


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("qe-catalytic", settings(QE, *NETWORK, "width", value=2_000_000), "has shape"),
        ("qe-catalytic", settings(QE, *NETWORK, "layers", value=10**9), "layers of a .* 1 to 512"),
        ("qe-catalytic", settings(QE, *NETWORK, "width", value="16x"), "language.width: value"),
        ("qe-catalytic", settings(QE, "network", "vocabulary", value=10**12), "vocabulary is 1 to"),
        ("qe-catalytic", settings(QE, "network", "levels", value=7), "configuration: levels: "),
        ("qe-catalytic", settings(QE, "network", value=...), "is damaged"),
        ("qe-catalytic", settings(QE, *LEVEL, "distance_limit", value=float("nan")), "finite"),
        ("qe-catalytic", settings(QE, *LEVEL, "typical", value=[1.0]), "typical has 4 numbers"),
        ("qe-catalytic", settings(QE, *LEVEL, "factors", value={}), "factors are at least 0, any"),
        (
            "qe-catalytic",
            settings(QE, *LEVEL, "law", value=...),
            "calibration of made-up lacks law",
        ),
        ("qe-catalytic", settings(QE, "modes", value={"../x": {}}), "modes lacks"),
        ("qe-catalytic", settings(QE, "bond_rule", value="none"), "states 'none'"),
        ("qe-catalytic", weights("level.weight", lambda w: w * float("nan")), "level.weight of"),
        ("qe-catalytic", weights("level.weight", lambda w: w[:, :3]), "shape .*, not"),
        ("qe-catalytic", text("tokenizer.json", lambda t: t[: len(t) // 2]), "not a tokenizer"),
        ("qe-catalytic", text("tokenizer.json", lambda t: t.replace("<graph>", "<g>")), "<graph>"),
        (
            "qe-catalytic",
            lambda folder: (folder / "member-0.safetensors").write_bytes(b"\xff" * 100),
            "is damaged .SafetensorError",
        ),
        ("qe-catalytic", lambda folder: (folder / "tokenizer.json").unlink(), "not a tokenizer"),
        ("baseline", text(BOOSTER, lambda t: t[: len(t) // 2]), "no end of them"),
        (
            "baseline",
            text(BOOSTER, lambda t: t.replace("leaf_value=", "leaf_value=nan ", 1)),
            "siz",
        ),
        (
            "baseline",
            text(BOOSTER, lambda t: t.replace("max_feature_idx=", "max_feature_idx=9")),
            "max_feature_idx must be",
        ),
        ("baseline", settings("baseline.json", "levels", value={}), "answers at ; got level"),
        ("median", settings("medians.json", "levels", "made-up", value={}), "lacks made-up.energy"),
        ("median", settings("medians.json", "domain", value=[]), "is damaged"),
        ("median", text("medians.json", lambda _: "[" * 100_000), "cannot be read as JSON"),
        ("median", text("medians.json", lambda _: "7"), "must hold fields by name, got a int"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    kind: str, damage: Damage, message: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole[kind], folder)
    damage(folder)
    seal(folder, kind)
    with pytest.raises(ModelError, match=message) as refused:
        load_predictor(folder).predict([ROWS[0].configuration()])
    assert "\n" not in str(refused.value)


def test_a_pickle_that_comes_with_a_checkpoint_is_not_opened(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole["qe-catalytic"], folder)
    pickled = folder / "encoder.pt"
    pickled.write_bytes(b"anything")
    stated = {"kind": "fairchem", "checkpoint": str(pickled), "sha256": "0" * 64}
    settings(QE, "network", "encoder", value=stated)(folder)
    settings(QE, "network", "encoder_frozen", value=True)(folder)
    seal(folder, "qe-catalytic")
    with pytest.raises(ModelError, match="nothing that comes with a checkpoint is unpickled"):
        load_predictor(folder)


def circle(tree: str) -> str:
    """Return a tree whose second split leads back to itself."""
    lines = tree.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("left_child="))
    words = lines[at].partition("=")[2].split()
    words[1] = "1"
    lines[at] = f"left_child={' '.join(words)}"
    return "\n".join(lines)


def test_a_tree_that_leads_in_a_circle_is_not_followed(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole["baseline"], folder)
    head, *trees = (folder / BOOSTER).read_text().partition("\nend of trees\n")[0].split("\nTree=")
    trees[0] = circle(trees[0])
    sizes = " ".join(str(len(f"Tree={tree}\n")) for tree in trees)
    head = "\n".join(
        f"tree_sizes={sizes}" if line.startswith("tree_sizes") else line
        for line in head.split("\n")
    )
    (folder / BOOSTER).write_text("\nTree=".join([head, *trees]) + "\nend of trees\n")
    seal(folder, "baseline")
    with pytest.raises(
        ModelError, match=r"two splits lead to one node|that its tree does not have"
    ):
        load_predictor(folder)
