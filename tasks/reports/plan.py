"""Count what a campaign will do, and estimate what it costs, before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.enumeration.surfaces import BulkSurfaces
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
        surfaces: the slabs of each bulk with their numbers of placements.
        adsorbates: how many there are.
        model: the name of the model, which sets the rate.
        workers: cores that predict at the same time.
        keep_per_pair: structures kept for each pair.
        refused: refusals from before slabs were cut.

    Returns:
        Exact counts, seconds and bytes.
    """
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
