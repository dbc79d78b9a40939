"""Place, featurise and predict all that a few slabs offer: the work of one future.

Everything is placed, also what was predicted before: an id says which placement a stored prediction
is of, and only the others are handed to the predictor.

Units   energies in eV, lengths in Å, angles in degrees.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from model.contract import Configuration, Prediction, Predictor
from model.text.configuration_text import parse_text
from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.placements import (
    PlacedAdslab,
    PlacementSpec,
    adslab_recipe,
    enumerate_placements,
    surface_sites,
)
from tasks.enumeration.slabs import Slab
from tasks.errors import Refusal
from tasks.prediction.featurise import featurise_all, site_label
from tasks.structures.identity import pair_id
from tasks.structures.json_text import structure_text


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate with its prediction.

    ``site_kind`` is what was aimed at, ``site`` what the adsorbate touches; ``recipe`` builds it
    again, and ``structure`` (JSON) is there only where the candidate is kept.
    """

    candidate_id: str
    pair_id: str
    slab_id: str
    adsorbate: str
    site_kind: str
    site: str
    recipe: dict[str, object]
    text: str
    prediction: Prediction
    structure: str | None = None


@dataclass(frozen=True)
class SlabScores:
    """What became of every placement: predicted, or refused with a reason."""

    candidates: tuple[ScoredCandidate, ...]
    refused: tuple[Refusal, ...]


def score_slabs(
    slabs: Sequence[Slab],
    adsorbates: Sequence[Adsorbate],
    spec: PlacementSpec,
    *,
    level: str,
    keep_per_pair: int,
    predictor: Predictor,
    known: Mapping[str, Prediction] | None = None,
) -> SlabScores:
    """Predict every placement of ``adsorbates`` on ``slabs``.

    The best ``keep_per_pair`` of each pair carry their structure. ``known`` are predictions of the
    same checkpoint at the same level, by candidate id; they are taken as they are.
    """
    refused: list[Refusal] = []
    adslabs: list[PlacedAdslab] = []
    configurations: list[Configuration] = []
    for slab in slabs:
        sites = surface_sites(slab)  # once for all adsorbates
        placed: list[PlacedAdslab] = []
        for adsorbate in adsorbates:
            made, not_made = enumerate_placements(slab, sites, adsorbate, spec)
            placed += made
            refused += not_made
        read, not_read = featurise_all(placed, slab, level, sites)
        left_out = {r.item for r in not_read}
        adslabs += [a for a in placed if a.candidate_id not in left_out]
        configurations += read
        refused += not_read
    predictions = _answers(configurations, predictor, known or {})
    scored = [_scored(*row) for row in zip(adslabs, configurations, predictions, strict=True)]
    kept = {c.candidate_id for c in best_of_pairs(scored, keep_per_pair)}
    structures = {
        a.candidate_id: structure_text(a.atoms) for a in adslabs if a.candidate_id in kept
    }
    return SlabScores(
        tuple(replace(c, structure=structures.get(c.candidate_id)) for c in scored), tuple(refused)
    )


def _answers(
    configurations: Sequence[Configuration], predictor: Predictor, known: Mapping[str, Prediction]
) -> list[Prediction]:
    """Return the prediction of each configuration in order: the known one, or a new one."""
    unknown = [c for c in configurations if c.candidate_id not in known]
    predictions = predictor.predict(unknown) if unknown else []
    require_predictions(unknown, predictions, predictor.checkpoint_sha256)
    new = iter(predictions)
    answers = [known.get(c.candidate_id) or next(new) for c in configurations]
    require_predictions(configurations, answers, predictor.checkpoint_sha256)
    return answers


def require_predictions(
    configurations: Sequence[Configuration], predictions: Sequence[Prediction], checkpoint: str
) -> None:
    """Raise where an answer is for another candidate, level or checkpoint: the program's fault."""
    asked = [(c.candidate_id, c.level, checkpoint) for c in configurations]
    answered = [(p.candidate_id, p.level, p.checkpoint_sha256) for p in predictions]
    if asked != answered:
        raise RuntimeError(
            f"a predictor answers what it was asked, in that order; asked {len(asked)}, answered "
            f"{len(answered)}, and candidates, levels or checkpoints differ"
        )


def best_of_pairs(candidates: Iterable[ScoredCandidate], count: int) -> list[ScoredCandidate]:
    """Return the ``count`` lowest in-domain candidates of each pair; ties go to the lower id."""
    pairs: dict[str, list[ScoredCandidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.prediction.in_domain:
            pairs[candidate.pair_id].append(candidate)
    return [
        c
        for members in pairs.values()
        for c in sorted(members, key=lambda c: (c.prediction.energy_ev, c.candidate_id))[:count]
    ]


def _scored(
    adslab: PlacedAdslab, configuration: Configuration, prediction: Prediction
) -> ScoredCandidate:
    return ScoredCandidate(
        candidate_id=adslab.candidate_id,
        pair_id=pair_id(adslab.slab_id, adslab.adsorbate),
        slab_id=adslab.slab_id,
        adsorbate=adslab.adsorbate,
        site_kind=adslab.placement.site.kind,
        site=site_label(parse_text(configuration.text)),
        recipe=adslab_recipe(adslab),
        text=configuration.text,
        prediction=prediction,
    )
