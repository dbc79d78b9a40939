"""A checkpoint is served with texts of the rule that it learnt from."""

from dataclasses import replace
from pathlib import Path

import pytest
from support import synthetic

from model.contract import BondRule
from model.data.domain import domain_of
from model.data.rows import Row, bond_rule_of
from model.errors import ModelError
from model.prediction.predictor import load_predictor
from model.text.configuration_text import parse_text
from model.training.baseline import train_medians
from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    enumerate_slabs,
    resolve_bulks,
)
from tasks.prediction.predict import SlabScores, score_slabs

LEVEL = "made-up"


def rows(rule: BondRule) -> list[Row]:
    return [replace(row, level=LEVEL, bond_rule=rule) for row in synthetic.rows("adslab")]


def scores(model: str | Path, level: str) -> SlabScores:
    """Return hydrogen on Fe(100), where only the atom below a hollow is near by radii."""
    (iron,), _ = resolve_bulks([FormulaSpec("Fe")])
    slabs, _ = enumerate_slabs(iron, SlabSpec(millers=((1, 0, 0),), min_thickness_ang=4.0))
    return score_slabs(
        slabs,
        [adsorbate("H")],
        PlacementSpec(kinds=("hollow",), rotations=1),
        level=level,
        keep_per_pair=1,
        predictor=load_predictor(model),
    )


def test_an_old_checkpoint_reads_texts_by_radii() -> None:
    assert load_predictor("mini").bond_rule == load_predictor("baseline").bond_rule == "radii"
    for candidate in scores("mini", "beef-vdw-ch4").candidates:
        assert [site.kind for site in parse_text(candidate.text).sites] == ["atop"]
        assert candidate.site == "hollow Fe-Fe-Fe-Fe-Fe"  # names follow one rule


def test_a_new_checkpoint_reads_texts_by_the_rule_of_its_rows(tmp_path: Path) -> None:
    learnt = rows("scaled")
    trained = train_medians(
        learnt[:150], learnt[150:], domain_of(learnt), tmp_path, by_adsorbate=True, seed=0
    )
    assert load_predictor(trained.folder).bond_rule == "scaled"
    for candidate in scores(trained.folder, LEVEL).candidates:
        assert [site.kind for site in parse_text(candidate.text).sites] == ["hollow"]
        assert candidate.site == "hollow Fe-Fe-Fe-Fe-Fe"


def test_rows_of_two_rules_are_not_learnt_together() -> None:
    with pytest.raises(ModelError, match="follow one bond rule, got radii and scaled"):
        bond_rule_of([*rows("radii"), *rows("scaled")])
