"""A level of theory's energy as that of a universal potential plus a learnt difference.

A potential orders surfaces well and errs by an amount that depends mostly on the adsorbate. So an
offset for each adsorbate, shrunk to one for all, comes first; gradient boosting on text, slab and
the potential's own energy learns what it leaves over, where that does better on labels left out.
Several potentials stand side by side: the difference is taken from the mean of their energies.

A configuration without these energies is answered by another checkpoint, the base, that lies whole
in the folder; its sigma is never below that of the difference. ``Prediction.basis`` says which. A
base that knows the potential's level and not the learnt one is asked for the potential's energy,
and the offset of the adsorbate is added: so a level that nobody has a model of begins with it.

Shapes  R rows, P potentials, F features. Units: eV.
Source  learning a difference between two levels: Ramakrishnan et al. 2015, arXiv:1503.04987.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, stated_bond_rule
from model.contract import BondRule, Configuration, Domain, Prediction, Predictor
from model.data.domain import level_index, out_of_domain_reason, read_domain
from model.errors import ModelError
from model.prediction.answers import single_head_predictions
from model.prediction.booster_text import read_booster
from model.prediction.slab_features import slab_feature_names, slab_features
from model.stored_values import StoredValues, checked_values
from model.text.configuration_text import parse_text
from model.text.text_features import feature_names, text_features
from model.uncertainty.calibration import Calibration, UncertaintySignal

JOINED = "+"  # between the names of potentials in a basis


@dataclass(frozen=True)
class Potential(StoredValues):
    """A level of theory whose energies are started from: its name, and the hash of its settings."""

    level: str
    level_hash: str


@dataclass(frozen=True)
class Offsets(StoredValues):
    """What one level's energies differ by from a potential's, by adsorbate, in eV."""

    common_ev: float  # of an adsorbate that was not seen
    adsorbates: Mapping[str, float]
    scale_ev: float  # standard deviation of the labels around them

    def of(self, adsorbates: Sequence[str]) -> NDArray[np.float64]:
        """Return (R,) offsets in eV."""
        return np.array([self.adsorbates.get(name, self.common_ev) for name in adsorbates])


@dataclass(frozen=True)
class StoredDifference(StoredValues):
    """What the checkpoint's settings state of one level."""

    offsets: Offsets
    boosters: int  # that answer together; none: the offsets alone do
    reads_atoms: bool
    base_factor: float  # that the base's sigma is multiplied by, at least 1
    base_level: str = ""  # that the base is asked at, where that is not the level itself


@dataclass(frozen=True)
class LevelDifference:
    """The difference of one level: offsets, boosters of the rest, and one of its errors."""

    offsets: Offsets
    energies: tuple[lgb.Booster, ...]
    error: lgb.Booster | None
    reads_atoms: bool

    def answer(
        self, configurations: Sequence[Configuration], potential_RP: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], UncertaintySignal]:
        """Return energies (R,) in eV and signs of how far off they may be."""
        start_R = potential_RP.mean(axis=1) + self.offsets.of(adsorbates_of(configurations))
        nothing_R = np.zeros(len(start_R))
        spread_R = potential_RP.std(axis=1)
        if not self.energies or self.error is None:
            return start_R, UncertaintySignal(nothing_R, spread_R, nothing_R, nothing_R)
        features_RF = difference_features(
            configurations, potential_RP, reads_atoms=self.reads_atoms
        )
        rest_BR = np.array([each.predict(features_RF, num_threads=1) for each in self.energies])
        rest_R = rest_BR.mean(axis=0) * self.offsets.scale_ev
        error_R = np.maximum(np.asarray(self.error.predict(features_RF, num_threads=1)), 0.0)
        signal = UncertaintySignal(
            error_R * self.offsets.scale_ev, spread_R, np.abs(rest_R), nothing_R
        )
        return start_R + rest_R, signal


