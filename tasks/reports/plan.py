"""Count what a campaign will do, and estimate what it costs, before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.bulks import Bulk
from tasks.enumeration.placements import PlacementSpec, count_placements, surface_sites
from tasks.enumeration.slabs import Slab, SlabSpec, enumerate_slabs
from tasks.errors import Refusal

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


@dataclass(frozen=True)
class CountedSlab:
    """A slab, and how many placements its adsorbates have on it before any is refused."""

    slab: Slab
    placements: int


@dataclass(frozen=True)
class BulkSurfaces:
    """What one bulk offers: its slabs, and what was refused of them."""

    bulk: Bulk
    slabs: tuple[CountedSlab, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class CampaignPlan:
    """Exact counts, and estimates that follow from the stated rates."""

    bulks: int
    slabs: int
    pairs: int
    placements: int
    refused: tuple[Refusal, ...]
    rate_per_core_s: float  # placements
    seconds: float
    disk_bytes: int


def enumerate_surfaces(
    bulk: Bulk,
    slab_spec: SlabSpec,
    adsorbates: Sequence[Adsorbate],
    placement_spec: PlacementSpec,
    elements: Mapping[str, frozenset[str]],
) -> BulkSurfaces:
    """Cut ``bulk`` and count the placements on each slab.

    ``elements`` are rules and what each lets pass; a slab with another element is refused by the
    first rule that it breaks, and nothing is placed on it.
    """
    slabs, refused = enumerate_slabs(bulk, slab_spec)
    counted = []
    for slab in slabs:
        reason = _broken(elements, set(slab.atoms.get_chemical_symbols()))
        if reason:
            refused.append(Refusal(slab.slab_id, "slab", reason))
            continue
        sites = surface_sites(slab)
        count = sum(count_placements(slab, sites, a, placement_spec) for a in adsorbates)
        counted.append(CountedSlab(slab, count))
    return BulkSurfaces(bulk, tuple(counted), tuple(refused))


def _broken(elements: Mapping[str, frozenset[str]], symbols: set[str]) -> str:
    for rule, known in elements.items():
        if not symbols <= known:
            return f"{rule}: {', '.join(sorted(symbols - known))}"
    return ""


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
    """Add up ``surfaces`` and estimate disk, and the time that ``workers`` cores take."""
    slabs = [s for surface in surfaces for s in surface.slabs]
    placements = sum(s.placements for s in slabs)
    pairs = len(slabs) * adsorbates
    rate = PLACEMENTS_PER_CORE_S.get(model, OTHER_PLACEMENTS_PER_CORE_S)
    kept = min(pairs * keep_per_pair, placements)
    return CampaignPlan(
        bulks=len(surfaces),
        slabs=len(slabs),
        pairs=pairs,
        placements=placements,
        refused=(*refused, *(r for surface in surfaces for r in surface.refused)),
        rate_per_core_s=rate,
        seconds=estimated_seconds(placements, model=model, workers=workers),
        disk_bytes=placements * BYTES_PER_PLACEMENT + kept * BYTES_PER_STRUCTURE,
    )
