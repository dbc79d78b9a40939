"""Levels of theory: two energies are compared only at the same one."""

from tasks.levels.calculation import Calculation, CalculationMode, CheckLimits
from tasks.levels.files import level, level_from_record, level_name, read_level, shipped_levels
from tasks.levels.theory import Energy, LevelOfTheory, adsorption_energy

__all__ = [
    "Calculation",
    "CalculationMode",
    "CheckLimits",
    "Energy",
    "LevelOfTheory",
    "adsorption_energy",
    "level",
    "level_from_record",
    "level_name",
    "read_level",
    "shipped_levels",
]
