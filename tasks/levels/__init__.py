"""Levels of theory: two energies are compared only at the same one."""

from tasks.levels.calculation import (
    ONE_FILE,
    Calculation,
    CalculationMode,
    CheckLimits,
    EnergyKeyName,
    KPoints,
    Positive,
    Potentials,
    Setting,
    Smearing,
    Spin,
    StrictSettings,
)
from tasks.levels.files import level, level_from_record, level_name, read_level, shipped_levels
from tasks.levels.theory import REPLAY, Energy, LevelOfTheory, added_by, adsorption_energy

__all__ = [
    "ONE_FILE",
    "REPLAY",
    "Calculation",
    "CalculationMode",
    "CheckLimits",
    "Energy",
    "EnergyKeyName",
    "KPoints",
    "LevelOfTheory",
    "Positive",
    "Potentials",
    "Setting",
    "Smearing",
    "Spin",
    "StrictSettings",
    "added_by",
    "adsorption_energy",
    "level",
    "level_from_record",
    "level_name",
    "read_level",
    "shipped_levels",
]
