"""The label of a verified adslab as a row, with where its adsorbate began and ended."""

import math

from model.text.configuration_text import parse_text
from screening_db.database.engine import Database
from screening_db.queue.lease import Lease
from screening_db.tables.screening import BulkRow, CandidateRow, SlabRow
from screening_db.tables.verification import LabelRow
from tasks.prediction.featurise import configuration_text, site_label
from tasks.structures.json_text import structure_text
from tasks.verification.labels.verify import VerifiedEnergy


def label_row(db: Database, lease: Lease, verified: VerifiedEnergy) -> LabelRow:
    """Return the label of a leased adslab."""
    with db.read() as session:
        candidate = session.get_one(CandidateRow, lease.candidate_id)
        slab = session.get_one(SlabRow, candidate.slab_id)
        bulk = session.get_one(BulkRow, slab.bulk_id)
    miller = (slab.miller_h, slab.miller_k, slab.miller_l)
    text = configuration_text(verified.atoms, candidate.adsorbate, bulk.formula, miller)
    return LabelRow(
        candidate_id=lease.candidate_id,
        level=lease.level,
        energy_ev=verified.energy_ev,
        e_adslab=verified.e_adslab_ev,
        e_slab=verified.e_slab_ev,
        e_references=dict(verified.references),
        converged=verified.converged,
        flags=[flag.name for flag in verified.flags],
        steps=verified.steps,
        fmax=verified.fmax_ev_ang,
        structure=structure_text(verified.atoms),
        trainable=verified.trainable,
        level_hash=verified.level_hash,
        flag_numbers={
            flag.name: [_number(flag.value), _number(flag.limit)] for flag in verified.flags
        },
        site_before=candidate.site,
        site_after=site_label(parse_text(text)),
        migrated=verified.site_changed,
        relaxed_text=text,
        two_start_ev=_number(verified.two_start_ev),
    )


def _number(value: float | None) -> float | None:
    """Return a number as a database holds it: what is none, or infinite, is missing."""
    return value if value is not None and math.isfinite(value) else None
