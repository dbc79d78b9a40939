"""Domain values as rows of the screening database."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from flows.config.campaign import Campaign
from flows.config.resolve import ResolvedCampaign
from model.checkpoint import Checkpoint, embedded_names
from model.contract import Domain, Prediction
from model.text.configuration_text import parse_text
from screening_db.database import Database
from screening_db.queries import site_of_candidate
from screening_db.queue.lease import Lease
from screening_db.records.lake import SCHEMA
from screening_db.tables import (
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CandidateRow,
    CheckpointRow,
    LabelRow,
    LevelOfTheoryRow,
    PredictionRow,
    QueueRow,
    RankRow,
    ReferenceEnergyRow,
    ReferenceKind,
    SlabRow,
    Stage,
)
from tasks.acquisition.rank import RankedPair
from tasks.acquisition.triage import Selection
from tasks.enumeration import Adsorbate, Bulk, Slab
from tasks.errors import Refusal
from tasks.levels import LevelOfTheory
from tasks.prediction.featurise import configuration_text, site_label
from tasks.prediction.predict import ScoredCandidate, SlabScores
from tasks.structures.formats import structure_text
from tasks.verification.labels.checks import Flag
from tasks.verification.labels.verify import VerifiedEnergy


def bulk_row(bulk: Bulk) -> BulkRow:
    """Return a bulk as a row."""
    return BulkRow(
        id=bulk.bulk_id,
        formula=bulk.formula,
        source=bulk.source,
        structure=structure_text(bulk.atoms),
        note=bulk.symmetry.word() if bulk.symmetry else "",
    )


def slab_row(slab: Slab) -> SlabRow:
    """Return a slab as a row."""
    h, k, l = slab.miller  # noqa: E741  the names of Miller indices
    return SlabRow(
        id=slab.slab_id,
        bulk_id=slab.bulk_id or None,
        formula=slab.bulk_formula if slab.edit or not slab.bulk_id else "",
        edit=slab.edit,
        miller_h=h,
        miller_k=k,
        miller_l=l,
        shift=slab.shift,
        side=slab.side,
        n_atoms=len(slab.atoms),
        elements=sorted(set(slab.atoms.get_chemical_symbols())),
        structure=structure_text(slab.atoms),
    )


def adsorbate_row(adsorbate: Adsorbate) -> AdsorbateRow:
    """Return an adsorbate as a row."""
    return AdsorbateRow(
        name=adsorbate.name,
        formula=adsorbate.formula,
        structure=structure_text(adsorbate.atoms),
        binding=list(adsorbate.binding),
    )


def level_row(level: LevelOfTheory) -> LevelOfTheoryRow:
    """Return a level of theory as a row."""
    return LevelOfTheoryRow(
        name=level.name,
        level_hash=level.level_hash,
        engine=level.engine,
        functional=level.functional,
        settings=dict(level.settings),
        reference=level.reference.record,
    )


def checkpoint_row(sha256: str, model: str, location: str, domain: Domain) -> CheckpointRow:
    """Return a checkpoint that no fine-tuning of this database has made as a row.

    ``location`` is its embedded name or its folder; an embedded one is stored without a folder.
    """
    elements = {level: sorted(parts.slab_elements) for level, parts in domain.levels.items()}
    return CheckpointRow(
        sha256=sha256,
        name=model,
        kind="predictor",
        card={"slab_elements": elements, "levels": sorted(domain.levels)},
        folder="" if location in embedded_names() else str(Path(location).absolute()),
    )


def tuned_checkpoint_row(
    candidate: Checkpoint, model: str, parent_sha256: str, models: Path
) -> CheckpointRow:
    """Return a checkpoint that was fine-tuned from another one as a row.

    One that lies in the folder ``models`` of its database is found from there, wherever that moves.
    """
    folder = candidate.folder.absolute()
    return CheckpointRow(
        sha256=candidate.sha256,
        name=model,
        kind=candidate.kind,
        card=candidate.read_json("card.json"),
        model=model,
        folder=str(folder.relative_to(models) if folder.is_relative_to(models) else folder),
        parent_sha256=parent_sha256,
    )


def predicting_checkpoint_row(sha256: str, model: str) -> CheckpointRow:
    """Return the checkpoint that predicted designs as a row: its hash and the model's name."""
    return CheckpointRow(sha256=sha256, name=model, kind="predictor", card={})


def campaign_row(resolved: ResolvedCampaign) -> CampaignRow:
    """Return a campaign that is running as a row."""
    return CampaignRow(
        name=resolved.campaign.name,
        config_sha256=resolved.config_sha256,
        config=resolved.config,
        level=resolved.level.name,
        checkpoint_sha256=resolved.checkpoint_sha256,
        seed=resolved.campaign.seed,
        verification_level=resolved.campaign.verification.level,
        relaxing_level=resolved.relaxing.level.name if resolved.relaxing else "",
    )


def designs_campaign_row(
    campaign: Campaign, *, config: str, config_sha256: str, checkpoint_sha256: str
) -> CampaignRow:
    """Return the campaign that designs enter as a row; no file states it."""
    return CampaignRow(
        name=campaign.name,
        config_sha256=config_sha256,
        config=config,
        level=campaign.level,
        checkpoint_sha256=checkpoint_sha256,
        seed=campaign.seed,
    )


