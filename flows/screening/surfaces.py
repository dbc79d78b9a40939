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
from tasks.levels import LevelOfTheory
from tasks.verification.engines import computable_elements
from tasks.verification.relaxation.admission import pair_fault, slab_fault


@dataclass(frozen=True)
class SlabRequest:
    """How each bulk is cut, and which slabs are refused; it travels to the workers."""

    slabs: SlabSpec
    adsorbates: tuple[Adsorbate, ...]
    placements: PlacementSpec
    level: str
    domain: Domain
    verified_at: LevelOfTheory
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
            verified_at,
            computable_elements(verified_at, resolved.locations),
            campaign.surfaces.edits(),
        )

    def refusal(self, slab: Slab) -> str:
        """Return why a slab is refused before anything is placed on it; empty where it is not."""
        symbols = frozenset(slab.atoms.get_chemical_symbols())
        if outside := slab_outside_reason(self.domain, self.level, symbols, slab.miller):
            return outside
        if missing := sorted(symbols - self.computable):
            engine = self.verified_at.engine
            return f"element that engine {engine} has no potential for: {', '.join(missing)}"
        return slab_fault(symbols, self.verified_at)

    def pair_refusal(self, slab: Slab, adsorbate: Adsorbate) -> str:
        """Return why an adsorbate is not placed on a slab; empty where it is."""
        species = adsorbate.atoms.get_chemical_symbols()
        return pair_fault(slab.atoms.get_chemical_symbols(), species, self.verified_at)


def cut_bulk(bulk: Bulk, request: SlabRequest) -> BulkSurfaces:
    """Cut one bulk; this runs on a worker."""
    return enumerate_surfaces(
        bulk,
        request.slabs,
        request.adsorbates,
        request.placements,
        request.refusal,
        request.edits,
        request.pair_refusal,
    )


def count_own_slab(slab: Slab, request: SlabRequest) -> BulkSurfaces:
    """Count the placements on a slab from a file; this runs on a worker."""
    return own_surfaces(
        slab,
        request.slabs,
        request.adsorbates,
        request.placements,
        request.refusal,
        request.edits,
        request.pair_refusal,
    )


def cut_bulks_locally(resolved: ResolvedCampaign) -> list[BulkSurfaces]:
    """Cut every bulk, and count on every slab from a file, in this process."""
    request = SlabRequest.of(resolved)
    return [
        *(cut_bulk(bulk, request) for bulk in resolved.bulks),
        *(count_own_slab(own.slab, request) for own in resolved.own_slabs),
    ]
