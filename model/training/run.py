"""Train members from a table: split, tokenizer, scales, and one stage after another.

Units: eV.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from model.checkpoint import write_json
from model.data.rows import Row, read_rows
from model.data.splits import split
from model.encoders.cache import EncoderCache, FrozenEncoder
from model.encoders.fairchem import FairchemConfig
from model.encoders.registry import EncoderConfig, build_encoder, load_encoder
from model.errors import ModelError
from model.files import new_file
from model.folder_owner import require_trusted_folder
from model.network.batches import Reader, adsorbate_counts
from model.network.config import QECatalyticConfig, differences
from model.network.language.base_model import base_tokenizer, describe_base, find_base
from model.network.language.build import (
    initialise_elements,
    initialise_stream_tokens,
    pretrained_language,
)
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import EncoderModule, QECatalytic
from model.processes import map_in_processes
from model.text.configuration_text import parse_text
from model.text.stream_tokens import stream_tokens
from model.text.text_features import text_features
from model.text.tokenizer import (
    GRAPH,
    load_tokenizer,
    model_text,
    save_tokenizer,
    token_ids,
    train_tokenizer,
)
from model.training.instruct_stage import InstructStage, instruction_examples
from model.training.joint_stage import JointStage
from model.training.pretraining import AlignStage, EncoderStage, LanguageStage
from model.training.recipes import (
    AlignRecipe,
    EncodeRecipe,
    InstructRecipe,
    JointRecipe,
    ReadRecipe,
    Recipe,
)
from model.training.samples import Sample, make_samples
from model.training.trainer import Objective, Report, Trainer, ended_weights

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a training run is made from. Stages run in the order given."""

    table: Path
    folder: Path
    encoder: EncoderConfig
    stages: tuple[Recipe, ...]
    report_fold: int
    language: LanguageConfig = field(default_factory=LanguageConfig)
    held_out_by: Literal["pair", "surface"] = "pair"  # what is on one side of the split
    fusion: str = "pooled"
    text_facts: bool = True  # the text's numbers reach the regression, too
    crop_radius_ang: float | None = 6.0
    device: str = "cpu"  # or cuda
    weights: dict[str, float] = field(default_factory=dict)  # draws of a set in an epoch, else 1
    texts: Path | None = None  # unlabelled texts to read, one a line: level</s>text
    encoder_weights: Path | None = None  # what the encoder starts from
    encoder_frozen: bool = False  # it never learns, and runs once for each structure
    encoder_cache: Path | None = None  # where a frozen encoder's features are kept between runs

    @property
    def designs(self) -> bool:
        """Whether stage 3 is run, and the checkpoint writes structures."""
        return any(isinstance(stage, InstructRecipe) for stage in self.stages)

    def __post_init__(self) -> None:
        if self.designs and self.language.pretrained:
            raise ModelError(
                "stage instruct teaches a language model of our own to write structures, got "
                f"language.pretrained {self.language.pretrained}; leave one of them out"
            )
        if not self.encoder_frozen:
            return
        if self.encoder_weights is None and not isinstance(self.encoder, FairchemConfig):
            raise ModelError("a frozen encoder has learnt elsewhere: name its encoder_weights")
        for stage in self.stages:
            if jitter := getattr(stage, "jitter_ang", 0.0):
                raise ModelError(
                    f"a frozen encoder runs once for each structure, so jitter_ang must be 0 in "
                    f"stage {STAGES[type(stage)]}, got {jitter}"
                )


STAGES: dict[type[Recipe], str] = {
    ReadRecipe: "read",
    EncodeRecipe: "encode",
    AlignRecipe: "align",
    JointRecipe: "joint",
    InstructRecipe: "instruct",
}


def split_table(plan: TrainingPlan) -> tuple[list[Row], list[Row], list[Row]]:
    """Return the table's rows to train on, to hold out for calibration, and to report."""
    return split(read_rows(plan.table), report_fold=plan.report_fold, by=plan.held_out_by)


def train_members(
    plan: TrainingPlan,
    *,
    members: int,
    processes: int,
    until: str = "",
    report: Report = logger.info,
) -> None:
    """Train networks side by side, each resumed where an earlier run stopped.

    Args:
        plan: The table, the folder, the network and the stages.
        members: How many networks the ensemble has.
        processes: How many of them are trained at once.
        until: Name of the last stage to run; empty: all are.
        report: Gets a line of JSON for each epoch, in the process that trains.

    Raises:
        ModelError: a base model or an encoder's weights are missing, the folder holds a training
            of another network, or a loss is not a number.
    """
    prepare_training(plan)
    rest = [[plan] * members, range(members), [until] * members, [report] * members]
    if members == 1 or processes == 1:
        list(map(_train_to_disk, *rest))
    else:
        list(map_in_processes(_train_to_disk, *rest, processes=processes, work="a training"))
    if plan.designs and until in ("", InstructStage.name):
        train_designer(plan, report=report)


