"""The slabs of one bulk, with how many placements each offers."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.bulks import Bulk
from tasks.enumeration.custom.slab_edits import SlabEdits, edited_slabs
from tasks.enumeration.lattice_planes import distinct_millers, find_symmetry
from tasks.enumeration.miller import checked_miller, miller_word, reduced_miller
from tasks.enumeration.placements import PlacementSpec, count_placements
from tasks.enumeration.sites import surface_sites
from tasks.enumeration.slabs import Slab, SlabSpec, enumerate_slabs
from tasks.errors import Refusal, UserError

NO_EDITS = SlabEdits()


_CRYSTAL_DIGITS = 12  # of a bulk's id


@dataclass(frozen=True)
class CountedSlab:
    """A slab, and how many placements its adsorbates have on it before any is refused.

    ``left_out`` names the adsorbates that are not placed on it: their pairs are refused.
    """

    slab: Slab
    placements: int
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BulkSurfaces:
    """The slabs of one bulk, or of one slab from a file, and the refused ones."""

    bulk: Bulk | None  # None for a slab from a file
    slabs: tuple[CountedSlab, ...]
    refused: tuple[Refusal, ...]


def enumerate_surfaces(
    bulk: Bulk,
    slab_spec: SlabSpec,
    adsorbates: Sequence[Adsorbate],
    placement_spec: PlacementSpec,
    refusal: Callable[[Slab], str] | None = None,
    edits: SlabEdits = NO_EDITS,
    pair_refusal: Callable[[Slab, Adsorbate], str] | None = None,
) -> BulkSurfaces:
    """Cut ``bulk`` and count the placements on each slab.

    Args:
        bulk: A crystal in its conventional cell.
        slab_spec: Which slabs to cut.
        adsorbates: The species that will be placed.
        placement_spec: Which placements to count.
        refusal: Says why a slab is refused, so that nothing is placed on it; empty where it is not.
        edits: The variants of each slab.
        pair_refusal: Says why an adsorbate is not placed on a slab; empty where it is.

    Returns:
        The slabs with their counts, and the refusals.
    """
    slabs, refused = _slabs(bulk, slab_spec)
    counting = _Counting(slab_spec, adsorbates, placement_spec, refusal, edits, pair_refusal)
    return counting.surfaces(bulk, slabs, refused)


def own_surfaces(
    slab: Slab,
    slab_spec: SlabSpec,
    adsorbates: Sequence[Adsorbate],
    placement_spec: PlacementSpec,
    refusal: Callable[[Slab], str] | None = None,
    edits: SlabEdits = NO_EDITS,
    pair_refusal: Callable[[Slab, Adsorbate], str] | None = None,
) -> BulkSurfaces:
    """Count the placements on a slab from a file and its variants.

    Arguments are those of ``enumerate_surfaces``, with a slab in place of the bulk.
    """
    counting = _Counting(slab_spec, adsorbates, placement_spec, refusal, edits, pair_refusal)
    return counting.surfaces(None, [slab], [])


@dataclass(frozen=True)
class _Counting:
    """How slabs are varied, refused and counted."""

    slab_spec: SlabSpec
    adsorbates: Sequence[Adsorbate]
    placement_spec: PlacementSpec
    refusal: Callable[[Slab], str] | None
    edits: SlabEdits
    pair_refusal: Callable[[Slab, Adsorbate], str] | None

    def surfaces(
        self, bulk: Bulk | None, slabs: Sequence[Slab], refused: Sequence[Refusal]
    ) -> BulkSurfaces:
        """Return the variants of slabs with their counts, and the refusals."""
        refusals = list(refused)
        variants: dict[str, Slab] = {}
        for slab in slabs:
            made, impossible = edited_slabs(slab, self.edits, self.slab_spec.layer_tolerance_ang)
            refusals += impossible
            for each in made:
                variants.setdefault(each.slab_id, each)
        counted = []
        for slab in variants.values():
            if self.refusal is not None and (reason := self.refusal(slab)):
                refusals.append(Refusal(slab.slab_id, "slab", reason))
                continue
            pairs = self._refused_pairs(slab)
            refusals += pairs.values()
            counted.append(CountedSlab(slab, self._placements(slab, pairs), frozenset(pairs)))
        # Two crystals of one formula have slabs of one name.
        source = bulk.bulk_id if bulk is not None else slabs[0].slab_id
        named = (replace(r, item=f"{crystal_word(source)} {r.item}") for r in refusals)
        return BulkSurfaces(bulk, tuple(counted), tuple(named))

    def _refused_pairs(self, slab: Slab) -> dict[str, Refusal]:
        """Return the refusals of adsorbates on a slab, by the adsorbate's name."""
        refusal = self.pair_refusal
        reasons = {} if refusal is None else {a.name: refusal(slab, a) for a in self.adsorbates}
        return {
            name: Refusal(f"{slab.slab_id} {name}", "pair", reason)
            for name, reason in reasons.items()
            if reason
        }

    def _placements(self, slab: Slab, left_out: Collection[str]) -> int:
        placed = [a for a in self.adsorbates if a.name not in left_out]
        sites = surface_sites(slab)
        return sum(count_placements(slab, sites, a, self.placement_spec) for a in placed)


def crystal_word(bulk_id: str) -> str:
    """Return the word that a refused slab's item starts with: its crystal."""
    return bulk_id[:_CRYSTAL_DIGITS]


def refused_crystal(item: str) -> str:
    """Return the word of the crystal that a refused slab's item starts with; empty without one."""
    word, _, rest = item.partition(" ")
    is_crystal = rest and len(word) == _CRYSTAL_DIGITS and set(word) <= set("0123456789abcdef")
    return word if is_crystal else ""


def _slabs(bulk: Bulk, spec: SlabSpec) -> tuple[list[Slab], list[Refusal]]:
    """Return the slabs of a bulk; of a random alloy, with Miller indices of its parent cell.

    Of each family of planes of the parent one is cut, unless ``millers`` states more: to a random
    alloy they are the same.
    """
    if bulk.parent is None:
        return enumerate_slabs(bulk, spec)
    axes = bulk.axes[0]
    slabs: dict[str, Slab] = {}
    refused: list[Refusal] = []
    for indices in spec.millers or distinct_millers(find_symmetry(bulk.parent), spec.max_miller):
        name = f"{bulk.source.partition(':')[0]} {miller_word(indices)}"
        try:
            miller = checked_miller(indices, hexagonal=axes.hexagonal)
            h, k, l = (np.array(axes.miller_33) @ miller).tolist()  # noqa: E741
            own = replace(spec, millers=(reduced_miller((h, k, l)),), miller_axes="conventional")
        except UserError as error:
            refused.append(Refusal(name, "slab", f"in its own cell {error}"))
            continue
        found, left_out = enumerate_slabs(bulk, own)
        for slab in found:
            slabs.setdefault(slab.slab_id, replace(slab, miller=miller))
        refused += [replace(r, item=f"{name}, in its own cell {r.item}") for r in left_out]
    return list(slabs.values()), refused