def used_items(campaign: str, stage: Stage, items: Iterable[str]) -> list[CampaignItemRow]:
    """Return the bulks, slabs or adsorbates that a campaign screens, by id."""
    return [
        CampaignItemRow(campaign=campaign, stage=stage, item_id=item, state="used", reason="")
        for item in items
    ]


def refused_items(campaign: str, refused: Iterable[Refusal]) -> list[CampaignItemRow]:
    """Return refused items, each once, with its reason."""
    unique = {(r.stage, r.item): r for r in refused}
    return [
        CampaignItemRow(
            campaign=campaign, stage=r.stage, item_id=r.item, state="refused", reason=r.reason
        )
        for r in unique.values()
    ]


def candidate_row(scored: ScoredCandidate) -> CandidateRow:
    """Return a candidate as a row: its recipe, and the structure where it is kept."""
    return CandidateRow(
        id=scored.candidate_id,
        pair_id=scored.pair_id,
        slab_id=scored.slab_id,
        adsorbate=scored.adsorbate,
        site_kind=scored.site_kind,
        site=scored.site,
        recipe=scored.recipe,
        structure=scored.structure,
    )


def prediction_row(prediction: Prediction) -> PredictionRow:
    """Return a prediction as a row."""
    return PredictionRow(
        candidate_id=prediction.candidate_id,
        checkpoint_sha256=prediction.checkpoint_sha256,
        level=prediction.level,
        energy_ev=prediction.energy_ev,
        sigma_ev=prediction.sigma_ev,
        regression_ev=prediction.regression_ev,
        token_ev=prediction.token_ev,
        in_domain=prediction.in_domain,
        reason=prediction.reason,
        basis=prediction.basis,
    )


def placement_items(campaign: str, scores: SlabScores) -> list[CampaignItemRow]:
    """Return the one state of each placement of a chunk."""
    items = refused_items(campaign, scores.refused)
    for scored in scores.candidates:
        prediction = scored.prediction
        items.append(
            CampaignItemRow(
                campaign=campaign,
                stage="placement",
                item_id=scored.candidate_id,
                state="predicted" if prediction.in_domain else "out_of_domain",
                reason=prediction.reason,
            )
        )
    return items


def prediction_table(candidates: Sequence[ScoredCandidate]) -> pa.Table:
    """Return the predictions of a chunk in the columns of the Parquet lake."""
    rows = []
    for c in candidates:
        row = asdict(c.prediction)
        row |= {"pair_id": c.pair_id, "slab_id": c.slab_id, "adsorbate": c.adsorbate}
        rows.append(row | {"text": c.text})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def rank_row(campaign: str, ranked: RankedPair) -> RankRow:
    """Return a ranked pair as a row."""
    minimum = ranked.minimum
    return RankRow(
        campaign=campaign,
        rank=ranked.rank,
        rank_group=ranked.group,
        pair_id=minimum.pair_id,
        candidate_id=minimum.candidate_id,
        adsorbate=minimum.adsorbate,
        energy_ev=minimum.energy_ev,
        sigma_ev=minimum.sigma_ev,
        probability=ranked.probability,
        basis=minimum.basis,
    )


def queue_row(campaign: Campaign, chosen: Selection) -> QueueRow:
    """Return a chosen pair as an item of the queue."""
    return QueueRow(
        candidate_id=chosen.pair.minimum.candidate_id,
        level=campaign.verification.level or campaign.level,
        campaign=campaign.name,
        priority=-float(chosen.priority),  # the queue takes the larger first, triage counts from 1
        why=chosen.why,
    )


def reference_row(
    level: str, kind: ReferenceKind, item: str, energy_ev: float
) -> ReferenceEnergyRow:
    """Return the energy of a clean slab or gas molecule as a row."""
    return ReferenceEnergyRow(level=level, kind=kind, item=item, energy_ev=energy_ev)


def label_row(db: Database, lease: Lease, verified: VerifiedEnergy) -> LabelRow:
    """Return the label of a leased adslab, with the site where its adsorbate ended.

    Args:
        db: The database that holds its candidate, slab and bulk.
        lease: The lease it was computed under.
        verified: The energies (eV), forces (eV/Å) and flags of the relaxation.

    Returns:
        The label as a row; a number that is infinite is stored as missing.
    """
    start = site_of_candidate(db, lease.candidate_id)
    text = configuration_text(verified.atoms, start.adsorbate, start.bulk, start.miller, "scaled")
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
        flag_numbers=flag_numbers(verified.flags),
        site_before=start.site,
        site_after=site_label(parse_text(text).sites),
        migrated=verified.site_changed,
        relaxed_text=text,
        two_start_ev=_finite(verified.two_start_ev),
    )


def flag_numbers(flags: Iterable[Flag]) -> dict[str, list[float | None]]:
    """Return what each flag found and its limit; JSON has no infinite number."""
    return {flag.name: [_finite(flag.value), _finite(flag.limit)] for flag in flags}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
