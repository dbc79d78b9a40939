"""From a training table to a checkpoint: split, tokenizer, scales, members, calibration, card.

Units: eV.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from model.batches import Reader
from model.calibration import calibrate_levels, head_weight
from model.checkpoint import Checkpoint, seal
from model.domain import domain_of, domain_to_json, write_json
from model.elements import MAX_ATOMIC_NUMBER
from model.equiformer_v2.config import EquiformerV2Config
from model.graph import ADSORBATE_TAG
from model.predictor import KIND, Answers, Ensemble
from model.qe_catalytic import QECatalytic, QECatalyticConfig
from model.rows import UNRELAXED, Row, read_rows, split
from model.tokenizer import (
    GRAPH,
    load_tokenizer,
    model_text,
    save_tokenizer,
    token_ids,
    train_tokenizer,
)
from model.training import STATE, Recipe, Sample, Trainer


@dataclass(frozen=True)
class Plan:
    """Everything that a training run is made from."""

    table: Path
    folder: Path
    encoder: EquiformerV2Config
    recipe: Recipe
    crop_radius_ang: float
    device: str  # cpu or cuda
    report_fold: int
    weights: dict[str, float]  # of each set in an epoch; 1 where it is not named


def fit(plan: Plan, *, members: int, processes: int) -> Checkpoint:
    """Train ``members`` networks, calibrate them together and write the checkpoint.

    Resumes where an earlier run of the same plan stopped.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(plan.table)
    train, held_out, reported = split(rows, report_fold=plan.report_fold)
    tokenizer_file = plan.folder / "tokenizer.json"
    if not tokenizer_file.exists():
        texts = [model_text(row.level, row.text) for row in train]
        save_tokenizer(train_tokenizer(texts), tokenizer_file)
    started = time.monotonic()
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        list(pool.map(train_member, [plan] * members, range(members)))
    hours = (time.monotonic() - started) / 3600
    return _assemble(plan, members, train, held_out, reported, hours)


def train_member(plan: Plan, member: int) -> None:
    """Train one member to its last epoch; one thread, so that members run side by side."""
    torch.set_num_threads(1)
    train, held_out, _ = split(read_rows(plan.table), report_fold=plan.report_fold)
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    recipe = Recipe(**{**asdict(plan.recipe), "seed": plan.recipe.seed + member})
    torch.manual_seed(recipe.seed)
    network = _new_network(plan, train, tokenizer)
    reader = Reader(network.config, tokenizer)
    samples = make_samples(train, reader, plan.weights)
    aside = reader.read([row.configuration() for row in held_out])

    def watch(trainer: Trainer) -> str:
        answers = Ensemble([trainer.averaged()], reader, device).answer_examples(aside)
        return "; ".join(f"{k} {v:.3f}" for k, v in mae_by_set(held_out, answers).items())

    device = torch.device(plan.device)
    trainer = Trainer(network, tokenizer, samples, recipe, _member_folder(plan, member), device)
    trainer.run(watch=watch)


def make_samples(rows: Sequence[Row], reader: Reader, weights: dict[str, float]) -> list[Sample]:
    """Group the rows of each pair into one sample, its unrelaxed view first."""
    pairs: dict[str, list[Row]] = {}
    for row in rows:
        pairs.setdefault(row.pair, []).append(row)
    samples = []
    for views in pairs.values():
        views.sort(key=lambda row: (row.kind not in UNRELAXED, row.uid))
        examples = tuple(reader.read([row.configuration() for row in views]))
        weight = weights.get(views[0].set, 1.0)
        samples.append(Sample(examples, views[0].energy_ev, weight))
    return samples


def mae_by_set(rows: Sequence[Row], answers: Answers) -> dict[str, float]:
    """Return the mean absolute error of the regression head on each set, in eV."""
    error_R = np.abs(answers.regression_R - np.array([row.energy_ev for row in rows]))
    sets = np.array([row.set for row in rows])
    return {str(name): float(error_R[sets == name].mean()) for name in np.unique(sets)}


