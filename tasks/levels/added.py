"""What the engine modules add to every input of theirs beside what a level states.

The modules read these values and write no others, so a change here changes the inputs and, as part
of the level's hash, the level. An engine of a user's own adds nothing: its level states all.
"""

from collections.abc import Mapping
from types import MappingProxyType

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
    }
)


_WITH_SMEARING: Mapping[tuple[str, str], Mapping[str, Value]] = MappingProxyType(
    {  # by engine and kind; GPAW's own order is 0, which is Gaussian smearing, others mean 1
        ("gpaw", "gaussian"): MappingProxyType({"methfessel_paxton_order": 0}),
        ("gpaw", "methfessel-paxton"): MappingProxyType({"methfessel_paxton_order": 1}),
    }
)


def added_by(engine: str, smearing: str = "") -> dict[str, Value]:
    """Return what the module of an engine adds; nothing for an engine it does not know.

    ``smearing`` is the kind that a level states, for which some add more.
    """
    return {**ADDED.get(engine, {}), **_WITH_SMEARING.get((engine, smearing), {})}
