"""Labels become rows: two views of one pair, in a part that never changes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from support.enumeration.crystals import copper_slab

from model.data.splits import LABEL_SHARES, TRAIN, count_pairs, require_label_parts
from model.fine_tuning.tune import MIN_LABELS
from model.text.configuration_text import parse_text
from screening_db.learning.labels import LabelSet, RefusedLabel, TrainingLabel
from tasks.enumeration import (
    PlacedAdslab,
    PlacementSpec,
    Slab,
    adsorbate,
    enumerate_placements,
    surface_sites,
)
from tasks.errors import UserError
from tasks.prediction.featurise import configuration_text, featurise
from tasks.structures.formats import structure_text
from tasks.training_data.from_labels import LABELS_NEEDED, training_rows

HASH = "e" * 64


@pytest.fixture(scope="module")
def slab() -> Slab:
    return copper_slab(5.0, 5.0)


@pytest.fixture(scope="module")
def adslabs(slab: Slab) -> list[PlacedAdslab]:
    sites = surface_sites(slab)
    found = [
        each
        for name in ("CO", "H", "NO")
        for each in enumerate_placements(slab, sites, adsorbate(name), PlacementSpec(seed=1))[0]
    ]
    assert len(found) >= 6
    return found


def relaxed(adslab: PlacedAdslab) -> Atoms:
    atoms = adslab.atoms.copy()
    atoms.positions[atoms.get_tags() == 2] += (0.0, 0.0, 0.05)
    return atoms


def label(adslab: PlacedAdslab, slab: Slab, energy_ev: float = -0.4) -> TrainingLabel:
    end = relaxed(adslab)
    return TrainingLabel(
        candidate_id=adslab.candidate_id,
        slab_id=slab.slab_id,
        adsorbate=adslab.adsorbate,
        level="emt",
        energy_ev=energy_ev,
        start=structure_text(adslab.atoms),
        relaxed=structure_text(end),
        relaxed_text=configuration_text(
            end, adslab.adsorbate, slab.bulk_formula, slab.miller, "scaled"
        ),
    )


def label_set(labels: Sequence[TrainingLabel], *refused: RefusedLabel) -> LabelSet:
    return LabelSet("emt", tuple(labels), tuple(refused))


def test_a_label_is_what_a_screening_saw_and_where_it_ended(
    slab: Slab, adslabs: list[PlacedAdslab]
) -> None:
    found = training_rows(label_set([label(adslabs[0], slab)]), HASH, "radii")
    start, end = found.rows
    seen = featurise(adslabs[0], slab, "emt", "radii")
    assert (start.kind, end.kind) == ("unrelaxed", "relaxed")
    assert start.pair == end.pair == adslabs[0].candidate_id
    assert start.text == seen.text
    assert start.positions_N3 == pytest.approx(seen.positions_N3, abs=1e-9)
    assert np.array_equal(start.tags_N, seen.tags_N)
    assert parse_text(end.text).miller == slab.miller
    assert end.positions_N3[-1, 2] == pytest.approx(start.positions_N3[-1, 2] + 0.05)
    assert start.energy_ev == end.energy_ev == -0.4
    assert start.group == slab.slab_id
    assert (found.level, found.level_hash, found.n_labels) == ("emt", HASH, 1)


def test_sites_of_one_adsorbate_on_one_slab_play_one_part(
    slab: Slab, adslabs: list[PlacedAdslab]
) -> None:
    found = training_rows(label_set([label(each, slab) for each in adslabs]), HASH, "radii")
    require_label_parts(found.rows)
    for name in ("CO", "H", "NO"):
        assert len({row.part for row in found.rows if row.adsorbate == name}) == 1
    assert sum(found.parts.values()) == found.n_labels == count_pairs(found.rows)
    assert set(found.parts) == set(LABEL_SHARES)


def test_parts_stay_and_the_data_set_is_another_when_labels_are_added(
    slab: Slab, adslabs: list[PlacedAdslab]
) -> None:
    labels = [label(each, slab) for each in adslabs]
    few, all_ = (
        training_rows(label_set(labels[:4]), HASH, "radii"),
        training_rows(label_set(labels), HASH, "radii"),
    )
    parts = {row.uid: row.part for row in all_.rows}
    assert all(parts[row.uid] == row.part for row in few.rows)
    assert few.dataset_id != all_.dataset_id
    assert training_rows(label_set(labels[::-1]), HASH, "radii").dataset_id == all_.dataset_id


def test_another_energy_is_another_data_set(slab: Slab, adslabs: list[PlacedAdslab]) -> None:
    one, other = (
        training_rows(label_set([label(adslabs[0], slab, energy)]), HASH, "radii")
        for energy in (-0.4, -0.4001)
    )
    assert one.dataset_id != other.dataset_id


def test_what_cannot_be_learnt_from_is_set_aside_by_name(
    slab: Slab, adslabs: list[PlacedAdslab]
) -> None:
    good, held, bare, old, mad = (label(each, slab) for each in adslabs[:5])
    found = training_rows(
        label_set(
            [
                good,
                held,
                replace(bare, start=None),
                replace(old, relaxed_text=""),
                replace(mad, energy_ev=float("inf")),
            ],
            RefusedLabel("odd", "emt", "anomaly: desorbed"),
        ),
        HASH,
        "radii",
        held_out={held.candidate_id},
    )
    assert found.n_labels == 1
    whys = {each.candidate_id: each.reason for each in found.excluded}
    assert whys == {
        held.candidate_id: "held out: the checkpoint is judged by it",
        bare.candidate_id: "no placement: where it started is no longer kept",
        old.candidate_id: "no text: it was verified before texts were kept; verify it again",
        mad.candidate_id: "no number: its energy is inf",
        "odd": "anomaly: desorbed",
    }


def test_a_label_of_another_level_is_an_error(slab: Slab, adslabs: list[PlacedAdslab]) -> None:
    other = replace(label(adslabs[0], slab), level="gpaw-rpbe")
    with pytest.raises(UserError, match="two levels never meet in one target: the labels are of"):
        training_rows(label_set([other]), HASH, "radii")


def test_nothing_left_says_why_and_how_many_are_needed(
    slab: Slab, adslabs: list[PlacedAdslab]
) -> None:
    with pytest.raises(
        UserError, match=rf"\(there is none\); fine-tuning needs about {LABELS_NEEDED}"
    ):
        training_rows(label_set([]), HASH, "radii")
    refused = [RefusedLabel(str(i), "emt", "anomaly: desorbed") for i in range(3)]
    bare = replace(label(adslabs[0], slab), start=None)
    with pytest.raises(UserError, match=r"\(3 anomaly, 1 no placement\)"):
        training_rows(label_set([bare], *refused), HASH, "radii")
    assert LABELS_NEEDED * LABEL_SHARES[TRAIN] >= MIN_LABELS
