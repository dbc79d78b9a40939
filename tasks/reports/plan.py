"""Count what a campaign will do before anything runs, and compare it with an earlier one.

Campaigns are compared by the ids of bulks, adsorbates, slabs, pairs and placements: what is new,
gone and unchanged. A placement that is refused counts like any other.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.enumeration import (
    Adsorbate,
    Bulk,
    BulkSurfaces,
    CountedSlab,
    PlacementSpec,
    SlabSpec,
    enumerate_placements,
    miller_word,
    stated_planes,
    surface_sites,
)
from tasks.enumeration.lattice_planes import find_symmetry
from tasks.errors import Refusal
from tasks.structures.identity import pair_id

# Of one core, which is one worker; stated wherever an estimate is printed. Measured for mini on the
# example campaign (benchmarks/RESULTS.md); the other two are rough guesses.
PLACEMENTS_PER_CORE_S = {"mini": 54.0, "baseline": 400.0}
OTHER_PLACEMENTS_PER_CORE_S = 5.0
# A placement whose prediction is stored is placed and stored all the same: a rough guess, placing
# and writing its text alone was measured at 1,900/s.
KNOWN_PLACEMENTS_PER_CORE_S = 1_000.0
START_S = 20.0  # Prefect server, workers and model, once for each run
BYTES_PER_PLACEMENT = 1_500  # candidate, prediction, state and their indexes, and the Parquet row
BYTES_PER_STRUCTURE = 4_000


_NUMBER = re.compile(r"(\([^)]*\)|(?<![\w.-])\d+(?:\.\d+)?(?![\w.]))")  # brackets stay whole


@dataclass(frozen=True)
class RefusedGroup:
    """Items of one stage that were refused for one reason.

    ``sources`` name the crystals of slabs, and the items themselves of other stages. Numbers that
    differ within the group are written from the least to the greatest: ``264 to 512``.
    """

    stage: str
    reason: str
    count: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class CampaignPlan:
    """Exact counts, and estimates that follow from the stated rates."""

    bulks: int
    slabs: int
    pairs: int
    placements: int
    refused: tuple[RefusedGroup, ...]
    rate_per_core_s: float  # placements
    seconds: float
    disk_bytes: int


def estimated_seconds(placements: int, *, model: str, workers: int, known: int = 0) -> float:
    """Return the time that ``placements`` to predict and ``known`` ones take on ``workers``."""
    rate = PLACEMENTS_PER_CORE_S.get(model, OTHER_PLACEMENTS_PER_CORE_S)
    return START_S + (placements / rate + known / KNOWN_PLACEMENTS_PER_CORE_S) / workers


def plan_campaign(
    surfaces: Sequence[BulkSurfaces],
    adsorbates: int,
    *,
    model: str,
    workers: int,
    keep_per_pair: int,
    refused: Sequence[Refusal] = (),
) -> CampaignPlan:
    """Add up what a campaign will do, and estimate the time and disk it takes.

    Args:
        surfaces: The slabs of each bulk with their numbers of placements.
        adsorbates: How many there are.
        model: The name of the model, which sets the rate.
        workers: Cores that predict at the same time.
        keep_per_pair: Structures kept for each pair.
        refused: Refusals from before slabs were cut.

    Returns:
        Exact counts, seconds and bytes.
    """
    # An edit may make of one slab what another is: it is screened once.
    slabs = {s.slab.slab_id: s for surface in surfaces for s in surface.slabs}.values()
    placements = sum(s.placements for s in slabs)
    pairs = sum(adsorbates - len(s.left_out) for s in slabs)
    rate = PLACEMENTS_PER_CORE_S.get(model, OTHER_PLACEMENTS_PER_CORE_S)
    kept = min(pairs * keep_per_pair, placements)
    return CampaignPlan(
        bulks=sum(surface.bulk is not None for surface in surfaces),
        slabs=len(slabs),
        pairs=pairs,
        placements=placements,
        refused=grouped_refusals(refused, surfaces),
        rate_per_core_s=rate,
        seconds=estimated_seconds(placements, model=model, workers=workers),
        disk_bytes=placements * BYTES_PER_PLACEMENT + kept * BYTES_PER_STRUCTURE,
    )


def planned_relaxations(plan: CampaignPlan, per_pair: int, top: int) -> tuple[int, int]:
    """Return how many pairs a relaxing stage takes at most, and how many placements of them."""
    pairs = min(top, plan.pairs)
    return pairs, min(pairs * per_pair, plan.placements)


def bulk_notes(bulks: Iterable[Bulk], spec: SlabSpec) -> list[str]:
    """Return a line for each bulk or plane that was read otherwise than its file writes it.

    These are symmetries found within the tolerance alone, and Miller indices that are others in
    the standard cell.
    """
    notes: list[str] = []
    for bulk in bulks:
        word = bulk.symmetry.word() if bulk.symmetry else ""
        if word:
            notes.append(f"{bulk.formula} of {bulk.source}: {word}")
        if spec.millers is None or bulk.parent is not None:
            continue
        for plane in stated_planes(bulk, find_symmetry(bulk.atoms), spec)[0]:
            stated, standard = miller_word(plane.stated), miller_word(plane.miller)
            if stated != standard:
                whose = "the file" if bulk.axes and spec.miller_axes == "file" else "the list"
                notes.append(
                    f"{bulk.formula} of {plane.source}: {stated} of {whose} = {standard} of the "
                    "standard cell"
                )
    return notes


def grouped_refusals(
    refused: Sequence[Refusal], surfaces: Sequence[BulkSurfaces]
) -> tuple[RefusedGroup, ...]:
    """Return refusals by stage and reason, in order of first appearance.

    Args:
        refused: Refusals from before slabs were cut.
        surfaces: The slabs of each bulk, with those that were refused.

    Returns:
        One group for each stage and reason, its numbers given as ranges.
    """
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    named = [
        *((each, each.item, each.item) for each in refused),
        *(
            (r, cut.bulk.bulk_id, cut.bulk.formula) if cut.bulk else (r, r.item, r.item)
            for cut in surfaces
            for r in cut.refused
        ),
    ]
    for each, source, name in named:
        pattern = _NUMBER.sub(lambda m: m[0] if m[0].startswith("(") else "#", each.reason)
        groups[each.stage, pattern].append((source, name, each.reason))
    return tuple(
        RefusedGroup(
            stage,
            _ranged([reason for _, _, reason in found]),
            len(found),
            tuple({source: name for source, name, _ in found}.values()),
        )
        for (stage, _), found in groups.items()
    )


def _ranged(reasons: Sequence[str]) -> str:
    """Return reasons that differ in numbers alone as one, with the range of each number."""
    columns = zip(*(_NUMBER.split(reason) for reason in reasons), strict=True)
    parts = []
    for column in columns:
        values = sorted(set(column), key=lambda v: float(v) if len(set(column)) > 1 else 0.0)
        parts.append(values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}")
    return "".join(parts)


@dataclass(frozen=True)
class CampaignContents:
    """The contents of one campaign, by id.

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
    """Return the pairs that slabs and adsorbates make, refused ones too."""
    return frozenset(pair_id(slab, name) for slab in slabs for name in adsorbates)


def placement_ids(
    slabs: Iterable[CountedSlab], adsorbates: Sequence[Adsorbate], spec: PlacementSpec
) -> frozenset[str]:
    """Return the candidate ids of all placements of pairs, placed and refused together."""
    found: set[str] = set()
    for each in slabs:
        sites = surface_sites(each.slab)
        for adsorbate in adsorbates:
            if adsorbate.name in each.left_out:
                continue
            placed, refused = enumerate_placements(each.slab, sites, adsorbate, spec)
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
