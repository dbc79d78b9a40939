"""What people and flows ask of the screening database. Nothing here writes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, select, text
from sqlalchemy.orm import Session

from screening_db.database.bulk import batches
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.tables.screening import BulkRow, CampaignRow, CandidateRow, SlabRow
from screening_db.tables.verification import (
    LabelRow,
    ReferenceEnergyRow,
    ReferenceKind,
)


@dataclass(frozen=True)
class RankedCandidate:
    """One line of the view ``ranked_candidates``.

    ``termination`` is the height of the cut in plane spacings, and the side if it is the far one;
    empty where no other termination of the same planes is stored.
    """

    campaign: str
    rank: int
    rank_group: int
    bulk: str
    miller: str
    termination: str
    adsorbate: str
    site: str
    energy_ev: float
    sigma_ev: float
    probability: float
    level: str
    label_level: str  # what verification computes at
    checkpoint: str
    queue_state: str | None
    label_ev: float | None
    candidate_id: str


@dataclass(frozen=True)
class PairMinimum:
    """The lowest placement of a pair by the campaign's checkpoint, inside its domain."""

    campaign: str
    pair_id: str
    slab_id: str
    adsorbate: str
    candidate_id: str
    energy_ev: float
    sigma_ev: float
    n_placements: int


@dataclass(frozen=True)
class FunnelCount:
    """How many items of a campaign are in one state for one reason.

    ``reason`` is the rule alone, the part before the first colon; each item has the values too.
    """

    campaign: str
    stage: str
    state: str
    reason: str
    count: int


@dataclass(frozen=True)
class QueueCount:
    """How many calculations that a campaign queued, alone or with others, are in one state."""

    campaign: str
    level: str
    kind: str  # adslab, slab or gas
    state: str
    count: int


@dataclass(frozen=True)
class LabelledPrediction:
    """A verified energy beside what the campaign's checkpoint predicted."""

    candidate_id: str
    bulk: str
    miller: str
    termination: str  # as in ``RankedCandidate``
    adsorbate: str
    site: str
    level: str  # of the label
    predicted_level: str
    predicted_ev: float
    sigma_ev: float
    label_ev: float
    trainable: bool
    why: str | None


def top_candidates(db: Database, campaign: str, limit: int = 20) -> list[RankedCandidate]:
    """Return the first candidates of a campaign, by rank."""
    query = text(
        "SELECT * FROM ranked_candidates WHERE campaign = :campaign ORDER BY rank LIMIT :limit"
    )
    with db.read() as session:
        rows = _mappings(session, query, campaign=campaign, limit=limit)
        return [RankedCandidate(**row) for row in rows]


# The placements of a campaign that a ranking may be made of, by one checkpoint: the present one or
# another. The view ``pair_minimum`` says the same of the present one.
_STANDING = """
    FROM campaign_item i
    JOIN campaign m ON m.name = i.campaign
    JOIN candidate c ON c.id = i.item_id
    JOIN prediction p ON p.candidate_id = c.id AND p.level = m.level
        AND p.checkpoint_sha256 = coalesce(:checkpoint, m.checkpoint_sha256)
    WHERE i.campaign = :campaign AND i.stage = 'placement' AND i.state <> 'refused'
        AND p.in_domain AND (i.contender OR p.checkpoint_sha256 = m.screened_with)
"""


