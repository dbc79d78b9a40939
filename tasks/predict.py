"""Place, featurise and predict all that a few slabs offer: the work of one future.

Units   energies in eV, lengths in Å, angles in degrees.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from model.contract import Prediction, Predictor
from tasks.adsorbates import Adsorbate
from tasks.errors import Refused
from tasks.featurise import featurise
from tasks.identity import pair_id
from tasks.placements import Adslab, PlacementSpec, enumerate_placements, surface_sites
from tasks.slabs import Slab
from tasks.structures import structure_text


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate with its prediction; ``structure`` (JSON) only where it is kept."""

    candidate_id: str
    pair_id: str
    slab_id: str
    adsorbate: str
    site_kind: str
    site: str
    site_atoms: tuple[int, ...]
    position_3: tuple[float, float, float]
    rotation_deg: float
    seed: int | None
    text: str
    prediction: Prediction
    structure: str | None = None


@dataclass(frozen=True)
class Scores:
    """What became of every placement: predicted, or refused with a reason."""

    candidates: tuple[ScoredCandidate, ...]
    refused: tuple[Refused, ...]


def score_slabs(
    slabs: Sequence[Slab],
    adsorbates: Sequence[Adsorbate],
    spec: PlacementSpec,
    *,
    level: str,
    keep_per_pair: int,
    predictor: Predictor,
) -> Scores:
    """Predict every placement of ``adsorbates`` on ``slabs``.

    The best ``keep_per_pair`` of each pair carry their structure.
    """
    adslabs: list[Adslab] = []
    configurations = []
    names: list[str] = []
    refused: list[Refused] = []
    for slab in slabs:
        sites = surface_sites(slab)  # once for all adsorbates
        for adsorbate in adsorbates:
            placed, not_placed = enumerate_placements(slab, sites, adsorbate, spec)
            refused += not_placed
            adslabs += placed
            names += [_site_name(a, slab) for a in placed]
            configurations += [featurise(a, slab, adsorbate, level) for a in placed]
    predictions = predictor.predict(configurations)
    scored = [
        _scored(a, name, c.text, p)
        for a, name, c, p in zip(adslabs, names, configurations, predictions, strict=True)
    ]
    kept = {c.candidate_id for c in best_of_pairs(scored, keep_per_pair)}
    structures = {
        a.candidate_id: structure_text(a.atoms) for a in adslabs if a.candidate_id in kept
    }
    return Scores(
        tuple(replace(c, structure=structures.get(c.candidate_id)) for c in scored), tuple(refused)
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


def _scored(adslab: Adslab, site_name: str, text: str, prediction: Prediction) -> ScoredCandidate:
    site = adslab.placement.site
    x, y, z = (round(float(v), 6) for v in site.position_3)
    return ScoredCandidate(
        candidate_id=adslab.candidate_id,
        pair_id=pair_id(adslab.slab_id, adslab.adsorbate),
        slab_id=adslab.slab_id,
        adsorbate=adslab.adsorbate,
        site_kind=site.kind,
        site=site_name,
        site_atoms=site.slab_atoms,
        position_3=(x, y, z),
        rotation_deg=adslab.placement.rotation_deg,
        seed=adslab.placement.seed,
        text=text,
        prediction=prediction,
    )


def _site_name(adslab: Adslab, slab: Slab) -> str:
    """Return the site as people say it: ``bridge Cu-Pt``."""
    site = adslab.placement.site
    symbols = sorted(slab.atoms[index].symbol for index in site.slab_atoms)
    return f"{site.kind} {'-'.join(symbols)}".strip()
