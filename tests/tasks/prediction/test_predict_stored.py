"""A stored candidate is read again exactly as it was read when it was made."""

import json
from collections.abc import Sequence

import pytest
from support.enumeration.crystals import copper_slab

from model.contract import BondRule, Configuration, Domain, LevelDomain, Prediction
from tasks.enumeration import (
    PlacementSpec,
    Slab,
    adsorbate,
)
from tasks.errors import UserError
from tasks.prediction.predict import (
    ScoredCandidate,
    StoredCandidate,
    StoredSlab,
    predict_again,
    score_slabs,
)
from tasks.structures.formats import structure_from_text, structure_text


class Listener:
    """A predictor that keeps what it was asked."""

    checkpoint_sha256 = "c" * 64
    bond_rule: BondRule = "radii"
    domain = Domain({"emt": LevelDomain(frozenset({"Cu"}), frozenset({"O"}), frozenset({"O"}))})

    def __init__(self) -> None:
        self.heard: dict[str, Configuration] = {}

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        self.heard |= {c.candidate_id: c for c in configurations}
        sha256 = self.checkpoint_sha256
        return [
            Prediction(c.candidate_id, c.level, sha256, -1.0, 0.1, 0.0, 0.0, True)
            for c in configurations
        ]


@pytest.fixture(scope="module")
def slab() -> Slab:
    return copper_slab()


def stored(scored: ScoredCandidate, **changed: object) -> StoredCandidate:
    values = {
        "candidate_id": scored.candidate_id,
        "pair_id": scored.pair_id,
        "adsorbate": scored.adsorbate,
        "site_kind": scored.site_kind,
        "site": scored.site,
        "recipe": json.loads(json.dumps(scored.recipe)),
        "structure": scored.structure,
    }
    return StoredCandidate(**values | changed)  # type: ignore[arg-type]


def again(
    slab: Slab, candidates: Sequence[StoredCandidate], predictor: Listener
) -> tuple[ScoredCandidate, ...]:
    adsorbates = {"O": adsorbate("O")}
    on = StoredSlab(slab, tuple(candidates))
    return predict_again([on], adsorbates, level="emt", predictor=predictor)


def first(slab: Slab, predictor: Listener) -> list[ScoredCandidate]:
    scores = score_slabs(
        [slab],
        [adsorbate("O")],
        PlacementSpec(),
        level="emt",
        keep_per_pair=1,
        predictor=predictor,
    )
    return list(scores.candidates)


def test_a_recipe_gives_the_text_and_the_atoms_of_the_first_time(slab: Slab) -> None:
    before, after = Listener(), Listener()
    found = first(slab, before)
    as_stored = structure_from_text(structure_text(slab.atoms))
    kept_slab = Slab(**vars(slab) | {"atoms": as_stored})
    scored = again(kept_slab, [stored(c) for c in found], after)
    assert {c.candidate_id: c.text for c in scored} == {c.candidate_id: c.text for c in found}
    for key, configuration in before.heard.items():
        assert after.heard[key].positions_N3 == pytest.approx(configuration.positions_N3, abs=1e-8)
        assert (after.heard[key].tags_N == configuration.tags_N).all()
    assert all(c.structure is not None for c in scored)  # also where none was stored


def test_a_recipe_of_another_version_is_refused(slab: Slab) -> None:
    (one, *_) = first(slab, Listener())
    changed = dict(one.recipe) | {"candidate_id": "0" * 64}
    with pytest.raises(UserError, match="made by another version"):
        again(slab, [stored(one, recipe=changed)], Listener())


def test_a_design_is_read_from_its_structure_and_text(slab: Slab) -> None:
    one = next(c for c in first(slab, Listener()) if c.structure)
    predictor = Listener()
    again(slab, [stored(one, recipe={"stream": "...", "text": one.text})], predictor)
    assert predictor.heard[one.candidate_id].text == one.text
    with pytest.raises(UserError, match="an earlier release wrote it"):
        again(slab, [stored(one, recipe={"stream": "..."})], Listener())