def lowest_placements(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[PairMinimum]:
    """Return the lowest placement of each pair of a campaign, by pair id.

    By its present checkpoint or by ``checkpoint_sha256``, of placements inside the domain of that
    one. Where it is not the checkpoint that the campaign was screened with, only contenders count.
    """
    query = text(
        f"""
        SELECT campaign, pair_id, slab_id, adsorbate, candidate_id, energy_ev, sigma_ev,
            n_placements
        FROM (
            SELECT i.campaign, c.pair_id, c.slab_id, c.adsorbate, p.candidate_id, p.energy_ev,
                p.sigma_ev, count(*) OVER (PARTITION BY c.pair_id) AS n_placements,
                row_number() OVER (
                    PARTITION BY c.pair_id ORDER BY p.energy_ev, p.candidate_id
                ) AS place
            {_STANDING}
        ) AS placed
        WHERE place = 1 ORDER BY pair_id
        """
    )
    with db.read() as session:
        rows = _mappings(session, query, campaign=campaign, checkpoint=checkpoint_sha256)
        return [PairMinimum(**row) for row in rows]


def best_placements(
    db: Database, campaign: str, per_pair: int, checkpoint_sha256: str | None = None
) -> dict[str, list[str]]:
    """Return, for each pair, the ids of its ``per_pair`` lowest placements, the lowest first.

    Placements count as in ``lowest_placements``.
    """
    query = text(
        f"""
        SELECT pair_id, candidate_id FROM (
            SELECT c.pair_id, p.candidate_id, row_number() OVER (
                PARTITION BY c.pair_id ORDER BY p.energy_ev, p.candidate_id
            ) AS place
            {_STANDING}
        ) AS placed
        WHERE place <= :per_pair ORDER BY pair_id, place
        """
    )
    values = {"campaign": campaign, "per_pair": per_pair, "checkpoint": checkpoint_sha256}
    best: dict[str, list[str]] = {}
    with db.read() as session:
        for pair_id, candidate_id in session.execute(query, values):
            best.setdefault(pair_id, []).append(candidate_id)
    return best


def funnel_counts(db: Database, campaign: str) -> list[FunnelCount]:
    """Return the funnel of a campaign: every item is counted once."""
    query = text(
        "SELECT * FROM funnel WHERE campaign = :campaign ORDER BY stage, state, count DESC, reason"
    )
    with db.read() as session:
        return [FunnelCount(**row) for row in _mappings(session, query, campaign=campaign)]


def queue_counts(db: Database, campaign: str | None = None) -> list[QueueCount]:
    """Return how many calculations are in each state, of one campaign or of all."""
    query = text(
        "SELECT * FROM queue_status WHERE campaign = :campaign OR :every "
        "ORDER BY campaign, level, kind, state"
    )
    with db.read() as session:
        rows = _mappings(session, query, campaign=campaign or "", every=campaign is None)
        return [QueueCount(**row) for row in rows]


def labelled_predictions(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[LabelledPrediction]:
    """Return the labels of a campaign's placements beside the predictions of its checkpoint.

    Or of another one, ``checkpoint_sha256``; what that has not predicted is left out.
    """
    query = text(
        """
        SELECT l.candidate_id, b.formula AS bulk,
            '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,
            coalesce(q.termination, '') AS termination, c.adsorbate, c.site, l.level,
            p.level AS predicted_level,
            p.energy_ev AS predicted_ev, p.sigma_ev, l.energy_ev AS label_ev, l.trainable, q.why
        FROM label l
        JOIN campaign m ON coalesce(m.verification_level, m.level) = l.level
        JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
            AND i.item_id = l.candidate_id
        JOIN candidate c ON c.id = l.candidate_id
        JOIN slab s ON s.id = c.slab_id
        JOIN bulk b ON b.id = s.bulk_id
        JOIN prediction p ON p.candidate_id = l.candidate_id AND p.level = m.level
            AND p.checkpoint_sha256 = coalesce(:checkpoint, m.checkpoint_sha256)
        LEFT JOIN verification_queue q ON q.item = l.candidate_id AND q.level = l.level
        WHERE m.name = :campaign
        ORDER BY l.candidate_id
        """
    )
    with db.read() as session:
        rows = _mappings(session, query, campaign=campaign, checkpoint=checkpoint_sha256)
        # SQLite answers 0 or 1
        return [LabelledPrediction(**row | {"trainable": bool(row["trainable"])}) for row in rows]


def all_campaigns(db: Database) -> list[CampaignRow]:
    """Return every campaign, by name."""
    with db.read() as session:
        return list(session.scalars(select(CampaignRow).order_by(CampaignRow.name)))


def find_campaign(db: Database, name: str) -> CampaignRow:
    """Return one campaign.

    Raises:
        DatabaseError: there is no such campaign.
    """
    with db.read() as session:
        found = session.get(CampaignRow, name)
    if found is None:
        names = [row.name for row in all_campaigns(db)]
        raise DatabaseError(
            f"there is no campaign {name} in {db.where}; it has {', '.join(names[:10]) or 'none'}"
        )
    return found


def candidates_by_id(db: Database, candidate_ids: Sequence[str]) -> dict[str, CandidateRow]:
    """Return candidates by id; ids that are not there are left out."""
    found: dict[str, CandidateRow] = {}
    with db.read() as session:
        for ids in batches(candidate_ids):
            rows = session.scalars(select(CandidateRow).where(CandidateRow.id.in_(ids)))
            found.update((row.id, row) for row in rows)
    return found


def slabs_by_id(db: Database, slab_ids: Sequence[str]) -> dict[str, SlabRow]:
    """Return slabs by id; ids that are not there are left out."""
    found: dict[str, SlabRow] = {}
    with db.read() as session:
        for ids in batches(slab_ids):
            rows = session.scalars(select(SlabRow).where(SlabRow.id.in_(ids)))
            found.update((row.id, row) for row in rows)
    return found


def bulk_formulas(db: Database, bulk_ids: Collection[str]) -> dict[str, str]:
    """Return the reduced formulas of bulks by id; ids that are not there are left out."""
    found: dict[str, str] = {}
    with db.read() as session:
        for ids in batches(sorted(bulk_ids)):
            rows = session.execute(select(BulkRow.id, BulkRow.formula).where(BulkRow.id.in_(ids)))
            found.update((bulk_id, formula) for bulk_id, formula in rows)
    return found


def attempted_candidates(
    db: Database, campaign: str, *, except_own: bool = False
) -> frozenset[str]:
    """Return the campaign's candidates that have a label or were tried at its label level.

    An attempt counts from its lease on, also one that failed. ``except_own`` leaves out what the
    campaign queued itself, so that a choice that is made again, after a kill, is the same.
    """
    query = text(
        """
        SELECT i.item_id FROM campaign_item i JOIN campaign m ON m.name = i.campaign
        WHERE i.campaign = :campaign AND i.stage = 'placement'
            AND (i.state <> 'queued' OR NOT :except_own)
            AND (
                EXISTS (SELECT 1 FROM label l WHERE l.candidate_id = i.item_id
                    AND l.level = coalesce(m.verification_level, m.level))
                OR EXISTS (SELECT 1 FROM calculation c WHERE c.item = i.item_id
                    AND c.level = coalesce(m.verification_level, m.level))
                OR EXISTS (SELECT 1 FROM queue q WHERE q.item = i.item_id
                    AND q.level = coalesce(m.verification_level, m.level)
                    AND q.state IN ('converged', 'anomalous', 'failed', 'cancelled'))
            )
        """
    )
    with db.read() as session:
        return frozenset(session.scalars(query, {"campaign": campaign, "except_own": except_own}))


def slabs_with_energy(db: Database, campaign: str, *, except_own: bool = False) -> frozenset[str]:
    """Return the slabs whose clean energy at the campaign's label level is recorded.

    ``except_own`` leaves out those that the campaign queued itself, as in ``attempted_candidates``.
    """
    query = text(
        """
        SELECT r.item FROM reference_energy r
        JOIN campaign m ON coalesce(m.verification_level, m.level) = r.level
        WHERE m.name = :campaign AND r.kind = 'slab' AND NOT (:except_own AND EXISTS (
            SELECT 1 FROM queue q WHERE q.item = r.item AND q.level = r.level
                AND q.kind = 'slab' AND q.campaign = :campaign
        ))
        """
    )
    with db.read() as session:
        return frozenset(session.scalars(query, {"campaign": campaign, "except_own": except_own}))


def labels(db: Database, level: str, *, trainable_only: bool = True) -> list[LabelRow]:
    """Return the labels of a level by candidate id, by default those that may be trained on."""
    query = select(LabelRow).where(LabelRow.level == level).order_by(LabelRow.candidate_id)
    if trainable_only:
        query = query.where(LabelRow.trainable)
    with db.read() as session:
        return list(session.scalars(query))


def find_label(db: Database, candidate_id: str, level: str) -> LabelRow | None:
    """Return the label of one candidate at one level, if there is one."""
    with db.read() as session:
        return session.get(LabelRow, (candidate_id, level))


def labels_by_candidate(
    db: Database, level: str, candidate_ids: Sequence[str]
) -> dict[str, LabelRow]:
    """Return the labels of some candidates at a level, by candidate id."""
    with db.read() as session:
        return {
            row.candidate_id: row
            for ids in batches(candidate_ids)
            for row in session.scalars(
                select(LabelRow).where(LabelRow.level == level, LabelRow.candidate_id.in_(ids))
            )
        }


def reference_energies(
    db: Database, level: str, kind: ReferenceKind, items: Collection[str] | None = None
) -> dict[str, ReferenceEnergyRow]:
    """Return the reference energies of a level, by formula or slab id: ``items`` or all."""
    query = select(ReferenceEnergyRow).where(
        ReferenceEnergyRow.level == level, ReferenceEnergyRow.kind == kind
    )
    if items is not None:
        query = query.where(ReferenceEnergyRow.item.in_(items))
    with db.read() as session:
        return {row.item: row for row in session.scalars(query)}


def _mappings(session: Session, query: TextClause, **values: object) -> list[dict[str, Any]]:
    return [dict(row) for row in session.execute(query, values).mappings()]
