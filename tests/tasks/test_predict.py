"""Predictions reach the candidates that they were made for, or nothing is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from model.contract import Configuration, Domain, Prediction
from tasks.adsorbates import adsorbate
from tasks.bulks import FormulaSpec, resolve_bulks
from tasks.placements import PlacementSpec
from tasks.predict import Scores, score_slabs
from tasks.slabs import Slab, SlabSpec, enumerate_slabs

Disturb = Callable[[list[Prediction]], list[Prediction]]


class Invented:
    """A predictor whose energies are the order of the configurations, disturbed on request."""

    checkpoint_sha256 = "c" * 64
    domain = Domain({"emt": frozenset({"Cu", "O"})}, {"emt": frozenset({"O"})}, frozenset({"emt"}))

    def __init__(self, disturb: Disturb = list) -> None:
        self._disturb = disturb

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        sha256 = self.checkpoint_sha256
        return self._disturb(
            [
                Prediction(c.candidate_id, c.level, sha256, -float(n), 0.1, 0.0, 0.0, True)
                for n, c in enumerate(configurations)
            ]
        )


@pytest.fixture(scope="module")
def slab() -> Slab:
    (bulk,), _ = resolve_bulks([FormulaSpec("Cu")])
    spec = SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0, min_in_plane_ang=4.0)
    return enumerate_slabs(bulk, spec)[0][0]


def scores(slab: Slab, predictor: Invented, keep: int = 1) -> Scores:
    return score_slabs(
        [slab],
        [adsorbate("O")],
        PlacementSpec(),
        level="emt",
        keep_per_pair=keep,
        predictor=predictor,
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
    with pytest.raises(RuntimeError, match="answers what it was asked"):
        scores(slab, Invented(disturb))
