"""From trained members to a checkpoint: weights, head weights, calibration, domain and card.

Units: eV.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors.torch import save_file

from model.batches import Example, Reader
from model.calibration import calibrate_levels, head_weight
from model.checkpoint import Checkpoint, seal
from model.domain import domain_of, domain_to_json, write_json
from model.ensemble import Ensemble
from model.fit import STAGES, Plan, train_member
from model.predictor import GRAPH_MODE, KIND, TEXT_MODE
from model.recipes import JointRecipe
from model.rows import Row, read_rows, split
from model.tokenizer import load_tokenizer, save_tokenizer


def assemble(plan: Plan, *, members: int) -> Checkpoint:
    """Write ``plan.folder / "checkpoint"`` from members whose stages have all ended, and seal it.

    Weights of the heads and sigma are fitted on the held-out rows; the reported fold is not read.
    """
    train, held_out, reported = split(read_rows(plan.table), report_fold=plan.report_fold)
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    networks = [train_member(plan, member) for member in range(members)]
    reader = Reader(networks[0].config, tokenizer)
    folder = plan.folder / "checkpoint"
    folder.mkdir(exist_ok=True)
    for member, network in enumerate(networks):
        save_file(network.state_dict(), folder / f"member-{member}.safetensors")
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    settings = {
        "network": networks[0].config.to_json(),
        "domain": domain_to_json(domain_of([*train, *held_out])),
        "modes": _modes(plan, Ensemble(networks, reader), held_out),
    }
    write_json(folder / "qe-catalytic.json", settings)
    write_json(folder / "card.json", _card(plan, members, train, held_out, reported))
    return seal(folder, KIND)


def _modes(plan: Plan, ensemble: Ensemble, held_out: Sequence[Row]) -> dict[str, Any]:
    """Return what turns answers into energies and sigma, with a graph and from the text alone."""
    examples = ensemble.reader.read([row.configuration() for row in held_out])
    seen = [(row, e) for row, e in zip(held_out, examples, strict=True) if e.graph_tokens]
    modes = {GRAPH_MODE: _calibrated(ensemble, seen)} if seen else {}
    if any(isinstance(stage, JointRecipe) and stage.text_share > 0 for stage in plan.stages):
        alone = [(row, e.text_alone()) for row, e in zip(held_out, examples, strict=True)]
        modes[TEXT_MODE] = _calibrated(ensemble, alone)
    return modes


def _calibrated(ensemble: Ensemble, seen: Sequence[tuple[Row, Example]]) -> dict[str, Any]:
    answers = ensemble.answer_examples([example for _, example in seen])
    truth_R = np.array([row.energy_ev for row, _ in seen])
    share = head_weight(answers.regression_R, answers.token_R, truth_R)
    error_R = share * answers.regression_R + (1 - share) * answers.token_R - truth_R
    levels = calibrate_levels([row.level for row, _ in seen], error_R, answers.spread_R)
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
) -> dict[str, Any]:
    def count(rows: Sequence[Row]) -> dict[str, int]:
        names = sorted({row.set for row in rows})
        return {name: sum(row.set == name for row in rows) for name in names}

    return {
        "members": members,
        "stages": {STAGES[type(stage)]: asdict(stage) for stage in plan.stages},
        "rows": {"train": count(train), "held_out": count(held_out), "reported": count(reported)},
        "report_fold": plan.report_fold,
        "set_weights": plan.weights,
    }
