"""What relaxations by a potential say of candidates: an energy to start from, or why none is left.

Units: eV.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SAME_ADSLAB_EV = 0.02  # what relaxations of one adslab by one potential differ by


@dataclass(frozen=True)
class RelaxedEnd:
    """Where the relaxation of a candidate at a level ended; ``text`` is of its last geometry."""

    candidate_id: str
    pair_id: str
    level: str
    energy_ev: float
    trainable: bool
    flags: tuple[str, ...]
    text: str


@dataclass
class RelaxationFindings:
    """Energies of a candidate by level, or why no such adslab is left, and by which level.

    ``merged_with`` is the candidate of its pair that ended at the same place, lower or first by id.
    """

    energies_ev: dict[str, float] = field(default_factory=dict)
    dropped: str = ""
    dropped_at: str = ""
    merged_with: str = ""


def relaxation_findings(ends: Iterable[RelaxedEnd]) -> Mapping[str, RelaxationFindings]:
    """Return what relaxations found, by candidate.

    One whose adsorbate left, broke or whose slab changed is dropped. Those of a pair that end on
    one site at one energy are one adslab: its name is that of the lower of them.

    Args:
        ends: Where relaxations ended, at one level or at several.

    Returns:
        Findings by candidate id, energies in eV.
    """
    found: dict[str, RelaxationFindings] = {}
    kept: dict[tuple[str, str, str], list[RelaxedEnd]] = {}
    for end in sorted(ends, key=lambda one: (one.energy_ev, one.candidate_id)):
        here = found.setdefault(end.candidate_id, RelaxationFindings())
        same_site = kept.setdefault((end.pair_id, end.level, end.text), [])
        lower = [one for one in same_site if end.energy_ev - one.energy_ev < _SAME_ADSLAB_EV]
        if not end.trainable:
            words = ", ".join(end.flags) or "not converged"
            here.dropped = f"{words} at {end.level}: {end.energy_ev:.2f} eV"
            here.dropped_at = end.level
            continue
        here.energies_ev[end.level] = end.energy_ev
        if end.text and lower:
            here.merged_with = lower[0].candidate_id
        else:
            same_site.append(end)
    return found
