"""From a training table to trained members: split, tokenizer, scales, and one stage after another.

Units: eV.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from model.agreement import adsorbate_counts
from model.align import Align
from model.batches import Reader
from model.config import LanguageConfig, QECatalyticConfig
from model.encoders import EncoderConfig
from model.errors import ModelError
from model.joint import Joint
from model.language import start_from_periodic_table
from model.qe_catalytic import QECatalytic
from model.reading import Read
from model.recipes import AlignRecipe, JointRecipe, ReadRecipe, Recipe
from model.rows import Row, read_rows, split
from model.samples import Sample, make_samples
from model.tokenizer import (
    GRAPH,
    load_tokenizer,
    model_text,
    save_tokenizer,
    token_ids,
    train_tokenizer,
)
from model.training import Objective, Trainer


@dataclass(frozen=True)
class Plan:
    """Everything that a training run is made from. Stages run in the order given."""

    table: Path
    folder: Path
    encoder: EncoderConfig
    stages: tuple[Recipe, ...]
    report_fold: int
    language: LanguageConfig = field(default_factory=LanguageConfig)
    fusion: str = "pooled"
    crop_radius_ang: float | None = 6.0
    device: str = "cpu"  # or cuda
    weights: dict[str, float] = field(default_factory=dict)  # draws of a set in an epoch, else 1
    texts: Path | None = None  # unlabelled texts to read, one a line: level</s>text


STAGES: dict[type[Recipe], str] = {
    ReadRecipe: "read",
    AlignRecipe: "align",
    JointRecipe: "joint",
}


def train_members(plan: Plan, *, members: int, processes: int, until: str = "") -> None:
    """Train ``members`` networks side by side, each resumed where an earlier run stopped.

    ``until`` names the last stage to run; without it all are.
    """
    prepare(plan)
    rest = [[plan] * members, range(members), [until] * members]
    if members == 1 or processes == 1:
        list(map(_train_member_quietly, *rest))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(_train_member_quietly, *rest))


def _train_member_quietly(plan: Plan, member: int, until: str) -> None:
    """Train a member for what it leaves on disk: networks do not travel between processes."""
    train_member(plan, member, until=until)


def prepare(plan: Plan) -> None:
    """Write the tokenizer, unless an earlier run did."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    tokenizer_file = plan.folder / "tokenizer.json"
    if not tokenizer_file.exists():
        train, _, _ = split(read_rows(plan.table), report_fold=plan.report_fold)
        texts = [model_text(row.level, row.text) for row in train]
        save_tokenizer(train_tokenizer(texts), tokenizer_file)


def train_member(plan: Plan, member: int, *, until: str = "") -> QECatalytic:
    """Run the stages of one member; one thread, so that members run side by side.

    A stage that has ended before is read from disk; the next starts from its kept weights.
    """
    torch.set_num_threads(1)
    train, held_out, _ = split(read_rows(plan.table), report_fold=plan.report_fold)
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    torch.manual_seed(plan.stages[0].seed + member)
    network = new_network(plan, train, tokenizer)
    reader = Reader(network.config, tokenizer)
    samples = make_samples(train, reader, plan.weights)
    aside = make_samples(held_out, reader, {})
    for stage in plan.stages:
        recipe = replace(stage, seed=stage.seed + member)
        objective = _objective(plan, recipe, samples, aside, reader)
        folder = member_folder(plan, member) / objective.name
        network = Trainer(network, objective, recipe, folder, torch.device(plan.device)).run()
        network.requires_grad_(True)  # the next stage freezes its own
        if objective.name == until:
            break
    return network


def _objective(
    plan: Plan,
    recipe: Recipe,
    samples: Sequence[Sample],
    aside: Sequence[Sample],
    reader: Reader,
) -> Objective:
    pad = int(reader.tokenizer.pad_token_id)
    if isinstance(recipe, JointRecipe):
        return Joint(samples, aside, reader, recipe)
    if isinstance(recipe, AlignRecipe):
        return Align(samples, aside, reader, recipe)
    if isinstance(recipe, ReadRecipe):
        texts = [sample.views[0].text_tokens for sample in samples]
        return Read(
            texts + _unlabelled(plan, reader), [s.views[0].text_tokens for s in aside], pad, recipe
        )
    raise ModelError(f"stages are {', '.join(STAGES.values())}, got {type(recipe).__name__}")


def _unlabelled(plan: Plan, reader: Reader) -> list[list[int]]:
    if plan.texts is None:
        return []
    lines = plan.texts.read_text(encoding="utf-8").splitlines()
    parts = [line.partition("</s>") for line in lines if line]
    texts = [model_text(level, text) for level, _, text in parts]
    return [list(ids) for ids in reader.tokenizer(texts)["input_ids"]]


def new_network(
    plan: Plan, train: Sequence[Row], tokenizer: PreTrainedTokenizerFast
) -> QECatalytic:
    """Return an untrained network whose levels are scaled to their labels."""
    config = QECatalyticConfig(
        encoder=plan.encoder,
        levels=tuple(sorted({row.level for row in train})),
        vocabulary=len(tokenizer),
        crop_radius_ang=plan.crop_radius_ang,
        fusion=plan.fusion,
        language=plan.language,
    )
    network = QECatalytic(config, graph_token=token_ids(tokenizer, [GRAPH])[0])
    start_from_periodic_table(network.language, tokenizer)
    for index, level in enumerate(config.levels):
        rows = [row for row in train if row.level == level]
        counts_RZ = np.stack([adsorbate_counts(row.configuration()) for row in rows]).astype(float)
        network.scale.fit(index, counts_RZ, np.array([row.energy_ev for row in rows]))
    return network


def member_folder(plan: Plan, member: int) -> Path:
    """Return where one member's stages keep their state."""
    return plan.folder / f"member-{member}"
