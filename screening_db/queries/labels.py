"""Read labels, reference energies, and what was attempted at the level of labels."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text

from screening_db.database.bulk import batches
from screening_db.database.engine import Database
from screening_db.tables.verification import (
    LabelRow,
    ReferenceEnergyRow,
    ReferenceKind,
)


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


def labelled_predictions(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[LabelledPrediction]:
    """Return the labels of a campaign's placements beside the predictions of its checkpoint.

    Or of another one, ``checkpoint_sha256``; what that has not predicted is left out.
    """
    rows = db.query(
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
        """,
        campaign=campaign,
        checkpoint=checkpoint_sha256,
    )
    # SQLite answers 0 or 1
    return [LabelledPrediction(**row | {"trainable": bool(row["trainable"])}) for row in rows]


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
