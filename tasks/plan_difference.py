"""What one campaign has that another has not: counted before anything runs."""

import json
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

from tasks.adsorbates import Adsorbate
from tasks.placements import (
    PlacementSpec,
    count_placements,
    enumerate_placements,
    surface_sites,
)
from tasks.plan import BulkSurfaces
from tasks.slabs import Slab
from tasks.structures import structure_text


@dataclass(frozen=True)
class Offer:
    """What a campaign places where, and which checkpoint predicts it at which level (hash)."""

    surfaces: tuple[BulkSurfaces, ...]
    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    level_hash: str
    checkpoint_sha256: str

    def slabs(self) -> dict[str, Slab]:
        """Return the slabs by id, each once."""
        return {s.slab.slab_id: s.slab for cut in self.surfaces for s in cut.slabs}

    def named_adsorbates(self) -> dict[Hashable, Adsorbate]:
        """Return the adsorbates by what they are: a name alone may stand for two structures."""
        return {
            (a.name, structure_text(a.atoms), json.dumps(a.binding)): a for a in self.adsorbates
        }


@dataclass(frozen=True)
class Change:
    """How many of something are new, gone and unchanged."""

    what: str
    new: int
    gone: int
    unchanged: int


@dataclass(frozen=True)
class Difference:
    """What changed between two campaigns, and how many placements have to be predicted.

    All of them where level or checkpoint differ: predictions of another one are not taken over.
    """

    changes: tuple[Change, ...]
    to_predict: int
    same_model: bool


def difference(now: Offer, before: Offer) -> Difference:
    """Return what ``now`` has that ``before`` has not, and the other way round."""
    slabs = now.slabs(), before.slabs()
    adsorbates = now.named_adsorbates(), before.named_adsorbates()
    bulks = [{cut.bulk.bulk_id for cut in offer.surfaces} for offer in (now, before)]
    placements = _placement_change(now, before)
    same = (now.level_hash, now.checkpoint_sha256) == (before.level_hash, before.checkpoint_sha256)
    return Difference(
        (
            _change("bulk", *bulks),
            _change("adsorbate", *adsorbates),
            _change("slab", *slabs),
            _change("pair", *(_pairs(s, a) for s, a in zip(slabs, adsorbates, strict=True))),
            placements,
        ),
        placements.new if same else placements.new + placements.unchanged,
        same,
    )


def _change(what: str, now: Collection[Hashable], before: Collection[Hashable]) -> Change:
    here, there = set(now), set(before)
    return Change(what, len(here - there), len(there - here), len(here & there))


def _pairs(slabs: Collection[str], adsorbates: Collection[Hashable]) -> set[tuple[str, Hashable]]:
    return {(slab, adsorbate) for slab in slabs for adsorbate in adsorbates}


def _placement_change(now: Offer, before: Offer) -> Change:
    """Count placements; those of shared pairs are compared one by one only where rules differ."""
    new = gone = unchanged = 0
    theirs, their_slabs = before.named_adsorbates(), before.slabs()
    ours, our_slabs = now.named_adsorbates(), now.slabs()
    for slab_id, slab in (their_slabs | our_slabs).items():
        here = ours if slab_id in our_slabs else {}
        there = theirs if slab_id in their_slabs else {}
        shared = [here[key] for key in here if key in there]
        new += _count(slab, [here[key] for key in here if key not in there], now.placements)
        gone += _count(slab, [there[key] for key in there if key not in here], before.placements)
        if now.placements == before.placements:
            unchanged += _count(slab, shared, now.placements)
        elif shared:
            is_here = set(_ids(slab, shared, now.placements))
            was_there = set(_ids(slab, shared, before.placements))
            new += len(is_here - was_there)
            gone += len(was_there - is_here)
            unchanged += len(is_here & was_there)
    return Change("placement", new, gone, unchanged)


def _count(slab: Slab, adsorbates: Sequence[Adsorbate], spec: PlacementSpec) -> int:
    if not adsorbates:
        return 0
    sites = surface_sites(slab)
    return sum(count_placements(slab, sites, adsorbate, spec) for adsorbate in adsorbates)


def _ids(slab: Slab, adsorbates: Sequence[Adsorbate], spec: PlacementSpec) -> Iterator[str]:
    sites = surface_sites(slab)
    for adsorbate in adsorbates:
        made, refused = enumerate_placements(slab, sites, adsorbate, spec)
        yield from (adslab.candidate_id for adslab in made)
        yield from (r.item for r in refused)
