"""Cut the bulks of a campaign and count possible placements."""

from dataclasses import dataclass

from flows.config.resolve import ResolvedCampaign
from model.contract import Domain
from model.data.domain import slab_outside_reason
from tasks.enumeration import (
    Adsorbate,
    Bulk,
    BulkSurfaces,
    PlacementSpec,
    Slab,
    SlabEdits,
    SlabSpec,
    enumerate_surfaces,
    own_surfaces,
)
from tasks.verification.engines import computable_elements


@dataclass(frozen=True)
class SlabRequest:
    """How each bulk is cut, and which slabs are refused; it travels to the workers."""

    slabs: SlabSpec
    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    level: str
    domain: Domain
    engine: str
    computable: frozenset[str]  # elements that the verifying engine has potentials for
    edits: SlabEdits

    @classmethod
    def of(cls, resolved: ResolvedCampaign) -> "SlabRequest":
        """Return the request of a campaign."""
        campaign, verified_at = resolved.campaign, resolved.verified_at
        return cls(
            campaign.surfaces.spec(),
            resolved.adsorbates,
            campaign.placements.spec(campaign.seed),
            resolved.level.name,
            resolved.domain,
            verified_at.engine,
            computable_elements(verified_at, resolved.locations),
            campaign.surfaces.edits(),
        )

    def refusal(self, slab: Slab) -> str:
        """Return why a slab is refused before anything is placed on it; empty where it is not."""
        symbols = frozenset(slab.atoms.get_chemical_symbols())
        if outside := slab_outside_reason(self.domain, self.level, symbols, slab.miller):
            return outside
        if missing := sorted(symbols - self.computable):
            return f"element that engine {self.engine} has no potential for: {', '.join(missing)}"
        return ""


def cut_bulk(bulk: Bulk, request: SlabRequest) -> BulkSurfaces:
    """Cut one bulk; this runs on a worker."""
    return enumerate_surfaces(
        bulk, request.slabs, request.adsorbates, request.placements, request.refusal, request.edits
    )


def count_own_slab(slab: Slab, request: SlabRequest) -> BulkSurfaces:
    """Count the placements on a slab from a file; this runs on a worker."""
    return own_surfaces(
        slab, request.slabs, request.adsorbates, request.placements, request.refusal, request.edits
    )


def cut_bulks_locally(resolved: ResolvedCampaign) -> list[BulkSurfaces]:
    """Cut every bulk, and count on every slab from a file, in this process."""
    request = SlabRequest.of(resolved)
    return [
        *(cut_bulk(bulk, request) for bulk in resolved.bulks),
        *(count_own_slab(own.slab, request) for own in resolved.own_slabs),
    ]
