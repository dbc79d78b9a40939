"""Make a difference checkpoint: what a level's labels differ by from the energies of potentials.

``model.prediction.difference`` says what it is and reads it, ``difference_fit`` fits one level.

Units: eV.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import (
    BASE_FOLDER,
    DIFFERENCE,
    SETTINGS_FILES,
    Checkpoint,
    open_checkpoint,
    seal,
    write_json,
)
from model.contract import BondRule, Domain
from model.data.domain import domain_of, domain_to_json, merge_domains
from model.data.kept_rows import HOLD_OUT, REPLAY, read_hold_out, write_compact_rows
from model.data.rows import UNRELAXED, Row, bond_rule_of
from model.data.splits import GATE, dataset_id
from model.errors import ModelError
from model.files import new_folder
from model.prediction.difference import (
    LevelDifference,
    Potential,
    StoredDifference,
    base_answers,
    booster_name,
)
from model.prediction.predictor import load_predictor
from model.training.difference_fit import FittedLevel, assumed_level, fit_level
from model.uncertainty.calibration import ANY_SIZE
from model.uncertainty.calibration_fit import interval_multipliers
from model.uncertainty.metrics import Z90


def train_difference(
    train: Sequence[Row],
    held_out: Sequence[Row] | Checkpoint,
    folder: Path,
    *,
    on: Sequence[Potential],
    base: str | Path | None = None,
    seed: int,
    card: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Fit the difference of each level, calibrate it on labels left out, write the checkpoint.

    Args:
        train: Labelled rows (eV), each with the potentials' energies of its pair.
        held_out: Rows that no fit ever sees, by which later fine-tunings are judged; or the
            checkpoint whose rows these are, so that its file stays as it is.
        folder: Where the checkpoint is written; that of an earlier run is replaced whole.
        on: The potentials whose energies are started from.
        base: Name or folder of the checkpoint that answers where these energies are missing.
        seed: Seed of folds and trees.
        card: What else the checkpoint's card says.

    Returns:
        The sealed checkpoint.

    Raises:
        ModelError: a row lacks an energy, or has one of a level of another hash; a level has too
            few labels; or the base does not answer at a level.
    """
    aside = read_hold_out(held_out) if isinstance(held_out, Checkpoint) else held_out
    require_energies([*train, *aside], on)
    learnt = domain_of(train)
    fitted = {
        level: fit_level([row for row in train if row.level == level], on, seed=seed)
        for level in sorted(learnt.levels)
    }
    below = None if base is None else _Base(open_checkpoint(base), list(fitted), on)
    rule = bond_rule_of([*train, *aside])
    if below is not None:
        below.require_rule(rule)
    parts = _Parts(on, rule, fitted, learnt, below, {"seed": seed, **(card or {})})
    return _write(parts, train, held_out, folder)


def assume_difference(
    level: str, sigma_ev: float, folder: Path, *, on: Sequence[Potential], base: str | Path
) -> Checkpoint:
    """Write the checkpoint of a level that nobody has labels of yet: the difference is taken as 0.

    The first labels are chosen with it, and fine-tuning on them learns the difference. Whatever the
    base knows is in its domain.

    Args:
        level: The level of theory.
        sigma_ev: How far the level and the potentials are taken to differ, one standard deviation.
        folder: Where the checkpoint is written; that of an earlier run is replaced whole.
        on: The potentials whose energies are started from.
        base: Name or folder of the checkpoint that answers where these energies are missing.

    Returns:
        The sealed checkpoint.

    Raises:
        ModelError: the base answers neither at the level nor at a potential's.
    """
    below = _Base(open_checkpoint(base), [level], on)
    fitted = {level: assumed_level(level, sigma_ev)}
    rule, known = below.predictor.bond_rule, below.domain([level])
    parts = _Parts(on, rule, fitted, known, below, {"assumed_sigma_ev": sigma_ev})
    return _write(parts, [], [], folder)


@dataclass(frozen=True)
class _Parts:
    """What a checkpoint is written from, beside its rows."""

    on: Sequence[Potential]
    bond_rule: BondRule
    fitted: Mapping[str, FittedLevel]
    learnt: Domain
    base: "_Base | None"
    card: Mapping[str, Any]

    def settings(self, train: Sequence[Row]) -> dict[str, Any]:
        """Return the checkpoint's settings; ``train`` judges the base."""
        known, stored = self.learnt, {n: _stored(one) for n, one in self.fitted.items()}
        if self.base is not None:
            known = merge_domains(known, self.base.domain(list(stored)))
            stored = {n: self.base.judged(n, one, train) for n, one in stored.items()}
        return {
            "bond_rule": self.bond_rule,
            "on": [asdict(each) for each in self.on],
            "levels": {name: asdict(one) for name, one in stored.items()},
            "domain": domain_to_json(known),
            "learnt": domain_to_json(self.learnt),
            "calibration": {n: one.calibration.to_json()[n] for n, one in self.fitted.items()},
        }


