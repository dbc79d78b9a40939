"""From trained members to a checkpoint: weights, calibration, domain, card, and rows to keep.

Units: eV.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from safetensors.torch import save_file

from model.checkpoint import QE_CATALYTIC, Checkpoint, open_checkpoint, seal, write_json
from model.data.domain import domain_of, domain_to_json
from model.data.kept_rows import write_kept_rows
from model.data.rows import Row, bond_rule_of, count_sets
from model.files import new_folder
from model.generation.design import DESIGNER_WEIGHTS, designer_settings, seen_levels
from model.network.batches import Reader
from model.network.ensemble import Ensemble, save_members
from model.text.tokenizer import load_tokenizer, save_tokenizer
from model.training.recipes import JointRecipe
from model.training.run import (
    STAGES,
    TrainingPlan,
    member_folder,
    split_table,
    train_designer,
    train_member,
)
from model.training.trainer import seconds_spent
from model.uncertainty.mode_fit import fit_modes, save_mode


def assemble_checkpoint(plan: TrainingPlan, *, members: int) -> Checkpoint:
    """Write ``plan.folder / "checkpoint"`` from members whose stages have all ended, and seal it.

    Weights of the heads and sigma are fitted on the held-out rows; the reported fold is not read.

    Args:
        plan: Rows, stages and folder of the training run.
        members: How many networks the ensemble has; each is trained where it is not yet.

    Returns:
        The sealed checkpoint, with its model card.
    """
    train, held_out, reported = split_table(plan)
    tokenizer = load_tokenizer(plan.folder / "tokenizer.json")
    networks = [train_member(plan, member) for member in range(members)]
    device = torch.device(plan.device)
    reader = Reader(networks[0].config, tokenizer)
    done = plan.folder / "checkpoint"
    with new_folder(done) as folder:
        save_members(networks, folder)
        save_tokenizer(tokenizer, folder / "tokenizer.json")
        joint = [stage for stage in plan.stages if isinstance(stage, JointRecipe)]
        modes = fit_modes(
            Ensemble(networks, reader, device),
            train,
            held_out,
            seed=plan.stages[0].seed,
            from_text=any(stage.text_share > 0 for stage in joint),
        )
        settings = {
            "bond_rule": bond_rule_of([*train, *held_out]),
            "network": networks[0].config.to_json(),
            "domain": domain_to_json(domain_of([*train, *held_out])),
            "modes": {name: save_mode(mode, name, folder) for name, mode in modes.items()},
        }
        if plan.designs:
            language = train_designer(plan).language
            # Half precision: what is written is sampled, and the wheel stays small.
            halves = {name: value.half() for name, value in language.state_dict().items()}
            save_file(halves, folder / DESIGNER_WEIGHTS)
            settings["designer"] = designer_settings(language.config, seen_levels(train))
        write_json(folder / "qe-catalytic.json", settings)
        write_json(folder / "card.json", _card(plan, members, train, held_out, reported))
        write_kept_rows(folder, train, held_out)
        seal(folder, QE_CATALYTIC)
    return open_checkpoint(done)


def _seconds(plan: TrainingPlan, members: int) -> dict[str, list[float]]:
    """Return the wall time of each stage's epochs, member by member."""
    names = [STAGES[type(stage)] for stage in plan.stages]
    return {
        name: [seconds_spent(member_folder(plan, member) / name) for member in range(members)]
        for name in names
    }


def _card(
    plan: TrainingPlan,
    members: int,
    train: Sequence[Row],
    held_out: Sequence[Row],
    reported: Sequence[Row],
) -> dict[str, Any]:
    return {
        "members": members,
        "seconds": _seconds(plan, members),
        "stages": {STAGES[type(stage)]: asdict(stage) for stage in plan.stages},
        "rows": {
            "train": count_sets(train),
            "held_out": count_sets(held_out),
            "reported": count_sets(reported),
        },
        "report_fold": plan.report_fold,
        "set_weights": plan.weights,
    }
