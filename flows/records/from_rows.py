"""Read the database back as the values that tasks work on.

Campaigns and levels are read as they were recorded: their files may be gone from disk.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from flows.config.campaign import Campaign, FileAdsorbate
from flows.errors import CampaignError
from model.contract import Prediction
from screening_db.database import Database
from screening_db.errors import DatabaseError
from screening_db.queries import (
    adsorbates_by_name,
    aliases_by_id,
    bulks_of_formula,
    candidates_by_id,
    find_level,
    lowest_placements,
    relaxed_labels,
    slab_formulas,
    slabs_by_id,
)
from screening_db.tables import CampaignRow, CandidateRow, PredictionRow, SlabRow
from tasks.acquisition import Prices
from tasks.acquisition.rank import LowestPlacement, Window
from tasks.acquisition.triage import SlabFacts
from tasks.enumeration import (
    Adsorbate,
    Bulk,
    KnownBulks,
    Slab,
    adsorbate,
    adsorbate_from_smiles,
)
from tasks.levels import LevelOfTheory, level, level_from_record, shipped_levels
from tasks.prediction.predict import StoredCandidate, StoredSlab
from tasks.prediction.relaxed_ends import RelaxationFindings, RelaxedEnd, relaxation_findings
from tasks.structures.formats import structure_from_text


def stored_adsorbates(db: Database, names: Collection[str]) -> dict[str, Adsorbate]:
    """Return adsorbates by name, as they are stored."""
    return {
        name: Adsorbate(name, row.formula, structure_from_text(row.structure), tuple(row.binding))
        for name, row in adsorbates_by_name(db, names).items()
    }


def stored_bulks(db: Database | None) -> KnownBulks:
    """Return how the bulks of a reduced formula are looked up: none without a database."""

    def of_formula(formula: str) -> list[Bulk]:
        if db is None:
            return []
        # what a designer wrote is kept as a bulk too, but is a slab
        rows = [r for r in bulks_of_formula(db, formula) if not r.source.startswith("designer ")]
        others = aliases_by_id(db, "bulk", [row.id for row in rows])
        return [
            Bulk(
                row.id,
                row.formula,
                row.source,
                structure_from_text(row.structure),
                other_ids=tuple(others.get(row.id, ())),
            )
            for row in rows
        ]

    return of_formula


def stored_slabs(
    db: Database,
    candidate_ids: Sequence[str],
    potentials: Mapping[str, str] = MappingProxyType({}),
) -> list[StoredSlab]:
    """Return the slabs of candidates, each with its own candidates, in the order of ids.

    Args:
        db: The database.
        candidate_ids: The candidates.
        potentials: Levels, with their hashes, whose relaxed energies go along with candidates.
    """
    found = candidates_by_id(db, candidate_ids)
    findings = relaxed_findings(db, potentials, found)
    on_slab: dict[str, list[StoredCandidate]] = {}
    for candidate_id in sorted(found):
        row = found[candidate_id]
        on_slab.setdefault(row.slab_id, []).append(_candidate(row, findings.get(candidate_id)))
    rows = slabs_by_id(db, sorted(on_slab))
    formulas = slab_formulas(db, rows.values())
    return [
        StoredSlab(_slab(rows[slab_id], formulas[slab_id]), tuple(on_slab[slab_id]))
        for slab_id in sorted(on_slab)
    ]


def relaxed_findings(
    db: Database, potentials: Mapping[str, str], candidates: Mapping[str, CandidateRow]
) -> Mapping[str, RelaxationFindings]:
    """Return what relaxations at the levels of ``potentials`` say of candidates, by id."""
    labels = relaxed_labels(db, potentials, sorted(candidates)) if potentials else {}
    return relaxation_findings(
        RelaxedEnd(
            row.candidate_id,
            candidates[row.candidate_id].pair_id,
            row.level,
            row.energy_ev,
            row.trainable,
            tuple(row.flags),
            row.relaxed_text,
        )
        for of_one in labels.values()
        for row in of_one.values()
    )


def stored_slab_facts(db: Database, slab_ids: Collection[str]) -> dict[str, SlabFacts]:
    """Return the properties of slabs that triage reads, by slab id."""
    rows = slabs_by_id(db, sorted(slab_ids))
    formulas = slab_formulas(db, rows.values())
    return {
        slab_id: SlabFacts(formulas[slab_id], _miller(row), row.shift, row.n_atoms)
        for slab_id, row in rows.items()
    }


def stored_minima(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[LowestPlacement]:
    """Return the lowest placement of each pair, by pair id; arguments as ``lowest_placements``."""
    return [
        LowestPlacement(
            candidate_id=row.candidate_id,
            pair_id=row.pair_id,
            slab_id=row.slab_id,
            bulk_id=row.bulk_id,
            adsorbate=row.adsorbate,
            energy_ev=row.energy_ev,
            sigma_ev=row.sigma_ev,
            basis=row.basis,
        )
        for row in lowest_placements(db, campaign, checkpoint_sha256)
    ]


def stored_prediction(row: PredictionRow) -> Prediction | None:
    """Return a stored prediction; None where it lacks a head that predictions have."""
    if row.regression_ev is None or row.token_ev is None:
        return None
    return Prediction(
        candidate_id=row.candidate_id,
        level=row.level,
        checkpoint_sha256=row.checkpoint_sha256,
        energy_ev=row.energy_ev,
        sigma_ev=row.sigma_ev,
        regression_ev=row.regression_ev,
        token_ev=row.token_ev,
        in_domain=row.in_domain,
        reason=row.reason,
        basis=row.basis,
    )


def _candidate(row: CandidateRow, found: RelaxationFindings | None = None) -> StoredCandidate:
    found = found or RelaxationFindings()
    return StoredCandidate(
        candidate_id=row.id,
        pair_id=row.pair_id,
        adsorbate=row.adsorbate,
        site_kind=row.site_kind,
        site=row.site,
        recipe=row.recipe,
        structure=row.structure,
        energies_ev=found.energies_ev,
        dropped=found.dropped,
        dropped_at=found.dropped_at,
    )


def _slab(row: SlabRow, formula: str) -> Slab:
    return Slab(
        row.id,
        row.bulk_id or "",
        formula,
        _miller(row),
        row.shift,
        row.side,
        structure_from_text(row.structure),
        row.edit,
    )


def _miller(row: SlabRow) -> tuple[int, int, int]:
    return row.miller_h, row.miller_k, row.miller_l


def recorded_campaign(row: CampaignRow) -> Campaign:
    """Return a campaign as it was recorded; its levels are names of the database.

    Raises:
        CampaignError: this release does not read it any more.
    """
    try:
        stated = json.loads(row.config)
        return Campaign.model_validate(stated.get("designed", stated))
    except (ValueError, AttributeError, ValidationError) as fault:
        raise CampaignError(
            f"campaign {row.name} was recorded by another release, and this one does not read it "
            f"({str(fault).splitlines()[0]}); screen it again under another name"
        ) from fault


def recorded_windows(campaign: Campaign) -> dict[str, Window]:
    """Return the target windows by the names that the database has of adsorbates."""
    names = {
        name: _stored_name(stated, name)
        for name, stated in zip(campaign.adsorbate_names(), campaign.adsorbates, strict=True)
    }
    return {names[name]: window for name, window in campaign.windows().items()}


def recorded_prices(campaign: Campaign) -> Prices | None:
    """Return the prices that triage counts; a table of the user's own was recorded whole."""
    return campaign.triage.prices.read(Path()) if campaign.triage.prices else None


def recorded_level(db: Database, name: str) -> LevelOfTheory:
    """Return a shipped level by name, or a user's own as it was recorded: its file may be gone.

    Raises:
        DatabaseError: the record is not there, or does not have its own hash any more.
    """
    if name in {shipped.name for shipped in shipped_levels()}:
        return level(name)
    row = find_level(db, name)
    if row is None:
        raise DatabaseError(f"no level {name} is recorded in {db.where}; screen a campaign with it")
    found = level_from_record(row.name, row.engine, row.functional, row.settings, row.reference)
    if found.level_hash != row.level_hash:
        raise DatabaseError(
            f"level {name} was recorded with hash {row.level_hash[:12]} and reads as "
            f"{found.level_hash[:12]}: it was changed, or this release computes it otherwise; "
            "screen again under another level name"
        )
    return found


def _stored_name(stated: object, name: str) -> str:
    """Return the name that an adsorbate is stored by: ``HCO`` may be ``CHO``."""
    if isinstance(stated, str):
        return adsorbate(stated).name
    if isinstance(stated, FileAdsorbate) or getattr(stated, "name", None):
        return name
    return adsorbate_from_smiles(name, tuple(getattr(stated, "binding", ()))).name
