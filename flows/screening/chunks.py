"""Split the slabs of a campaign into chunks that are the same in every run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.enumeration.slabs import Slab
from tasks.enumeration.surfaces import CountedSlab
from tasks.structures.identity import content_id

GROUP_PLACEMENTS = 200  # one Dask future: a few seconds, so that a lost worker costs little


@dataclass(frozen=True)
class Chunk:
    """Slabs whose placements are scored by one task run and stored in one transaction."""

    chunk_id: str
    slabs: tuple[CountedSlab, ...]

    @property
    def placements(self) -> int:
        """How many placements the chunk holds."""
        return sum(s.placements for s in self.slabs)


def make_chunks(slabs: Sequence[CountedSlab], *, size: int, work: str) -> list[Chunk]:
    """Return chunks of about ``size`` placements, slabs in the order of their ids.

    ``work`` stands for all that is done with a slab (adsorbates, placements, level, checkpoint):
    with the slab ids it is the chunk's id.
    """
    unique = {s.slab.slab_id: s for s in slabs if s.placements}
    ordered = [unique[key] for key in sorted(unique)]
    return [
        Chunk(content_id("chunk", work, *(s.slab.slab_id for s in members)), tuple(members))
        for members in _filled(ordered, size)
    ]


def worker_groups(chunk: Chunk, size: int = GROUP_PLACEMENTS) -> list[tuple[Slab, ...]]:
    """Return the chunk's slabs in groups of about ``size`` placements."""
    return [tuple(s.slab for s in members) for members in _filled(chunk.slabs, size)]


def _filled(slabs: Sequence[CountedSlab], size: int) -> Iterator[list[CountedSlab]]:
    """Yield runs of ``slabs`` that each reach ``size`` placements, the last one perhaps not."""
    members: list[CountedSlab] = []
    for slab in slabs:
        members.append(slab)
        if sum(s.placements for s in members) >= size:
            yield members
            members = []
    if members:
        yield members
