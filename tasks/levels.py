"""Levels of theory: engine, functional, settings and gas references of an energy.

Every energy, predicted or computed, names one. A change of any part is another level, which the
hash shows; energies of two levels are never added, compared or trained on as one target.
"""

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from tasks.errors import UserError
from tasks.references import ReferenceScheme

Setting = str | int | float | bool


@dataclass(frozen=True)
class LevelOfTheory:
    """What has to be equal for two energies to be comparable.

    ``settings`` are sorted pairs; ``source`` and ``licence`` say where its labels come from and
    are no part of the hash.
    """

    name: str
    engine: str
    functional: str
    settings: tuple[tuple[str, Setting], ...]
    reference: ReferenceScheme
    source: str = ""
    licence: str = ""

    @cached_property
    def level_hash(self) -> str:
        """Return the SHA-256 of everything that changes an energy, as canonical JSON."""
        content = {
            "engine": self.engine,
            "functional": self.functional,
            "settings": dict(self.settings),
            "reference": {"kind": self.reference.kind, "molecules": self.reference.molecules},
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def setting(self, name: str) -> Setting:
        """Return one setting; a level without it cannot be computed here."""
        for key, value in self.settings:
            if key == name:
                return value
        raise UserError(
            f"level {self.name} states no {name}; its settings are "
            f"{', '.join(key for key, _ in self.settings) or 'not stated'}"
        )


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


def level(name: str) -> LevelOfTheory:
    """Return a shipped level of theory by name."""
    shipped = {item.name: item for item in shipped_levels()}
    if name not in shipped:
        near = difflib.get_close_matches(name.lower(), shipped, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"a level of theory is one of {', '.join(shipped)}; got {name!r}{hint}")
    return shipped[name]


def shipped_levels() -> tuple[LevelOfTheory, ...]:
    """Return all shipped levels, in a fixed order."""
    return (_emt(), _beef_vdw_ch4(), _beef_vdw_co(), _pbe_d2_molecule())


def _emt() -> LevelOfTheory:
    """Effective medium theory: no chemistry for H, C, N and O; for tests and the laptop."""
    return LevelOfTheory(
        name="emt",
        engine="emt",
        functional="EMT",
        settings=(
            # EMT's toy H repels at its DFT bond length: 20-50 eV/Å is an ordinary start there
            ("check_initial_fmax_ev_ang", 60.0),
            ("fmax_ev_ang", 0.05),
            ("max_steps", 200),
            ("optimiser", "BFGS"),
        ),
        reference=ReferenceScheme("reactions", ("CO", "H2O", "H2", "N2")),
        source="ASE's effective medium theory; Jacobsen, Stoltze, Norskov 1996",
        licence="MIT (our own calculations)",
    )


def _beef_vdw_ch4() -> LevelOfTheory:
    return LevelOfTheory(
        name="beef-vdw-ch4",
        engine="quantum-espresso",
        functional="BEEF-vdW",
        settings=(),
        reference=ReferenceScheme("reactions", ("CH4", "H2O", "H2")),
        source="Andersen et al. 2019; Xu, Reuter, Andersen 2022 (simple adsorbates)",
        licence="MIT",
    )


def _beef_vdw_co() -> LevelOfTheory:
    return LevelOfTheory(
        name="beef-vdw-co",
        engine="quantum-espresso",
        functional="BEEF-vdW",
        settings=(),
        reference=ReferenceScheme("reactions", ("CO", "H2O", "H2")),
        source="Xu, Reuter, Andersen 2022 (C1 and C2 oxygenates)",
        licence="MIT",
    )


def _pbe_d2_molecule() -> LevelOfTheory:
    return LevelOfTheory(
        name="pbe-d2-molecule",
        engine="vasp",
        functional="PBE+D2",
        settings=(),
        reference=ReferenceScheme("molecule"),
        source="Pablo-Garcia et al. 2023 (GAME-Net functional groups)",
        licence="MIT",
    )
