"""Levels of theory and energies: energies of two levels are never added or compared.

A level is an engine, a functional, the settings of its calculations and gas references. A change of
any part that changes an energy is another level, which the hash shows.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from tasks.errors import UserError
from tasks.levels.calculation import Calculation
from tasks.levels.references import ADDED_MOLECULES, ReferenceScheme

REPLAY = "replay"  # the engine that reads energies of relaxed structures from a table


@dataclass(frozen=True)
class LevelOfTheory:
    """Engine, functional, settings and references that two comparable energies share.

    Without ``calculation`` it is a level of published labels that cannot be computed here.
    ``source`` and ``licence`` say where its labels come from and are no part of the hash.
    """

    name: str
    engine: str
    functional: str
    reference: ReferenceScheme
    calculation: Calculation | None = None
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.calculation is not None:
            self._require_geometry(self.calculation)

    @cached_property
    def level_hash(self) -> str:
        """Return the SHA-256 of everything that changes an energy, as canonical JSON."""
        content = {
            "engine": self.engine,
            "functional": self.functional,
            "settings": self._hashed_settings(),
            "reference": self._hashed_reference(),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def settings(self) -> dict[str, Any]:
        """Return all that is stated of the calculations, defaults written out, as plain data."""
        return {} if self.calculation is None else asdict(self.calculation)

    def require_calculation(self) -> Calculation:
        """Return the settings of the level's calculations.

        Raises:
            UserError: the level holds published labels and states none.
        """
        if self.calculation is None:
            raise UserError(
                f"level {self.name} ({self.functional} of {self.engine}) holds published labels "
                "and states no settings to compute it with; verify at a level that does, such as "
                "verification: {level: gpaw-rpbe} in the campaign"
            )
        return self.calculation

    def _require_geometry(self, stated: Calculation) -> None:
        """Refuse single points without a relaxed geometry: a placement is a guess, no minimum."""
        if stated.mode == "relaxation" and stated.geometry:
            raise UserError(
                f"level {self.name} relaxes, and states geometry: {stated.geometry} as well; write "
                "mode: single_point or leave geometry out"
            )
        placed = stated.mode == "single_point" and self.engine != REPLAY
        if placed and stated.geometry in ("", self.name):
            raise UserError(
                f"level {self.name} is of single points, which are of what another level relaxed, "
                f"got {stated.geometry or 'none'}; name it, such as geometry: gpaw-pbe-fast"
            )

    def _hashed_reference(self) -> dict[str, Any]:
        """Return the references without the usual added ones: levels were hashed before these.

        No energy of a level that lists none of them changes where they are listed.
        """
        reference = dict(self.reference.record)
        if self.reference.added == ADDED_MOLECULES:
            del reference["added"]
        return reference

    def _hashed_settings(self) -> dict[str, Any]:
        settings = self.settings
        if settings:
            settings["relaxation"].pop("wall_limit_s")  # where it stops changes no energy
            smearing = settings["smearing"] or {}
            settings["added"] = added_by(self.engine, smearing.get("kind", ""))
            if not settings["geometry"]:  # levels that relax were hashed before it was there
                del settings["geometry"]
            if not settings["spin"]["order"]:  # so were those that state none
                del settings["spin"]["order"]
            if settings["spin"]["planes"] is None:
                del settings["spin"]["planes"]
            if settings["potentials"] and not settings["potentials"]["trained_on"]:
                del settings["potentials"]["trained_on"]
        return settings


@dataclass(frozen=True)
class Energy:
    """An energy (eV) that remembers its level; those of two levels do not add."""

    energy_ev: float
    level: LevelOfTheory

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(self.energy_ev + self._same_level(other).energy_ev, self.level)

    def __sub__(self, other: "Energy") -> "Energy":
        return Energy(self.energy_ev - self._same_level(other).energy_ev, self.level)

    def _same_level(self, other: "Energy") -> "Energy":
        if other.level.level_hash != self.level.level_hash:
            raise UserError(
                "energies of one level of theory can be combined, got "
                f"{self.level.name} ({self.level.level_hash[:8]}) and "
                f"{other.level.name} ({other.level.level_hash[:8]}); compute both at one level"
            )
        return other


def adsorption_energy(e_adslab: Energy, e_slab: Energy, reference: Energy) -> Energy:
    """Return E(adslab) - E(slab) - E(reference), all at one level of theory."""
    return e_adslab - e_slab - reference


Value = str | int | float | bool

ADDED: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        "gpaw": MappingProxyType({"density_convergence": 1e-4, "eigenstates_convergence": 4e-8}),
        "quantum-espresso": MappingProxyType({"dipole_width": 0.1, "dipole_amplitude_au": 0.0}),
        "cp2k": MappingProxyType(
            {
                "eps_default": 1e-12,
                "relative_cutoff_ev": 816.3,  # 60 Ry
                "empty_orbitals_per_atom": 1,
            }
        ),
        "vasp": MappingProxyType({"ibrion": -1, "nsw": 0}),  # the atoms are moved here, not there
        "fairchem": MappingProxyType({"task": "oc20"}),
        "mace": MappingProxyType({"default_dtype": "float64"}),
    }
)


_WITH_SMEARING: Mapping[tuple[str, str], Mapping[str, Value]] = MappingProxyType(
    {  # by engine and kind; GPAW's own order is 0, which is Gaussian smearing, others mean 1
        ("gpaw", "gaussian"): MappingProxyType({"methfessel_paxton_order": 0}),
        ("gpaw", "methfessel-paxton"): MappingProxyType({"methfessel_paxton_order": 1}),
    }
)


def added_by(engine: str, smearing: str = "") -> dict[str, Value]:
    """Return the values that an engine's module adds; none for an engine of a user.

    ``smearing`` is the kind that a level states, for which some add more.
    """
    return {**ADDED.get(engine, {}), **_WITH_SMEARING.get((engine, smearing), {})}
