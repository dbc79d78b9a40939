"""Compare what two campaigns hold, by ids of content: what is new, gone and unchanged.

Ids are those of bulks, adsorbates, slabs, pairs and placements; a placement that is refused counts
like any other, as in a plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.placements import PlacementSpec, enumerate_placements, surface_sites
from tasks.enumeration.slabs import Slab
from tasks.structures.identity import pair_id


@dataclass(frozen=True)
class CampaignContents:
    """What one campaign holds, by id.

    ``bulks`` also gives formulas. ``answered`` are the placements whose outcome is known, so that
    the other campaign need not predict them.
    """

    bulks: Mapping[str, str]
    adsorbates: frozenset[str]
    slabs: frozenset[str]
    pairs: frozenset[str]
    placements: frozenset[str]
    answered: frozenset[str]


@dataclass(frozen=True)
class IdDifference:
    """How two sets of ids differ: names of what is new and gone, or ids where it has no name."""

    what: str
    new: tuple[str, ...]
    gone: tuple[str, ...]
    unchanged: int


@dataclass(frozen=True)
class PlanDifference:
    """How a campaign differs from an earlier one, and how much of it is left to predict."""

    lines: tuple[IdDifference, ...]
    to_predict: int  # placements
    known: int  # placements


def pair_ids(slabs: frozenset[str], adsorbates: frozenset[str]) -> frozenset[str]:
    """Return the pairs that slabs and adsorbates make."""
    return frozenset(pair_id(slab, name) for slab in slabs for name in adsorbates)


def placement_ids(
    slabs: Sequence[Slab], adsorbates: Sequence[Adsorbate], spec: PlacementSpec
) -> frozenset[str]:
    """Return the candidate ids of all placements, placed and refused together."""
    found: set[str] = set()
    for slab in slabs:
        sites = surface_sites(slab)
        for adsorbate in adsorbates:
            placed, refused = enumerate_placements(slab, sites, adsorbate, spec)
            found.update(a.candidate_id for a in placed)
            found.update(r.item for r in refused)
    return frozenset(found)


def compare_plans(new: CampaignContents, old: CampaignContents) -> PlanDifference:
    """Return how ``new`` differs from ``old``."""
    known = new.placements & old.answered
    return PlanDifference(
        (
            _named("bulks", new.bulks, old.bulks),
            _named("adsorbates", _own(new.adsorbates), _own(old.adsorbates)),
            _named("slabs", _own(new.slabs), _own(old.slabs)),
            _named("pairs", _own(new.pairs), _own(old.pairs)),
            _named("placements", _own(new.placements), _own(old.placements)),
        ),
        to_predict=len(new.placements) - len(known),
        known=len(known),
    )


def _own(ids: frozenset[str]) -> dict[str, str]:
    return {key: key for key in ids}


def _named(what: str, new: Mapping[str, str], old: Mapping[str, str]) -> IdDifference:
    return IdDifference(
        what,
        tuple(sorted(new[key] for key in new.keys() - old.keys())),
        tuple(sorted(old[key] for key in old.keys() - new.keys())),
        len(new.keys() & old.keys()),
    )
