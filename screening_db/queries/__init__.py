"""Reading: rankings, labels, enumeration, the funnel."""

from screening_db.queries.aliases import aliases_by_id, bulks_of_formula
from screening_db.queries.campaigns import (
    all_campaigns,
    find_campaign,
    first_checkpoint,
    funnel_counts,
    refused_slabs,
    relaxing_work,
    stored_contents,
)
from screening_db.queries.enumeration import (
    adsorbates_by_name,
    bulks_by_id,
    candidates_by_id,
    find_level,
    predictions_of_pairs,
    site_of_candidate,
    slab_formulas,
    slabs_by_id,
)
from screening_db.queries.labels import (
    LabelledPrediction,
    attempted_candidates,
    find_label,
    labelled_predictions,
    labels_by_candidate,
    levels_with_labels,
    reference_energies,
    relaxed_labels,
    slabs_with_energy,
)
from screening_db.queries.ranking import (
    lowest_placements,
    placements_to_relax,
    top_candidates,
)

__all__ = [
    "LabelledPrediction",
    "adsorbates_by_name",
    "aliases_by_id",
    "all_campaigns",
    "attempted_candidates",
    "bulks_by_id",
    "bulks_of_formula",
    "candidates_by_id",
    "find_campaign",
    "find_label",
    "find_level",
    "first_checkpoint",
    "funnel_counts",
    "labelled_predictions",
    "labels_by_candidate",
    "levels_with_labels",
    "lowest_placements",
    "placements_to_relax",
    "predictions_of_pairs",
    "reference_energies",
    "refused_slabs",
    "relaxed_labels",
    "relaxing_work",
    "site_of_candidate",
    "slab_formulas",
    "slabs_by_id",
    "slabs_with_energy",
    "stored_contents",
    "top_candidates",
]
