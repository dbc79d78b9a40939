"""Cut the bulks of a campaign and count possible placements."""

from dataclasses import dataclass

from flows.config.resolve import ResolvedCampaign
from tasks.enumeration import (
    Adsorbate,
    Bulk,
    BulkSurfaces,
    PlacementSpec,
    SlabSpec,
    enumerate_surfaces,
)
from tasks.verification.engines import computable_elements


@dataclass(frozen=True)
class SlabRequest:
    """How each bulk is cut; it travels to the workers.

    ``elements`` are those that each rule allows: the model's, and the verifying engine's.
    """

    slabs: SlabSpec
    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    elements: dict[str, frozenset[str]]

    @classmethod
    def of(cls, resolved: ResolvedCampaign) -> "SlabRequest":
        """Return the request of a campaign."""
        campaign, verified_at = resolved.campaign, resolved.verified_at
        elements = {
            "element outside the model": resolved.domain.elements[resolved.level.name],
            f"element that engine {verified_at.engine} has no potential for": computable_elements(
                verified_at, resolved.locations
            ),
        }
        return cls(
            campaign.surfaces.spec(),
            resolved.adsorbates,
            campaign.placements.spec(campaign.seed),
            elements,
        )


def cut_bulk(bulk: Bulk, request: SlabRequest) -> BulkSurfaces:
    """Cut one bulk; this runs on a worker."""
    return enumerate_surfaces(
        bulk, request.slabs, request.adsorbates, request.placements, request.elements
    )


def cut_bulks_locally(resolved: ResolvedCampaign) -> list[BulkSurfaces]:
    """Cut every bulk in this process."""
    request = SlabRequest.of(resolved)
    return [cut_bulk(bulk, request) for bulk in resolved.bulks]