class DifferencePredictor:
    """Answers with a potential's energy and what was learnt of its error, else with a base."""

    def __init__(self, checkpoint: Checkpoint, base: Predictor | None):
        values = checkpoint.settings()
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = read_domain(checkpoint, values["domain"])
        self.learnt: Domain = read_domain(checkpoint, values["learnt"])  # with the potentials
        self.bond_rule: BondRule = stated_bond_rule(checkpoint)
        self.on = checked_values(tuple[Potential, ...], values["on"], "the potentials")
        self.stored = checked_values(dict[str, StoredDifference], values["levels"], "the levels")
        self.calibration = Calibration.from_json(values["calibration"])
        self.base = base
        self.models = {
            name: read_difference(checkpoint, index, level, len(self.on))
            for index, (name, level) in enumerate(self.stored.items())
        }

    @property
    def basis(self) -> str:
        """Return the names of the potentials, as predictions state them."""
        return JOINED.join(each.level for each in self.on)

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order.

        Args:
            configurations: Adslabs with the energies (eV) that potentials relaxed them to.

        Returns:
            Energies in eV; those of the base, their ``basis`` empty, where the energy of a
            potential is missing or the difference has learnt nothing of the kind.

        Raises:
            ModelError: a text or structure cannot be read, a level of theory is unknown, or an
                energy is missing and there is no base.
        """
        for configuration in configurations:
            level_index(sorted(self.models), configuration.level)
        by_level: dict[str, list[int]] = {}
        without = []
        for index, configuration in enumerate(configurations):
            if self._starts_from(configuration):
                by_level.setdefault(configuration.level, []).append(index)
            else:
                without.append(index)
        answers: dict[int, Prediction] = {}
        for level, indices in by_level.items():
            found = self._learnt(level, [configurations[index] for index in indices])
            answers |= dict(zip(indices, found, strict=True))
        if without:
            found = self._from_base([configurations[index] for index in without])
            answers |= dict(zip(without, found, strict=True))
        return [answers[index] for index in range(len(configurations))]

    def _starts_from(self, configuration: Configuration) -> bool:
        """Tell whether the potentials' energies are used: known, and of what was learnt from.

        Outside of that the base answers, where there is one, and says whether it knows better.
        """
        if any(each.level not in configuration.energies_ev for each in self.on):
            return False
        return self.base is None or not out_of_domain_reason(self.learnt, configuration)

    def _learnt(self, level: str, configurations: Sequence[Configuration]) -> list[Prediction]:
        model = self.models[level]
        if model.reads_atoms:
            _require_atoms(configurations)
        potential_RP = potential_energies(configurations, self.on)
        energy_R, signal = model.answer(configurations, potential_RP)
        adsorbates = adsorbates_of(configurations)
        sigma_R = self.calibration.sigma([level] * len(adsorbates), adsorbates, signal)
        answers = single_head_predictions(self, configurations, energy_R, sigma_R, self.learnt)
        return [replace(answer, basis=self.basis) for answer in answers]

    def _from_base(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        if self.base is None:
            first = configurations[0]
            needed = " and ".join(each.level for each in self.on)
            has = ", ".join(sorted(first.energies_ev)) or "none"
            raise ModelError(
                f"this checkpoint answers where energies at {needed} are known, "
                f"{first.candidate_id} has {has}; relax it at that level first, or train the "
                "difference with a base, which answers without"
            )
        return [
            replace(
                answer,
                checkpoint_sha256=self.checkpoint_sha256,
                sigma_ev=max(
                    answer.sigma_ev * self.stored[answer.level].base_factor,
                    self._typical_sigma(configuration),
                ),
            )
            for configuration, answer in zip(
                configurations, base_answers(self.base, configurations, self.stored), strict=True
            )
        ]

    def _typical_sigma(self, configuration: Configuration) -> float:
        """Return the difference's sigma (eV) of a typical configuration of this size."""
        level = self.calibration.level(configuration.level)
        typical = UncertaintySignal(*(np.array([value]) for value in level.typical))
        adsorbate = parse_text(configuration.text).adsorbate
        return float(self.calibration.sigma([configuration.level], [adsorbate], typical)[0])


