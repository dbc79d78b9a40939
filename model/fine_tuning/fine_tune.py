"""Fine-tune a serving checkpoint on new labels: train, calibrate again, seal a candidate.

    folder/tuning.json      parent, labels, recipe and device of this fine-tuning
    folder/member-N/        each member's state after every epoch
    folder/checkpoint/      the candidate, moved there whole

Units: eV.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import (
    DIFFERENCE,
    MANIFEST,
    QE_CATALYTIC,
    Checkpoint,
    open_checkpoint,
    seal,
    write_json,
)
from model.data.domain import domain_of, domain_to_json, merge_domains, read_domain
from model.data.kept_rows import copy_kept_rows, read_hold_out, read_replay
from model.data.rows import UNRELAXED, Row, count_sets
from model.data.splits import CALIBRATE, LABEL_SHARES, count_pairs, dataset_id, rows_of_part
from model.files import new_folder
from model.fine_tuning.difference import refit_difference
from model.fine_tuning.extend_vocabulary import fit_new_offsets, with_new_adsorbates
from model.fine_tuning.job import TuningJob, require_same, tuning_job
from model.fine_tuning.tune import (
    TuneStage,
    best_share,
    interpolated,
    merge_adapters_of_parent,
    prepare_for_tuning,
    tuning_samples,
)
from model.generation.design import DESIGNER_WEIGHTS
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble, load_members, save_members
from model.network.qe_catalytic import QECatalytic
from model.processes import map_in_processes
from model.text.tokenizer import GRAPH, load_tokenizer, token_ids
from model.training.recipes import TuneRecipe
from model.training.samples import make_samples
from model.training.trainer import Trainer, seconds_spent
from model.uncertainty.mode_fit import fit_modes, save_mode
from model.uncertainty.modes import TEXT_MODE


def fine_tune(
    parent: str | Path,
    labels: Sequence[Row],
    folder: Path,
    recipe: TuneRecipe | None = None,
    *,
    device: str = "cpu",
    processes: int | None = None,
) -> Checkpoint:
    """Fine-tune a checkpoint on new labels and return the candidate; a killed run is resumed.

    Args:
        parent: Name or folder of the checkpoint to start from.
        labels: Rows with their parts (``model.data.splits``), energies in eV. Those for training
            are learnt beside the parent's replay, sigma is fitted again on those for calibration
            and the hold-out's; those for the gate are not read. Both views of a placement share a
            pair. For a difference each carries the potentials' energies, and those for calibration
            are learnt too.
        folder: Where states and the candidate are written; one folder for each fine-tuning.
        recipe: How to train; the default chooses by the number of labels.
        device: Where networks run (``cpu``, ``cuda``).
        processes: How many train members side by side; None: as many as cores.

    Returns:
        The sealed candidate in ``folder/checkpoint``.

    Raises:
        ModelError: labels are too few, of a level that the parent does not answer at, no numbers
            or held out; the parent cannot be tuned; ``folder`` holds another fine-tuning.
    """
    job = tuning_job(open_checkpoint(parent), labels, folder, recipe or TuneRecipe(), device)
    require_same(job)
    if not (job.done / MANIFEST).is_file():
        if job.parent.kind == DIFFERENCE:
            return refit_difference(job)
        _train_side_by_side(job, processes or _cores())
        _assemble(job)
    return open_checkpoint(job.done)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _train_side_by_side(job: TuningJob, processes: int) -> None:
    members = range(job.members)
    if min(processes, job.members) == 1:
        for member in members:
            fine_tune_member(job, member)
        return
    jobs = [job] * job.members
    list(map_in_processes(_train_quietly, jobs, members, processes=processes, work="a fine-tuning"))


def _train_quietly(job: TuningJob, member: int) -> None:
    """Train a member and leave it on disk: networks do not travel between processes."""
    fine_tune_member(job, member)


def fine_tune_member(job: TuningJob, member: int) -> QECatalytic:
    """Return a member as fine-tuning leaves it; one that has ended is read from disk."""
    recipe = replace(job.recipe, seed=job.recipe.seed + member)
    with _one_thread():
        network = starting_network(job, member)
        reader = reader_for(job, network)
        prepare_for_tuning(network, recipe)
        old = read_replay(job.parent)
        samples = tuning_samples(job.to_learn(), old, reader, recipe.replay_share)
        held_out = make_samples(job.to_calibrate(), reader, {})
        objective = TuneStage(samples, held_out, reader, recipe)
        folder, device = job.member_folder(member), torch.device(job.device)
        return merge_adapters_of_parent(Trainer(network, objective, recipe, folder, device).run())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let members run side by side, and a run that goes on end with the same numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def starting_network(job: TuningJob, member: int) -> QECatalytic:
    """Return a member of the parent, extended by the adsorbates that are new in the labels."""
    config = QECatalyticConfig.from_json(job.settings()["network"])
    token = token_ids(load_tokenizer(job.parent.folder / "tokenizer.json"), [GRAPH])[0]
    members = load_members(config, token, job.parent.folder, torch.device(job.device))
    network = with_new_adsorbates(members[member], job.to_learn())
    fit_new_offsets(network, job.to_learn(), read_replay(job.parent))
    return network


def reader_for(job: TuningJob, network: QECatalytic) -> Reader:
    """Return the reader of configurations for a member."""
    return Reader(network.config, load_tokenizer(job.parent.folder / "tokenizer.json"))


def _assemble(job: TuningJob) -> None:
    """Write the candidate beside its final folder, seal it and move it there whole."""
    with new_folder(job.done) as folder:
        _write_candidate(job, folder)


def _write_candidate(job: TuningJob, folder: Path) -> None:
    networks, share = _interpolated_members(job)
    save_members(networks, folder)
    shutil.copyfile(job.parent.folder / "tokenizer.json", folder / "tokenizer.json")
    copy_kept_rows(job.parent, folder)
    settings = job.settings()
    domain = merge_domains(read_domain(job.parent, settings["domain"]), domain_of(job.to_learn()))
    settings |= {
        "network": networks[0].config.to_json(),
        "domain": domain_to_json(domain),
        "modes": _modes(job, networks, folder),
    }
    if "designer" in settings:
        shutil.copyfile(job.parent.folder / DESIGNER_WEIGHTS, folder / DESIGNER_WEIGHTS)
    write_json(folder / "qe-catalytic.json", settings)
    write_json(folder / "card.json", _card(job, share))
    seal(folder, QE_CATALYTIC)


def _interpolated_members(job: TuningJob) -> tuple[list[QECatalytic], float]:
    """Return the members, and the share of the way from the parent that they keep."""
    before = [starting_network(job, member) for member in range(job.members)]
    after = [fine_tune_member(job, member) for member in range(job.members)]
    old, new = (
        [row for row in rows_of_part(rows, CALIBRATE) if row.kind in UNRELAXED]
        for rows in (read_hold_out(job.parent), job.labels)
    )
    reader, device = reader_for(job, before[0]), torch.device(job.device)

    def ensemble(members: Sequence[QECatalytic]) -> Ensemble:
        return Ensemble(members, reader, device)

    share = best_share(before, after, old, new, ensemble, job.recipe.forget)
    return [interpolated(a, b, share) for a, b in zip(before, after, strict=True)], share


def _modes(job: TuningJob, networks: Sequence[QECatalytic], folder: Path) -> dict[str, Any]:
    """Fit sigma again on rows that no member was trained on; the rows of the gate are left out."""
    modes = fit_modes(
        Ensemble(networks, reader_for(job, networks[0]), torch.device(job.device)),
        [*read_replay(job.parent), *job.to_learn()],
        [row for row in job.to_calibrate() if row.kind in UNRELAXED],
        seed=job.recipe.seed,
        from_text=TEXT_MODE in job.settings()["modes"],
    )
    return {name: save_mode(mode, name, folder) for name, mode in modes.items()}


def _card(job: TuningJob, share: float) -> dict[str, Any]:
    spent = [seconds_spent(job.member_folder(member)) for member in range(job.members)]
    return {
        "parent": job.parent.sha256,
        "dataset": dataset_id(job.labels),
        "method": job.recipe.method,
        "share": share,  # of the way from the parent to what was learnt
        "members": job.members,
        "labels": {part: count_pairs(rows_of_part(job.labels, part)) for part in LABEL_SHARES},
        "levels": sorted({row.level for row in job.labels}),
        "rows": {
            "train": count_sets(job.to_learn()),
            "replay": count_sets(read_replay(job.parent)),
            "held_out": count_sets(rows_of_part(read_hold_out(job.parent), CALIBRATE)),
        },
        "stages": {TuneStage.name: asdict(job.recipe)},
        "seconds": {TuneStage.name: spent},
    }
