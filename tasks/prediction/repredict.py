"""Predict candidates again that are stored: built from their recipes, read and scored as at first.

Units   energies in eV, lengths in Å.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.contract import Configuration, Predictor
from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.placements import adslab_from_recipe, surface_sites
from tasks.enumeration.slabs import Slab
from tasks.errors import UserError
from tasks.prediction.featurise import featurise
from tasks.prediction.predict import ScoredCandidate, require_predictions
from tasks.structures.json_text import structure_from_text, structure_text


@dataclass(frozen=True)
class StoredCandidate:
    """A candidate as the database has it. A design has a stored structure and its text."""

    candidate_id: str
    pair_id: str
    adsorbate: str
    site_kind: str
    site: str
    recipe: Mapping[str, object]
    structure: str | None  # JSON


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
    """Predict stored candidates; each carries its structure.

    Raises:
        UserError: a recipe gives another structure here than the one it was made from.
    """
    read = [one for slab in slabs for one in _read(slab, adsorbates, level)]
    configurations = [one.configuration for one in read]
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
            prediction=prediction,
            structure=one.structure,
        )
        for one, prediction in zip(read, predictions, strict=True)
    )


def _read(on: StoredSlab, adsorbates: Mapping[str, Adsorbate], level: str) -> list[_Read]:
    placed = [c for c in on.candidates if "placement" in c.recipe]
    read = [_designed(c, on.slab, level) for c in on.candidates if "placement" not in c.recipe]
    if placed:
        sites = surface_sites(on.slab)  # once for all candidates
    for stored in placed:
        adsorbate = adsorbates[stored.adsorbate]
        adslab = adslab_from_recipe(stored.recipe, on.slab, adsorbate, sites.landscape)
        configuration = featurise(adslab, on.slab, level, sites)
        text = stored.structure or structure_text(adslab.atoms)
        read.append(_Read(on.slab.slab_id, stored, configuration, text))
    return read


def _designed(stored: StoredCandidate, slab: Slab, level: str) -> _Read:
    """Read a design, which no site and no rotation makes, from its stored structure and text."""
    text = stored.recipe.get("text")
    if stored.structure is None or not isinstance(text, str):
        raise UserError(
            f"a design is predicted again from its structure and text, candidate "
            f"{stored.candidate_id[:12]} was stored without: an earlier release wrote it; "
            "generate it again into another campaign"
        )
    atoms = structure_from_text(stored.structure)
    configuration = Configuration.from_atoms(
        atoms, candidate_id=stored.candidate_id, level=level, text=text
    )
    return _Read(slab.slab_id, stored, configuration, stored.structure)