def _write(
    parts: _Parts, train: Sequence[Row], held_out: Sequence[Row] | Checkpoint, folder: Path
) -> Checkpoint:
    levels = {
        name: {"labels": one.labels, "errors_ev": one.errors_ev}
        for name, one in parts.fitted.items()
    }
    with new_folder(folder) as fresh:
        for index, one in enumerate(parts.fitted.values()):
            _save(one.model, index, fresh)
        write_compact_rows(fresh / REPLAY, train)
        if isinstance(held_out, Checkpoint):
            shutil.copyfile(held_out.folder / HOLD_OUT, fresh / HOLD_OUT)
        else:
            write_compact_rows(fresh / HOLD_OUT, [replace(row, part=GATE) for row in held_out])
        write_json(fresh / SETTINGS_FILES[DIFFERENCE], parts.settings(train))
        about = {"dataset": dataset_id(train), "levels": levels, **parts.card}
        write_json(fresh / "card.json", about)
        if parts.base is not None:
            shutil.copytree(parts.base.checkpoint.folder, fresh / BASE_FOLDER)
        seal(fresh, DIFFERENCE)
    return open_checkpoint(folder)


def require_energies(rows: Sequence[Row], on: Sequence[Potential]) -> None:
    """Refuse rows without the potentials' energies, or with those of other settings.

    Args:
        rows: Labelled rows with energies (eV) at other levels.
        on: The potentials.

    Raises:
        ModelError: the first such row is named.
    """
    if not on or len({each.level for each in on}) < len(on):
        raise ModelError(
            f"a difference is learnt on one or more levels, each given once, got "
            f"{', '.join(each.level for each in on) or 'none'}"
        )
    for row in rows:
        found = {each.level: each.level_hash for each in row.energies}
        for each in on:
            if each.level not in found:
                raise ModelError(
                    f"each label carries the energy of its pair at {each.level}, {row.uid} has "
                    f"{', '.join(sorted(found)) or 'none'}; relax it at that level or leave it out"
                )
            if found[each.level] != each.level_hash:
                raise ModelError(
                    f"energies at {each.level} are of the level with hash {each.level_hash[:12]}, "
                    f"{row.uid} has one of {found[each.level][:12]}; compute them again with the "
                    "level as it is, or learn on the level as it was"
                )


def _stored(fitted: FittedLevel) -> StoredDifference:
    model = fitted.model
    return StoredDifference(
        offsets=model.offsets,
        boosters=len(model.energies),
        reads_atoms=model.reads_atoms,
        base_factor=1.0,
    )


def _save(model: LevelDifference, index: int, folder: Path) -> None:
    for bag, booster in enumerate(model.energies):
        booster.save_model(folder / booster_name(index, bag))
    if model.error is not None:
        model.error.save_model(folder / booster_name(index, "error"))


class _Base:
    """The checkpoint that answers where the potentials' energies are missing.

    It knows each level that is learnt, or else the level of a potential.
    """

    def __init__(self, checkpoint: Checkpoint, levels: Sequence[str], on: Sequence[Potential]):
        self.checkpoint = checkpoint
        self.predictor = load_predictor(checkpoint.folder)
        self.on = [each.level for each in on]
        for level in levels:
            self._level(level)

    def require_rule(self, rule: BondRule) -> None:
        """Refuse labels whose texts the base does not read."""
        if self.predictor.bond_rule != rule:
            raise ModelError(
                f"a base reads the texts of the labels, which follow the bond rule {rule}, "
                f"{self.checkpoint.sha256[:12]} reads {self.predictor.bond_rule}; write the table "
                "again with that rule, or name another base"
            )

    def _level(self, learnt: str) -> str:
        """Return the level that the base is asked at for one that is learnt."""
        known = self.predictor.domain.levels
        for level in (learnt, *self.on):
            if level in known:
                return level
        raise ModelError(
            f"a base answers at every level that is learnt, or at a potential's, "
            f"{self.checkpoint.sha256[:12]} answers at {', '.join(sorted(known))} and not at "
            f"{', '.join((learnt, *self.on))}; name another base or leave it out"
        )

    def domain(self, levels: Sequence[str]) -> Domain:
        """Return what it answers for, at the levels that are learnt."""
        own = self.predictor.domain.levels
        return Domain({level: own[self._level(level)] for level in levels})

    def judged(
        self, level: str, stored: StoredDifference, labelled: Sequence[Row]
    ) -> StoredDifference:
        """Return a level with what is asked of the base, and the factor of the base's sigma.

        That is how many times its sigma it takes to hold nine tenths of the labels, at least 1: it
        may have learnt from these very labels, so that less says nothing.
        """
        asked = self._level(level)
        stored = replace(stored, base_level="" if asked == level else asked)
        rows = [row for row in labelled if row.level == level]
        rows = [row for row in rows if row.kind in UNRELAXED] or rows
        if not rows:
            return stored
        configurations = [row.configuration() for row in rows]
        answers = base_answers(self.predictor, configurations, {level: stored})
        error_R = np.array(
            [a.energy_ev - row.energy_ev for a, row in zip(answers, rows, strict=True)]
        )
        sigma_R = np.array([answer.sigma_ev for answer in answers])
        found = interval_multipliers(error_R, sigma_R, [ANY_SIZE] * len(rows), 0.9)
        return replace(stored, base_factor=max(1.0, found[ANY_SIZE] / Z90))
