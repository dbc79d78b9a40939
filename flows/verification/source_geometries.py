"""Where single points stand: what was relaxed at another level, adslabs and their clean slabs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from screening_db.calculations.attempts import relaxed_structures
from screening_db.database.engine import Database
from screening_db.queries.labels import labels_by_candidate
from screening_db.tables.screening import CandidateRow
from tasks.errors import UserError
from tasks.levels import LevelOfTheory


@dataclass(frozen=True)
class SourceGeometries:
    """Relaxed structures as text, of adslabs by candidate id and of clean slabs by slab id."""

    level: str  # that they were relaxed at; empty where a level relaxes its own
    adslabs: Mapping[str, str]
    slabs: Mapping[str, str]

    def of_adslab(self, candidate_id: str, slab_id: str) -> tuple[str, ...]:
        """Return the relaxed adslab and its clean slab, or nothing where the level needs none.

        Raises:
            UserError: one of the two is missing.
        """
        if not self.level:
            return ()
        adslab = _there(self.adslabs, candidate_id, self.level)
        return adslab, _there(self.slabs, slab_id, self.level)


def source_geometries(
    db: Database, level: LevelOfTheory, rows: Iterable[CandidateRow], slab_ids: Iterable[str] = ()
) -> SourceGeometries:
    """Return what the single points of ``level`` stand on, as far as it is there.

    An adslab with an anomaly is none: what desorbed says nothing of its site.
    """
    source = level.require_calculation().geometry
    rows = list(rows)
    if not source:
        return SourceGeometries("", {}, {})
    labels = labels_by_candidate(db, source, [row.id for row in rows])
    slabs = relaxed_structures(db, source, sorted({*slab_ids, *(row.slab_id for row in rows)}))
    adslabs = {item: row.structure for item, row in labels.items() if row.trainable}
    return SourceGeometries(source, adslabs, slabs)


def _there(structures: Mapping[str, str], item: str, level: str) -> str:
    if item not in structures:
        raise UserError(
            f"single points stand on what {level} relaxed, and {item[:12]} has nothing there that "
            f"converged without a flag; verify it at {level}, then retry what failed"
        )
    return structures[item]
