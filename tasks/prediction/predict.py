"""Predict the placements that slabs offer, or candidates that a database holds.

All placements of a slab are made, also those that were predicted before: their ids tell which
stored prediction is theirs, and only the others are handed to the predictor. Stored candidates are
made again from slab and recipe, as the screening made them, and predicted by another checkpoint.

Units   energies in eV, lengths in Å, angles in degrees.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from model.contract import BondRule, Configuration, Prediction, Predictor
from model.text.configuration_text import parse_text
from tasks.enumeration import (
    Adsorbate,
    PlacedAdslab,
    PlacementSpec,
    Slab,
    adslab_from_recipe,
    adslab_recipe,
    enumerate_placements,
    surface_sites,
)
from tasks.errors import Refusal, UserError
from tasks.prediction.featurise import (
    configuration_text,
    featurise,
    featurise_all,
    site_label,
    site_name,
)
from tasks.structures.formats import structure_from_text, structure_text
from tasks.structures.identity import pair_id


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
    """Every placement of some slabs: predicted, or refused with a reason."""

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
    left_out: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> SlabScores:
    """Predict every placement of ``adsorbates`` on ``slabs``.

    Args:
        slabs: The slabs to place on.
        adsorbates: The species to place on each.
        spec: Which placements to make.
        level: The level of theory to predict at.
        keep_per_pair: The number of lowest candidates of each pair that carry their structure.
        predictor: Predicts the placements that ``known`` does not hold.
        known: Predictions of the same checkpoint at the same level, by candidate id.
        left_out: The names of adsorbates that are not placed on a slab, by the slab's id.

    Returns:
        The candidates with predictions (eV), and the placements that were refused.

    Raises:
        RuntimeError: a prediction is for another candidate, level or checkpoint.
    """
    refused: list[Refusal] = []
    adslabs: list[PlacedAdslab] = []
    names: list[str] = []
    configurations: list[Configuration] = []
    for slab in slabs:
        sites = surface_sites(slab)  # once for all adsorbates
        placed: list[PlacedAdslab] = []
        for adsorbate in adsorbates:
            if adsorbate.name in left_out.get(slab.slab_id, ()):
                continue
            made, not_made = enumerate_placements(slab, sites, adsorbate, spec)
            placed += made
            refused += not_made
        read, not_read = featurise_all(placed, slab, level, predictor.bond_rule, sites)
        unread = {r.item for r in not_read}
        kept_here = [a for a in placed if a.candidate_id not in unread]
        if predictor.bond_rule == "scaled":
            names += [site_label(parse_text(c.text).sites) for c in read]
        else:
            names += [site_name(a, slab, sites.landscape) for a in kept_here]
        adslabs += kept_here
        configurations += read
        refused += not_read
    predictions = _answers(configurations, predictor, known or {})
    scored = [
        _scored(*row) for row in zip(adslabs, names, configurations, predictions, strict=True)
    ]
    kept = {c.candidate_id for c in _best_placements(scored, keep_per_pair)}
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
    expected = [(c.candidate_id, c.level, checkpoint) for c in configurations]
    answered = [(p.candidate_id, p.level, p.checkpoint_sha256) for p in predictions]
    if expected != answered:
        raise RuntimeError(
            f"a predictor answers each request, in order; {len(expected)} requests, "
            f"{len(answered)} answers, and candidates, levels or checkpoints differ"
        )


def _best_placements(candidates: Iterable[ScoredCandidate], count: int) -> list[ScoredCandidate]:
    """Return the ``count`` lowest in-domain candidates of each pair; ties go to the lower id.

    The worker's twin of the query ``lowest_placements``: nothing is stored yet, and only these keep
    their structure on the way.
    """
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
    adslab: PlacedAdslab, site: str, configuration: Configuration, prediction: Prediction
) -> ScoredCandidate:
    return ScoredCandidate(
        candidate_id=adslab.candidate_id,
        pair_id=pair_id(adslab.slab_id, adslab.adsorbate),
        slab_id=adslab.slab_id,
        adsorbate=adslab.adsorbate,
        site_kind=adslab.placement.site.kind,
        site=site,
        recipe=adslab_recipe(adslab),
        text=configuration.text,
        prediction=prediction,
    )


@dataclass(frozen=True)
class StoredCandidate:
    """A candidate as the database has it. A design has a stored structure and its text.

    ``energies_ev`` are those that other levels relaxed it to, by level; ``dropped`` says why a
    relaxation left no such adslab, and is empty where none did.
    """

    candidate_id: str
    pair_id: str
    adsorbate: str
    site_kind: str
    site: str
    recipe: Mapping[str, object]
    structure: str | None  # JSON
    energies_ev: Mapping[str, float] = field(default_factory=dict)
    dropped: str = ""
    dropped_at: str = ""  # the level of that relaxation


@dataclass(frozen=True)
class StoredSlab:
    """A slab with those of its candidates that are to be predicted again."""

    slab: Slab
    candidates: tuple[StoredCandidate, ...]


@dataclass(frozen=True)
class _Read:
    """A candidate as a model reads it, and its structure."""

    slab_id: str
    stored: StoredCandidate
    configuration: Configuration
    structure: str


def predict_again(
    slabs: Sequence[StoredSlab],
    adsorbates: Mapping[str, Adsorbate],
    *,
    level: str,
    predictor: Predictor,
) -> tuple[ScoredCandidate, ...]:
    """Predict stored candidates with another checkpoint.

    Args:
        slabs: Slabs with the candidates to predict.
        adsorbates: The species by name.
        level: The level of theory to predict at.
        predictor: Predicts the candidates.

    Returns:
        The candidates in order with predictions (eV), each with its structure.

    Raises:
        UserError: a recipe gives another structure here than the one it was made from.
    """
    rule = predictor.bond_rule
    read = [one for slab in slabs for one in _read(slab, adsorbates, level, rule)]
    configurations = [
        replace(one.configuration, energies_ev=one.stored.energies_ev) for one in read
    ]
    predictions = predictor.predict(configurations)
    require_predictions(configurations, predictions, predictor.checkpoint_sha256)
    return tuple(
        ScoredCandidate(
            candidate_id=one.stored.candidate_id,
            pair_id=one.stored.pair_id,
            slab_id=one.slab_id,
            adsorbate=one.stored.adsorbate,
            site_kind=one.stored.site_kind,
            site=one.stored.site,
            recipe=dict(one.stored.recipe),
            text=one.configuration.text,
            prediction=_unless_dropped(prediction, one.stored),
            structure=one.structure,
        )
        for one, prediction in zip(read, predictions, strict=True)
    )


def _unless_dropped(prediction: Prediction, stored: StoredCandidate) -> Prediction:
    """Return the prediction; of an adslab that a relaxation took apart it is no energy to rank."""
    if not stored.dropped:
        return prediction
    return replace(prediction, in_domain=False, reason=stored.dropped, basis=stored.dropped_at)


def _read(
    on: StoredSlab, adsorbates: Mapping[str, Adsorbate], level: str, rule: BondRule
) -> list[_Read]:
    placed = [c for c in on.candidates if "placement" in c.recipe]
    read = [
        _designed(c, on.slab, level, rule) for c in on.candidates if "placement" not in c.recipe
    ]
    if placed:
        sites = surface_sites(on.slab)  # once for all candidates
    for stored in placed:
        adsorbate = adsorbates[stored.adsorbate]
        adslab = adslab_from_recipe(stored.recipe, on.slab, adsorbate, sites.landscape)
        configuration = featurise(adslab, on.slab, level, rule, sites)
        text = stored.structure or structure_text(adslab.atoms)
        read.append(_Read(on.slab.slab_id, stored, configuration, text))
    return read


def _designed(stored: StoredCandidate, slab: Slab, level: str, rule: BondRule) -> _Read:
    """Read a design, which no site and no rotation makes, from its stored structure and text."""
    written = stored.recipe.get("text")
    if stored.structure is None or not isinstance(written, str):
        raise UserError(
            f"a design is predicted again from its structure and text, candidate "
            f"{stored.candidate_id[:12]} was stored without: an earlier release wrote it; "
            "generate it again into another campaign"
        )
    atoms = structure_from_text(stored.structure)
    named = parse_text(written)  # by the rule of the checkpoint that designed it
    text = configuration_text(atoms, named.adsorbate, named.bulk, named.miller, rule)
    configuration = Configuration.from_atoms(
        atoms, candidate_id=stored.candidate_id, level=level, text=text
    )
    return _Read(slab.slab_id, stored, configuration, stored.structure)