def _new_network(
    plan: Plan, train: Sequence[Row], tokenizer: PreTrainedTokenizerFast
) -> QECatalytic:
    config = QECatalyticConfig(
        encoder=plan.encoder,
        levels=tuple(sorted({row.level for row in train})),
        vocabulary=len(tokenizer),
        crop_radius_ang=plan.crop_radius_ang,
    )
    network = QECatalytic(config, graph_token=token_ids(tokenizer, [GRAPH])[0])
    for index, level in enumerate(config.levels):
        rows = [row for row in train if row.level == level]
        offset, scale, atom_offset_Z = fit_scale(rows)
        network.scale.offset_L[index] = offset
        network.scale.scale_L[index] = scale
        network.scale.atom_offset_LZ[index] = torch.from_numpy(atom_offset_Z).float()
    return network


def fit_scale(rows: Sequence[Row]) -> tuple[float, float, NDArray[np.float64]]:
    """Return offset, scale and per-atom offsets (eV) by ridge regression on composition."""
    counts_RZ = np.zeros((len(rows), MAX_ATOMIC_NUMBER + 1))
    for index, row in enumerate(rows):
        np.add.at(counts_RZ[index], row.numbers_N[row.tags_N == ADSORBATE_TAG], 1.0)
    energy_R = np.array([row.energy_ev for row in rows])
    centre_Z, mean = counts_RZ.mean(axis=0), energy_R.mean()
    centred_RZ = counts_RZ - centre_Z
    gram_ZZ = centred_RZ.T @ centred_RZ + np.eye(len(centre_Z))
    atom_offset_Z = np.linalg.solve(gram_ZZ, centred_RZ.T @ (energy_R - mean))
    residual_R = energy_R - mean - centred_RZ @ atom_offset_Z
    return float(mean - centre_Z @ atom_offset_Z), float(residual_R.std()), atom_offset_Z


def _assemble(
    plan: Plan,
    members: int,
    train: Sequence[Row],
    held_out: Sequence[Row],
    reported: Sequence[Row],
    hours: float,
) -> Checkpoint:
    """Write weights, calibration and card to ``plan.folder / "checkpoint"`` and seal it."""
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    network = _new_network(plan, train, tokenizer)
    networks = []
    for member in range(members):
        state = torch.load(
            _member_folder(plan, member) / STATE, weights_only=True, map_location="cpu"
        )
        copy = QECatalytic(network.config, graph_token=network.graph_token)
        copy.load_state_dict(state["average"])
        networks.append(copy)
    ensemble = Ensemble(networks, Reader(network.config, tokenizer))
    folder = plan.folder / "checkpoint"
    folder.mkdir(exist_ok=True)
    for member, trained in enumerate(networks):
        save_file(trained.state_dict(), folder / f"member-{member}.safetensors")
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    settings = _calibrated(ensemble, held_out) | {
        "network": network.config.to_json(),
        "domain": domain_to_json(domain_of([*train, *held_out])),
    }
    write_json(folder / "qe-catalytic.json", settings)
    write_json(folder / "card.json", _card(plan, members, train, held_out, reported, hours))
    return seal(folder, KIND)


def _calibrated(ensemble: Ensemble, held_out: Sequence[Row]) -> dict[str, Any]:
    answers = ensemble.answer([row.configuration() for row in held_out])
    truth_R = np.array([row.energy_ev for row in held_out])
    share = head_weight(answers.regression_R, answers.token_R, truth_R)
    error_R = share * answers.regression_R + (1 - share) * answers.token_R - truth_R
    levels = calibrate_levels([row.level for row in held_out], error_R, answers.spread_R)
    return {
        "regression_share": share,
        "calibration": {level: asdict(values) for level, values in levels.items()},
    }


def _card(
    plan: Plan,
    members: int,
    train: Sequence[Row],
    held_out: Sequence[Row],
    reported: Sequence[Row],
    hours: float,
) -> dict[str, Any]:
    def count(rows: Sequence[Row]) -> dict[str, int]:
        names = sorted({row.set for row in rows})
        return {name: sum(row.set == name for row in rows) for name in names}

    return {
        "members": members,
        "recipe": asdict(plan.recipe),
        "rows": {"train": count(train), "held_out": count(held_out), "reported": count(reported)},
        "report_fold": plan.report_fold,
        "set_weights": plan.weights,
        "training_hours": round(hours, 2),
    }


def _member_folder(plan: Plan, member: int) -> Path:
    return plan.folder / f"member-{member}"
