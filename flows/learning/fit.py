"""Compare checkpoints and levels with the labels of a campaign, and say which to trust.

Labels are those of the campaign's own candidates, and imported ones of its adsorbates, at the level
that it is verified at. Checkpoints predict them anew from their unrelaxed placements.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.config.settings import read_settings
from flows.display.own_labels import show_fit
from flows.errors import CampaignError
from flows.records.checkpoints import checkpoint_location
from flows.records.from_rows import recorded_campaign, recorded_level
from flows.records.locations import readable_database
from model.checkpoint import embedded_names
from model.contract import Configuration, Predictor
from model.data.splits import GATE, LABEL_SHARES, assign_part
from model.errors import SabatierError
from model.prediction.predictor import load_predictor
from model.text.configuration_text import parse_text
from screening_db.database import Database
from screening_db.learning.fine_tunings import fine_tunings
from screening_db.learning.labels import TrainingLabel, training_labels
from screening_db.learning.serving import find_checkpoint, recorded_checkpoints
from screening_db.queries import (
    adsorbates_by_name,
    attempted_candidates,
    find_campaign,
    levels_with_labels,
    relaxed_labels,
)
from screening_db.tables import CampaignRow, CheckpointRow
from tasks.enumeration import ALIASES
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.prediction.checkpoint_domain import checkpoint_domain
from tasks.prediction.featurise import configuration_text
from tasks.reports.fit import EnergySource, FitLabel, SourceFit, fit_source, which_to_trust
from tasks.structures.formats import structure_from_text

logger = logging.getLogger(__name__)


def start_fit(campaign: str, checkpoints: Sequence[str], database: str | None) -> list[SourceFit]:
    """Print how well checkpoints and levels meet the labels of a campaign.

    Args:
        campaign: Its name.
        checkpoints: Embedded names, folders or hashes; without any, the embedded ones and those
            that the database records.
        database: Path or URL, before what the settings say.

    Returns:
        The comparison of each source, the best one first.

    Raises:
        CampaignError: the campaign has no label that counts, or nothing has energies for them.
    """
    db = readable_database(read_settings(), database)
    try:
        row = find_campaign(db, campaign)
        level = recorded_level(db, row.verified_at)
        labels = labels_to_fit(db, row, level)
        located = _located(db, checkpoints)
        sources = [
            *checkpoint_sources(db, labels, level, located),
            *level_sources(db, labels, level),
        ]
    finally:
        db.close()
    if not sources:
        raise CampaignError(
            f"no checkpoint and no other level has energies for the labels of {campaign}; name a "
            "checkpoint with --checkpoint"
        )
    compared = [FitLabel(e.candidate_id, e.slab_id, e.adsorbate, e.energy_ev) for e in labels]
    fits = [fit_source(compared, source) for source in sources]
    fits.sort(key=lambda each: (_or_last(each.mae_after_offset.value), each.name))
    imported = sum(bool(label.source) for label in labels)
    said = which_to_trust(compared, sources)
    show_fit(campaign, level.name, len(labels), imported, fits, said)
    return fits


def labels_to_fit(db: Database, campaign: CampaignRow, level: LevelOfTheory) -> list[TrainingLabel]:
    """Return the labels of a campaign's candidates, and imported ones of its adsorbates.

    Raises:
        CampaignError: there is none that counts.
    """
    found = training_labels(db, level.name, level.level_hash)
    own = attempted_candidates(db, campaign.name)
    named = recorded_campaign(campaign).adsorbate_names()
    names = {ALIASES.get(name, name) for name in named} | set(named)
    labels = [
        label
        for label in found.taken
        if label.start is not None
        and label.relaxed_text
        and (label.candidate_id in own or (label.source and label.adsorbate in names))
    ]
    if not labels:
        raise CampaignError(
            f"a fit needs labels of {campaign.name} at {level.name} that may be trained on, and "
            f"there is none ({len(found.refused)} are flagged): verify candidates, or "
            "sabatier import labels"
        )
    return labels


def checkpoint_sources(
    db: Database,
    labels: Sequence[TrainingLabel],
    level: LevelOfTheory,
    located: Sequence[tuple[str, str]],
) -> list[EnergySource]:
    """Return what each checkpoint predicts of the labels: at their level, else at each it knows.

    Args:
        db: The database, which knows which checkpoints were fine-tuned.
        labels: The labels.
        level: Their level of theory.
        located: Names and locations of checkpoints; one that cannot be loaded or does not answer
            is said so.

    Returns:
        A source for each checkpoint and level (eV).
    """
    parents = {row.sha256: row.parent_sha256 for row in recorded_checkpoints(db)}
    tuned = {row.checkpoint_sha256 for row in fine_tunings(db) if row.level == level.name}
    sources: dict[tuple[str, str], EnergySource] = {}
    for name, location in located:
        try:
            predictor = load_predictor(location)
            sha256 = predictor.checkpoint_sha256
            learnt = _descends(sha256, parents, tuned)
            judged = [each for each in labels if not learnt or _is_held_out(each)]
            energies = _relaxed_energies(db, checkpoint_domain(location).potentials, judged)
            known = predictor.domain.levels
            for at in [level.name] if level.name in known else sorted(known):
                if judged and (sha256, at) not in sources:
                    sources[sha256, at] = _predicted(
                        predictor, judged, energies, f"{name} {sha256[:8]}", at, level,
                        learnt=learnt,
                    )  # fmt: skip
        except SabatierError as error:
            logger.warning("left out: %s: %s", name, " ".join(str(error).split()))
    return list(sources.values())


def _relaxed_energies(
    db: Database, potentials: Mapping[str, str], labels: Sequence[TrainingLabel]
) -> dict[str, dict[str, float]] | None:
    """Return what a checkpoint's potentials relaxed candidates to (eV), where all of them did.

    None where it starts from no potential.
    """
    if not potentials:
        return None
    rows = relaxed_labels(db, potentials, [label.candidate_id for label in labels])
    energies = {
        item: {name: row.energy_ev for name, row in found.items() if row.trainable}
        for item, found in rows.items()
    }
    complete = {item: found for item, found in energies.items() if len(found) == len(potentials)}
    if not complete:
        raise CampaignError(
            f"it starts from relaxed energies at {', '.join(potentials)}, which none of the labels "
            "has; relax these candidates in a relaxing stage"
        )
    return complete


def level_sources(
    db: Database, labels: Sequence[TrainingLabel], level: LevelOfTheory
) -> list[EnergySource]:
    """Return the labels of the same candidates at other levels, potentials among them.

    Args:
        db: The database.
        labels: The labels that others are compared with.
        level: Their level of theory.

    Returns:
        A source for each level that can be read (eV); labels that an earlier state of it gave are
        no longer its own and are left out.
    """
    ids = [label.candidate_id for label in labels]
    formulas = {
        name: row.formula
        for name, row in adsorbates_by_name(db, {label.adsorbate for label in labels}).items()
    }
    sources = []
    for name in levels_with_labels(db):
        if name == level.name:
            continue
        try:
            other = recorded_level(db, name)
        except SabatierError as error:
            logger.warning("left out: level %s: %s", name, " ".join(str(error).split()))
            continue
        rows = relaxed_labels(db, {name: other.level_hash}, ids)
        energies = {
            key: (found[name].energy_ev, math.nan)
            for key, found in rows.items()
            if found[name].trainable
        }
        if energies:
            same = _counted_alike(other, level, formulas)
            sources.append(EnergySource(f"level {name}", energies, same, _reference_note(same)))
    return sources


def _counted_alike(one: LevelOfTheory, other: LevelOfTheory, formulas: dict[str, str]) -> bool:
    """Return whether two levels count these adsorbates from the same molecules."""
    try:
        return all(
            one.reference.weights(name, formula) == other.reference.weights(name, formula)
            for name, formula in formulas.items()
        )
    except UserError:  # one of them has no reference for an element
        return False


def _predicted(
    predictor: Predictor,
    labels: Sequence[TrainingLabel],
    energies: Mapping[str, Mapping[str, float]] | None,
    name: str,
    at: str,
    level: LevelOfTheory,
    *,
    learnt: bool,
) -> EnergySource:
    """Return predictions of labels; without relaxed energies that it needs one is left out."""
    judged = [each for each in labels if energies is None or each.candidate_id in energies]
    predictions = predictor.predict(
        [
            replace(
                _configuration(each, at, predictor),
                energies_ev=(energies or {}).get(each.candidate_id, {}),
            )
            for each in judged
        ]
    )
    outside = sum(not prediction.in_domain for prediction in predictions)
    notes = ["held-out labels alone: it was fine-tuned on the others"] if learnt else []
    notes += [f"{outside} out of its domain"] if outside else []
    if unrelaxed := len(labels) - len(judged):
        notes.append(f"{unrelaxed} labels have no relaxed energies that it starts from")
    same = at == level.name
    notes += [] if same else ["of another level: only what offsets leave means anything"]
    return EnergySource(
        name if same else f"{name} at {at}",
        {p.candidate_id: (p.energy_ev, p.sigma_ev) for p in predictions},
        same,
        "; ".join(notes),
    )


def _configuration(label: TrainingLabel, at: str, predictor: Predictor) -> Configuration:
    named = parse_text(label.relaxed_text)
    start = structure_from_text(label.start or "")
    rule = predictor.bond_rule
    text = configuration_text(start, label.adsorbate, named.bulk, named.miller, rule)
    return Configuration.from_atoms(start, candidate_id=label.candidate_id, level=at, text=text)


def _reference_note(same: bool) -> str:
    return "" if same else "counted from other molecules: only what offsets leave means anything"


def _is_held_out(label: TrainingLabel) -> bool:
    """Return whether fine-tuning keeps a label for the gate, as ``training_rows`` parts them."""
    return assign_part(f"{label.slab_id} {label.adsorbate}", LABEL_SHARES) == GATE


def _descends(sha256: str | None, parents: dict[str, str | None], tuned: set[str | None]) -> bool:
    """Return whether a checkpoint, or one that it comes from, was fine-tuned on such labels."""
    while sha256 is not None:
        if sha256 in tuned:
            return True
        sha256 = parents.get(sha256)
    return False


def _located(db: Database, checkpoints: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and locations of checkpoints: those that are named, or all that are known."""
    if checkpoints:
        return [_named(db, each) for each in checkpoints]
    rows = [row for row in recorded_checkpoints(db) if row.folder]
    return [(name, name) for name in embedded_names()] + [_of_row(db, row) for row in rows]


def _named(db: Database, stated: str) -> tuple[str, str]:
    is_hash = len(stated) >= 6 and set(stated) <= set("0123456789abcdef")
    return _of_row(db, find_checkpoint(db, stated)) if is_hash else (stated, stated)


def _of_row(db: Database, row: CheckpointRow) -> tuple[str, str]:
    return row.model, checkpoint_location(db, row)


def _or_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