def _train_to_disk(plan: TrainingPlan, member: int, until: str, report: Report) -> None:
    """Train a member and return nothing: networks do not travel between processes."""
    train_member(plan, member, until=until, report=report)


def prepare_training(plan: TrainingPlan) -> None:
    """Check the files that the plan takes over, and write the tokenizer, unless an earlier run did.

    Raises:
        ModelError: a base model or an encoder's weights are not there, or are of another kind.
    """
    _pretrained_encoder(plan)
    if plan.language.pretrained:
        describe_base(find_base(plan.language.pretrained))
    plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_trusted_folder(plan.folder, "states of a training", "give another folder with --out")
    tokenizer_file = plan.folder / "tokenizer.json"
    if not tokenizer_file.exists():
        train, _, _ = split_table(plan)
        texts = [model_text(row.level, row.text) for row in train]
        base = plan.language.pretrained
        tokenizer = base_tokenizer(find_base(base)) if base else _own_tokenizer(plan, texts)
        with new_file(tokenizer_file) as fresh:
            save_tokenizer(tokenizer, fresh)


def _own_tokenizer(plan: TrainingPlan, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    return train_tokenizer(texts, whole=stream_tokens() if plan.designs else ())


def train_member(
    plan: TrainingPlan, member: int, *, until: str = "", report: Report = logger.info
) -> QECatalytic:
    """Run the stages of one member, all but instruction.

    It computes on one thread, so that members can run side by side. A stage that has ended before
    is read from disk; the next starts from its kept weights.

    Args:
        plan: Rows, stages and folder of the training run.
        member: Number of the member, from 0; it is added to every seed.
        until: Name of the last stage to run; empty runs all.
        report: Receives lines of progress.

    Returns:
        The trained network on the plan's device, in evaluation mode.
    """
    torch.set_num_threads(1)
    train, held_out, _ = split_table(plan)
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    torch.manual_seed(plan.stages[0].seed + member)
    network = new_network(plan, train, tokenizer)
    _check_begun(plan.folder, network.config)
    reader = Reader(network.config, tokenizer)
    samples = cache(lambda: make_samples(train, reader, plan.weights))  # made when first needed
    held_out_samples = cache(lambda: make_samples(held_out, reader, {}))
    for stage in plan.stages:
        if isinstance(stage, InstructRecipe):
            continue
        recipe = replace(stage, seed=stage.seed + member)
        name = STAGES[type(stage)]
        folder = member_folder(plan, member) / name
        ended = ended_weights(folder, recipe)
        if ended is not None:
            network.load_state_dict(ended)
        else:
            objective = _objective(plan, recipe, samples(), held_out_samples(), reader)
            device = torch.device(plan.device)
            network = Trainer(network, objective, recipe, folder, device, report=report).run()
            network.unfreeze()  # the next stage freezes its own
        if name == until:
            break
    return network.to(plan.device).eval()


def train_designer(plan: TrainingPlan, *, report: Report = logger.info) -> QECatalytic:
    """Run stage 3 from the first member's weights; the members stay as stage 2 left them.

    Instructions bend the language model, and the prediction has nothing to gain from it.
    """
    recipe = next(stage for stage in plan.stages if isinstance(stage, InstructRecipe))
    network = train_member(plan, 0, report=report)
    folder = member_folder(plan, 0) / InstructStage.name
    if (ended := ended_weights(folder, recipe)) is not None:
        network.load_state_dict(ended)
        return network
    train, held_out, _ = split_table(plan)
    reader = Reader(network.config, load_tokenizer(plan.folder / "tokenizer.json"))
    chosen = [[r for r in rows if recipe.weights.get(r.set, 1.0) > 0] for rows in (train, held_out)]
    examples, held_out_examples = (instruction_examples(rows, reader) for rows in chosen)
    objective = InstructStage(examples, held_out_examples, reader, recipe)
    device = torch.device(plan.device)
    return Trainer(network, objective, recipe, folder, device, report=report).run()


def _objective(
    plan: TrainingPlan,
    recipe: Recipe,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    reader: Reader,
) -> Objective:
    pad = int(reader.tokenizer.pad_token_id)
    if isinstance(recipe, JointRecipe):
        return JointStage(samples, held_out, reader, recipe)
    if isinstance(recipe, EncodeRecipe):
        return EncoderStage(samples, held_out, reader, recipe)
    if isinstance(recipe, AlignRecipe):
        return AlignStage(samples, held_out, reader, recipe)
    if isinstance(recipe, ReadRecipe):
        texts = [sample.views[0].text_tokens for sample in samples]
        return LanguageStage(
            texts + _unlabelled(plan, reader),
            [s.views[0].text_tokens for s in held_out],
            pad,
            recipe,
        )
    raise ModelError(f"stages are {', '.join(STAGES.values())}, got {type(recipe).__name__}")


def _unlabelled(plan: TrainingPlan, reader: Reader) -> list[list[int]]:
    if plan.texts is None:
        return []
    lines = plan.texts.read_text(encoding="utf-8").splitlines()
    parts = [line.partition("</s>") for line in lines if line]
    texts = [model_text(level, text) for level, _, text in parts]
    return [list(ids) for ids in reader.tokenizer(texts)["input_ids"]]


def new_network(
    plan: TrainingPlan, train: Sequence[Row], tokenizer: PreTrainedTokenizerFast
) -> QECatalytic:
    """Return an untrained network, its levels scaled to their labels.

    Args:
        plan: Settings of encoder and language model, and pretrained weights to start from.
        train: Labelled rows (eV): they give the levels, the adsorbates and the scales.
        tokenizer: Tokenizer of the language model.

    Returns:
        The network on the CPU; its weights are random where the plan names no pretrained ones.
    """
    folder = find_base(plan.language.pretrained) if plan.language.pretrained else None
    config = QECatalyticConfig(
        encoder=_from_anywhere(plan.encoder, "checkpoint"),
        levels=tuple(sorted({row.level for row in train})),
        vocabulary=len(tokenizer),
        adsorbates=tuple(sorted({parse_text(row.text).adsorbate for row in train})),
        crop_radius_ang=plan.crop_radius_ang,
        fusion=plan.fusion,
        text_facts=plan.text_facts,
        language=_from_anywhere(plan.language, "pretrained"),
        encoder_frozen=plan.encoder_frozen,
        base=describe_base(folder) if folder else None,
    )
    network = QECatalytic(
        config,
        graph_token=token_ids(tokenizer, [GRAPH])[0],
        encoder=_pretrained_encoder(plan),
        language=pretrained_language(config, folder, torch.device(plan.device)) if folder else None,
    )
    if folder is None:
        initialise_elements(network.language, tokenizer)
        initialise_stream_tokens(network.language, tokenizer)
    _fit_scales(network, train, Reader(config, tokenizer))
    network.facts.fit(text_features([row.text for row in train]))
    return network


def _from_anywhere(settings: T, name: str) -> T:
    """Return settings whose path of that name, if they have one, does not depend on where we are.

    A name on the hub is no path here, and stays.
    """
    path = Path(getattr(settings, name, ""))
    if path == Path() or not path.exists():
        return settings
    return replace(settings, **{name: str(path.absolute())})  # type: ignore[type-var]


def _pretrained_encoder(plan: TrainingPlan) -> EncoderModule | None:
    weights, cache = plan.encoder_weights, plan.encoder_cache
    if plan.encoder_frozen:
        encoder = load_encoder(plan.encoder, weights) if weights else build_encoder(plan.encoder)
        return FrozenEncoder(encoder, EncoderCache(cache))
    return load_encoder(plan.encoder, weights) if weights else None


def _fit_scales(network: QECatalytic, train: Sequence[Row], reader: Reader) -> None:
    pairs = {row.pair: row for row in train}  # both views of a placement have one label
    for index, level in enumerate(network.config.levels):
        rows = [row for row in pairs.values() if row.level == level]
        counts_RZ = np.stack([adsorbate_counts(row.configuration()) for row in rows]).astype(float)
        adsorbate_R = [reader.adsorbate(row.text) for row in rows]
        energy_R = np.array([row.energy_ev for row in rows])
        network.scale.fit(index, counts_RZ, adsorbate_R, energy_R)


# Settings that may differ between two runs in one folder: paths, and how memory is spent.
_FREE = (
    "language.pretrained",
    "language.gradient_checkpointing",
    "encoder.checkpoint",
    "base.settings",  # spelt anew by each transformers; the hashes of base.files hold it fast
)


def _check_begun(folder: Path, config: QECatalyticConfig) -> None:
    """Compare the network with the one that an earlier run in this folder began to train."""
    file = folder / "network.json"
    values = config.to_json()
    if not file.exists():
        with new_file(file) as fresh:  # members begin side by side
            write_json(fresh, values)
        return
    earlier = json.loads(file.read_text())
    odd = [each for each in differences(earlier, values) if not each.startswith(_FREE)]
    if odd:
        raise ModelError(
            f"training in {folder} began with another network: {', '.join(odd[:5])}; go on with "
            "the recipe it began with, or give another folder"
        )


def member_folder(plan: TrainingPlan, member: int) -> Path:
    """Return where one member's stages keep their state."""
    return plan.folder / f"member-{member}"
