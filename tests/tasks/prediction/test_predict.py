"""Predictions reach the candidates that they were made for, or nothing is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.enumeration.crystals import copper_slab

from model.contract import BondRule, Configuration, Domain, LevelDomain, Prediction
from tasks.enumeration import (
    PlacementSpec,
    Slab,
    adsorbate,
)
from tasks.prediction.predict import SlabScores, score_slabs

Disturb = Callable[[list[Prediction]], list[Prediction]]


class Invented:
    """A predictor whose energies are the order of the configurations, disturbed on request."""

    checkpoint_sha256 = "c" * 64
    bond_rule: BondRule = "radii"
    domain = Domain({"emt": LevelDomain(frozenset({"Cu"}), frozenset({"O"}), frozenset({"O"}))})

    def __init__(self, disturb: Disturb = list) -> None:
        self._disturb = disturb
        self.predicted: list[str] = []

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        sha256 = self.checkpoint_sha256
        self.predicted += [c.candidate_id for c in configurations]
        return self._disturb(
            [
                Prediction(c.candidate_id, c.level, sha256, -float(n), 0.1, 0.0, 0.0, True)
                for n, c in enumerate(configurations)
            ]
        )


@pytest.fixture(scope="module")
def slab() -> Slab:
    return copper_slab()


def scores(
    slab: Slab,
    predictor: Invented,
    keep: int = 1,
    known: dict[str, Prediction] | None = None,
    spec: PlacementSpec | None = None,
) -> SlabScores:
    return score_slabs(
        [slab],
        [adsorbate("O")],
        spec or PlacementSpec(),
        level="emt",
        keep_per_pair=keep,
        predictor=predictor,
        known=known,
    )


def test_the_lowest_of_a_pair_carry_their_structure(slab: Slab) -> None:
    found = scores(slab, Invented(), keep=2).candidates
    assert len(found) > 2
    kept = {c.prediction.energy_ev for c in found if c.structure is not None}
    assert kept == {-float(len(found) - 1), -float(len(found) - 2)}


@pytest.mark.parametrize(
    "disturb",
    [
        lambda found: found[::-1],
        lambda found: found[:-1],
        lambda found: [replace(p, level="beef-vdw-co") for p in found],
    ],
    ids=["another order", "one too few", "another level"],
)
def test_answers_to_another_question_are_never_recorded(slab: Slab, disturb: Disturb) -> None:
    with pytest.raises(RuntimeError, match="answers each request"):
        scores(slab, Invented(disturb))


def test_an_adsorbate_that_is_left_out_is_not_placed(slab: Slab) -> None:
    found = score_slabs(
        [slab],
        [adsorbate("O"), adsorbate("H")],
        PlacementSpec(),
        level="emt",
        keep_per_pair=1,
        predictor=Invented(),
        left_out={slab.slab_id: {"O"}},
    )
    assert {c.adsorbate for c in found.candidates} == {"H"}
    assert found.refused == ()


def known_of(found: SlabScores) -> dict[str, Prediction]:
    return {c.candidate_id: c.prediction for c in found.candidates}


def test_only_what_is_unknown_is_predicted(slab: Slab) -> None:
    first = scores(slab, Invented())
    known = known_of(first)
    forgotten = sorted(known)[1]
    energy_ev = known.pop(forgotten).energy_ev
    predictor = Invented(lambda found: [replace(p, energy_ev=energy_ev) for p in found])
    assert scores(slab, predictor, known=known) == first
    assert predictor.predicted == [forgotten]


def test_where_all_is_known_no_predictor_is_asked(slab: Slab) -> None:
    first = scores(slab, Invented())
    predictor = Invented()
    assert scores(slab, predictor, known=known_of(first)) == first
    assert predictor.predicted == []


def test_placements_elsewhere_have_nothing_in_common(slab: Slab) -> None:
    known = known_of(scores(slab, Invented(), spec=PlacementSpec(kinds=(), random=5)))
    predictor = Invented()
    found = scores(slab, predictor, known=known, spec=PlacementSpec(kinds=(), random=5, seed=1))
    assert predictor.predicted == [c.candidate_id for c in found.candidates] != []


@pytest.mark.parametrize("changed", [{"checkpoint_sha256": "d" * 64}, {"level": "beef-vdw-co"}])
def test_a_known_answer_of_another_checkpoint_or_level_is_refused(
    slab: Slab, changed: dict[str, str]
) -> None:
    known = {key: replace(p, **changed) for key, p in known_of(scores(slab, Invented())).items()}
    with pytest.raises(RuntimeError, match="checkpoints differ"):
        scores(slab, Invented(), known=known)
