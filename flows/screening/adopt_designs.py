"""Let generated adslabs enter the screening database as a campaign of their own.

They become candidates like any other: predicted, ranked by the probability of lying around the
target, kept, and queued for verification. No crystal is known of a generated slab, so the slab
itself stands as its bulk, and says where it comes from.
"""

import json
from collections.abc import Iterable, Sequence

from flows.config.campaign import Campaign
from flows.errors import CampaignError
from flows.records.folders import lake_folder
from flows.records.from_rows import recorded_level
from flows.records.to_rows import (
    adsorbate_row,
    bulk_row,
    designs_campaign_row,
    level_row,
    predicting_checkpoint_row,
    refused_items,
    slab_row,
    used_items,
)
from flows.screening.designs import GeneratedDesigns
from flows.screening.ranking.triage import ExpectedCounts, finish_campaign
from flows.screening.scoring import ResultStore, store_scores
from model.contract import ADSORBATE_TAG
from model.text.configuration_text import parse_text
from screening_db.database import Database, campaign_lock
from screening_db.queries import find_campaign
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import (
    record_adsorbates,
    record_bulks,
    record_checkpoint,
    record_items,
    record_level,
    record_slabs,
)
from tasks.design.generate import Design, DesignedAdslab
from tasks.enumeration import Bulk, Slab, adsorbate
from tasks.errors import Refusal
from tasks.prediction.featurise import configuration_text, site_label
from tasks.prediction.predict import ScoredCandidate, SlabScores
from tasks.structures.formats import structure_text
from tasks.structures.identity import content_id, pair_id
from tasks.verification.relaxation.admission import pair_fault

SITE_KIND = "designed"  # where others say atop, bridge or hollow: no site was aimed at
CHUNK = "designs"


def adopt_designs(generated: GeneratedDesigns, campaign: Campaign, db: Database) -> int:
    """Store the valid designs as the candidates of ``campaign``.

    Equal designs are one candidate, and a rerun adds nothing.

    Args:
        generated: The designs, with the request that they answer.
        campaign: The campaign that they enter.
        db: The database.

    Returns:
        How many candidates there are.

    Raises:
        CampaignError: no design is valid, or none can be verified at the campaign's level.
        DatabaseError: the campaign's name was run with another request.
    """
    made = {c.candidate_id: (c, design) for design in generated.valid for c in [design.adslab] if c}
    refused = _refused_pairs(campaign, (adslab for adslab, _ in made.values()), db)
    known = [each for key, each in made.items() if key not in refused]
    scored = [_scored(adslab, design, campaign) for adslab, design in known]
    if not scored:
        why = next((f": {r.reason}" for r in refused.values()), "; raise -n")
        raise CampaignError(f"a campaign needs at least one valid design, got none{why}")
    slabs = {adslab.slab_id: _slab(adslab) for adslab, _ in known}
    with campaign_lock(db, campaign.name):
        _record_start(db, generated, campaign, scored)
        if find_campaign(db, campaign.name).status == "finished":
            return len(scored)
        record_bulks(db, [bulk_row(_bulk(generated, slab)) for slab in slabs.values()])
        record_slabs(db, [slab_row(slab) for slab in slabs.values()])
        record_items(
            db,
            [
                *used_items(campaign.name, "adsorbate", campaign.adsorbate_names()),
                *used_items(campaign.name, "bulk", [slab.bulk_id for slab in slabs.values()]),
                *used_items(campaign.name, "slab", slabs),
                *refused_items(campaign.name, refused.values()),
            ],
        )
        store = ResultStore(db, lake_folder(db), campaign.name)
        store_scores(store, CHUNK, SlabScores(tuple(scored), ()))
        finish_campaign(
            db, campaign, campaign.windows(), ExpectedCounts(len(slabs), len(slabs), len(scored))
        )
    return len(scored)


def _refused_pairs(
    campaign: Campaign, made: Iterable[DesignedAdslab], db: Database
) -> dict[str, Refusal]:
    """Return the refusals of designs that the campaign's level cannot verify, by candidate."""
    level, (name,) = recorded_level(db, campaign.level), campaign.adsorbate_names()
    return {
        each.candidate_id: Refusal(f"{each.slab_id} {name}", "pair", fault)
        for each in made
        if (fault := pair_fault(each.atoms.get_chemical_symbols(), (), level))
    }


def _scored(made: DesignedAdslab, design: Design, campaign: Campaign) -> ScoredCandidate:
    if design.prediction is None:
        raise ValueError(f"design {design.number} is valid and was not predicted")
    (name,) = campaign.adsorbate_names()
    named = parse_text(made.text)
    # Names of sites follow one rule, whichever the predictor reads.
    text = configuration_text(made.atoms, named.adsorbate, named.bulk, named.miller, "scaled")
    return ScoredCandidate(
        candidate_id=made.candidate_id,
        pair_id=pair_id(made.slab_id, name),
        slab_id=made.slab_id,
        adsorbate=name,
        site_kind=SITE_KIND,
        site=site_label(parse_text(text).sites),
        # the stream builds the structure again, and the text is what a model reads of it
        recipe={"stream": " ".join(design.tokens), "text": made.text},
        text=made.text,
        prediction=design.prediction,
        structure=structure_text(made.atoms),
    )


def _slab(made: DesignedAdslab) -> Slab:
    """Return the clean slab of a design; its bulk goes by the slab's id."""
    slab = made.atoms[made.atoms.get_tags() != ADSORBATE_TAG]
    bulk = content_id("designed", made.slab_id)
    return Slab(made.slab_id, bulk, made.bulk_formula, made.miller, 0.0, "top", slab)


def _bulk(generated: GeneratedDesigns, slab: Slab) -> Bulk:
    source = f"designer {generated.designer_sha256[:12]}: a slab without a crystal"
    return Bulk(slab.bulk_id, slab.bulk_formula, source, slab.atoms)


def _record_start(
    db: Database, generated: GeneratedDesigns, campaign: Campaign, scored: Sequence[ScoredCandidate]
) -> None:
    level = recorded_level(db, campaign.level)
    sha256 = scored[0].prediction.checkpoint_sha256
    config = json.dumps(
        {"designed": campaign.model_dump(mode="json", exclude={"cluster", "database"})},
        sort_keys=True,
        indent=1,
    )
    designs = content_id("designs", config, generated.designer_sha256, len(generated.designs))
    record_level(db, level_row(level))
    record_adsorbates(db, [adsorbate_row(adsorbate(name)) for name in campaign.adsorbate_names()])
    record_checkpoint(db, predicting_checkpoint_row(sha256, campaign.model))
    record_campaign(
        db,
        designs_campaign_row(
            campaign, config=config, config_sha256=designs, checkpoint_sha256=sha256
        ),
    )
