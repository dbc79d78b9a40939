"""Engines: the programs that compute energies, behind one protocol.

A module an engine; ``base`` is the protocol, ``registry`` finds the engine of a level, ``failures``
holds the classes of what goes wrong. Nothing is imported of a program before it is used.
"""

from tasks.verification.engines.base import CalculationJob, Engine, EngineLocation
from tasks.verification.engines.failures import (
    EngineError,
    FailureKind,
    Rung,
    ScfTry,
    kind_in_output,
    kind_of,
    kind_of_state,
    last_lines,
)
from tasks.verification.engines.potentials.universal import hubbard_fault
from tasks.verification.engines.registry import (
    EngineLocations,
    check_level,
    checked_engine,
    computable_elements,
    engine_for,
    engine_location,
    engine_names,
    located_engine,
    why_not_computed,
)

__all__ = [
    "CalculationJob",
    "Engine",
    "EngineError",
    "EngineLocation",
    "EngineLocations",
    "FailureKind",
    "Rung",
    "ScfTry",
    "check_level",
    "checked_engine",
    "computable_elements",
    "engine_for",
    "engine_location",
    "engine_names",
    "hubbard_fault",
    "kind_in_output",
    "kind_of",
    "kind_of_state",
    "last_lines",
    "located_engine",
    "why_not_computed",
]