def base_answers(
    base: Predictor, configurations: Sequence[Configuration], stored: Mapping[str, StoredDifference]
) -> list[Prediction]:
    """Return what a base says of configurations, at their own levels.

    Args:
        base: The predictor of the base.
        configurations: R configurations.
        stored: By level: what is added to the base's energies (eV) where it knows another level.

    Returns:
        R predictions; where the base was asked at a potential's level, the offset is in them.
    """
    levels = [stored[each.level].base_level or each.level for each in configurations]
    asked = [replace(each, level=level) for each, level in zip(configurations, levels, strict=True)]
    answers = base.predict(asked)
    for row, (own, name) in enumerate(zip(configurations, adsorbates_of(asked), strict=True)):
        if own.level != levels[row]:
            (shift_ev,) = stored[own.level].offsets.of([name])
            answers[row] = replace(
                answers[row],
                level=own.level,
                energy_ev=answers[row].energy_ev + shift_ev,
                regression_ev=answers[row].regression_ev + shift_ev,
                token_ev=answers[row].token_ev + shift_ev,
            )
    return answers


def adsorbates_of(configurations: Sequence[Configuration]) -> list[str]:
    """Return the adsorbate that each text names."""
    return [parse_text(configuration.text).adsorbate for configuration in configurations]


def potential_energies(
    configurations: Sequence[Configuration], on: Sequence[Potential]
) -> NDArray[np.float64]:
    """Return (R, P) energies of the potentials in eV.

    Raises:
        ModelError: one is not a number.
    """
    potential_RP = np.array(
        [[configuration.energies_ev[each.level] for each in on] for configuration in configurations]
    )
    if not np.isfinite(potential_RP).all():
        row, column = np.argwhere(~np.isfinite(potential_RP))[0]
        raise ModelError(
            f"a potential's energy must be a number, {configurations[row].candidate_id} has "
            f"{potential_RP[row, column]} at {on[column].level}; relax it again or leave it out"
        )
    return potential_RP


def difference_features(
    configurations: Sequence[Configuration],
    potential_RP: NDArray[np.float64],
    *,
    reads_atoms: bool,
) -> NDArray[np.float64]:
    """Return (R, F) features: text, the potentials' energies and their scatter, the slab.

    Args:
        configurations: R configurations.
        potential_RP: Energies of the potentials in eV.
        reads_atoms: Whether the layers of the slab are described, too.

    Returns:
        The features of each row.
    """
    mean_R1 = potential_RP.mean(axis=1, keepdims=True)
    columns = [
        text_features([configuration.text for configuration in configurations]),
        mean_R1,
        potential_RP - mean_R1,
    ]
    if reads_atoms:
        columns.append(slab_features(configurations))
    return np.hstack(columns)


def count_features(potentials: int, *, reads_atoms: bool) -> int:
    """Return F for so many potentials."""
    slab = len(slab_feature_names()) if reads_atoms else 0
    return len(feature_names()) + 1 + potentials + slab


def booster_name(index: int, which: int | str) -> str:
    """Return the file of a booster of the level with that index; ``which`` may be ``error``."""
    return f"difference-{index}-{which}.txt"


def read_difference(
    checkpoint: Checkpoint, index: int, stored: StoredDifference, potentials: int
) -> LevelDifference:
    """Return the difference of one level of a checkpoint, its trees checked.

    Raises:
        ModelError: a booster is damaged.
    """
    features = count_features(potentials, reads_atoms=stored.reads_atoms)

    def booster(which: int | str) -> lgb.Booster:
        return read_booster(checkpoint.folder / booster_name(index, which), features)

    return LevelDifference(
        stored.offsets,
        tuple(booster(bag) for bag in range(stored.boosters)),
        booster("error") if stored.boosters else None,
        stored.reads_atoms,
    )


def _require_atoms(configurations: Sequence[Configuration]) -> None:
    for configuration in configurations:
        if not len(configuration.numbers_N):
            raise ModelError(
                f"this difference was learnt on slabs, {configuration.candidate_id} is a text "
                "without one; give its structure"
            )
