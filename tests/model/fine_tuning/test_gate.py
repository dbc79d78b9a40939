"""The gate lets better models in, and no worse one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support import learning

from model.checkpoint import Checkpoint, seal
from model.data.kept_rows import write_kept_rows
from model.data.splits import GATE, rows_of_part
from model.errors import ModelError
from model.fine_tuning.fine_tune import fine_tune
from model.fine_tuning.gate import judge_candidate
from model.fine_tuning.gate_rules import CheckpointErrors, GateFindings, apply_rules
from model.fine_tuning.paired_bootstrap import (
    PairedComparison,
    PairedErrors,
    anticorrelation,
    compare_errors,
    distance_growth,
    is_better,
    is_no_worse,
)
from model.training.recipes import TuneRecipe

pytestmark = pytest.mark.medium

RNG = np.random.default_rng(0)
ROWS = [replace(row, part=GATE, pair=f"{i}") for i, row in enumerate(learning.BASE)]
IS_LABEL_R = np.arange(len(ROWS)) >= 150
TRUTH_R = np.array([row.energy_ev for row in ROWS])
BEFORE = CheckpointErrors(RNG.normal(0, 0.2, len(ROWS)), np.full(len(ROWS), 0.2))


def judged(
    after: CheckpointErrors,
    before: CheckpointErrors = BEFORE,
    first_hold_out_ev: float | None = None,
) -> GateFindings:
    return apply_rules(
        ROWS, IS_LABEL_R, before, after, "made-up", seed=1, first_hold_out_ev=first_hold_out_ev
    )


def compared(
    before_R: np.ndarray, after_R: np.ndarray, clusters: list[str], *, seed: int
) -> PairedComparison:
    return compare_errors([PairedErrors(before_R, after_R, clusters)], seed=seed)


def test_smaller_errors_with_as_honest_intervals_are_accepted() -> None:
    found = judged(CheckpointErrors(0.7 * BEFORE.error_R, 0.7 * BEFORE.sigma_R))
    assert found.reasons == ()
    json.dumps(found.numbers, allow_nan=False)


def test_the_same_model_again_is_not_better() -> None:
    (reason,) = judged(BEFORE).reasons
    assert "at made-up the error must shrink for sure" in reason


def test_better_on_the_labels_does_not_pay_for_worse_on_the_hold_out() -> None:
    scale_R = np.where(IS_LABEL_R, 0.1, 1.2)
    reasons = judged(CheckpointErrors(scale_R * BEFORE.error_R, scale_R * BEFORE.sigma_R)).reasons
    assert any("on the hold-out the error may grow by 5%" in reason for reason in reasons)
    assert any("on the hold-out at made-up the error" in reason for reason in reasons)


def test_few_labels_weigh_as_much_as_many_old_rows_of_their_level() -> None:
    scale_R = np.where(IS_LABEL_R, 0.4, 1.01)
    assert (
        judged(CheckpointErrors(scale_R * BEFORE.error_R, scale_R * BEFORE.sigma_R)).reasons == ()
    )


def test_many_small_losses_are_no_long_way_down() -> None:
    scale_R = np.where(IS_LABEL_R, 0.4, 1.01)
    after = CheckpointErrors(scale_R * BEFORE.error_R, scale_R * BEFORE.sigma_R)
    first_ev = float(np.abs(BEFORE.error_R[~IS_LABEL_R]).mean())
    found = judged(after, first_hold_out_ev=first_ev)
    assert found.reasons == ()
    assert (
        found.numbers["first_hold_out_ev"]
        == first_ev
        == judged(BEFORE).numbers["first_hold_out_ev"]
    )
    (reason,) = judged(after, first_hold_out_ev=first_ev / 1.1).reasons
    assert "a line of fine-tunings may lose 10% in all" in reason


def test_bold_intervals_are_refused_and_better_ones_are_not() -> None:
    smaller_R = 0.7 * BEFORE.error_R
    (reason,) = judged(CheckpointErrors(smaller_R, 0.5 * BEFORE.sigma_R)).reasons
    assert "3 points further from it than before at most" in reason
    bold = CheckpointErrors(BEFORE.error_R, 0.3 * BEFORE.sigma_R)
    assert judged(CheckpointErrors(smaller_R, 0.7 * BEFORE.sigma_R), before=bold).reasons == ()


def test_labels_of_the_wrong_sign_are_told_by_what_serves() -> None:
    turned = np.where(IS_LABEL_R, -2 * TRUTH_R, 0.0)  # the label is minus what it says
    reasons = apply_rules(
        [
            replace(r, energy_ev=-r.energy_ev if i >= 150 else r.energy_ev)
            for i, r in enumerate(ROWS)
        ],
        IS_LABEL_R,
        CheckpointErrors(BEFORE.error_R - turned, BEFORE.sigma_R),
        CheckpointErrors(0.5 * BEFORE.error_R, 0.5 * BEFORE.sigma_R),
        "made-up",
        seed=1,
    ).reasons
    assert any("look for a wrong sign or reference" in reason for reason in reasons)


def test_an_answer_that_is_no_number_is_refused_alone() -> None:
    broken_R = np.where(IS_LABEL_R, np.nan, 0.0)
    (reason,) = judged(CheckpointErrors(broken_R, BEFORE.sigma_R)).reasons
    assert "must be a number" in reason


def test_too_few_labels_of_the_gate_are_said() -> None:
    few_R = np.arange(len(ROWS)) >= len(ROWS) - 4
    after = CheckpointErrors(0.7 * BEFORE.error_R, 0.7 * BEFORE.sigma_R)
    (reason,) = apply_rules(ROWS, few_R, BEFORE, after, "made-up", seed=1).reasons
    assert "at least 5 labels of its own part, got 4" in reason


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.3, 3.0), st.integers(1, 60))
def test_a_comparison_is_the_same_whichever_way_it_is_asked(
    seed: int, scale: float, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    a_R, b_R = rng.normal(size=rows), scale * rng.normal(size=rows)
    clusters = [str(i // 2) for i in range(rows)]
    there, back = compared(a_R, b_R, clusters, seed=1), compared(b_R, a_R, clusters, seed=1)
    assert there.difference_ev == pytest.approx(-back.difference_ev)
    assert there.upper_ev == pytest.approx(-back.lower_ev)
    assert there.lower_ev <= there.upper_ev
    assert not (is_better(there) and is_better(back))
    assert is_no_worse(there, 0.05, 0.0) or not is_better(there)


def test_a_difference_that_is_chance_is_rarely_called_better() -> None:
    called = 0
    for seed in range(60):
        a_R, b_R = np.random.default_rng(seed).normal(size=(2, 100))
        called += is_better(compared(a_R, b_R, [str(i) for i in range(100)], seed=seed))
    assert called <= 9  # 5 % of 60, and three standard deviations of luck


def test_rows_that_err_together_make_less_sure() -> None:
    a_R, b_R = np.repeat(RNG.normal(size=(2, 20)), 5, axis=1)
    alone = compared(a_R, b_R, [str(i) for i in range(100)], seed=1)
    together = compared(a_R, b_R, [str(i // 5) for i in range(100)], seed=1)
    assert together.upper_ev - together.lower_ev > 1.5 * (alone.upper_ev - alone.lower_ev)


@given(st.floats(0, 1), st.floats(0, 1))
def test_nearer_to_the_target_is_never_further(before: float, share: float) -> None:
    nearer = 0.9 + share * (before - 0.9)
    assert distance_growth(0.9, before, nearer) <= 1e-12


@pytest.mark.parametrize(("rows", "turned"), [(3, False), (30, True)])
def test_few_rows_do_not_accuse_labels(rows: int, turned: bool) -> None:
    said_R = np.arange(rows, dtype=float)
    assert anticorrelation(said_R, -said_R)[1] == turned
    assert not anticorrelation(said_R, said_R)[1]


def test_a_comparison_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="the same rows on both sides and at least one"):
        PairedErrors(np.zeros(0), np.zeros(0), [])
    with pytest.raises(ValueError, match="every error must be a number"):
        PairedErrors(np.array([np.nan]), np.zeros(1), ["a"])


def test_strata_count_alike_however_many_rows_they_have() -> None:
    many, few = np.full(100, 0.1), np.full(4, 0.1)
    found = compare_errors(
        [
            PairedErrors(many, 1.1 * many, [str(i) for i in range(100)]),
            PairedErrors(few, 0.5 * few, list("abcd")),
        ],
        seed=1,
    )
    assert found.rows == 104
    assert found.mae_before_ev == pytest.approx(0.1)
    assert found.difference_ev == pytest.approx((0.01 - 0.05) / 2)
    assert is_better(found)


# --- with networks ---------------------------------------------------------------------------

RECIPE = TuneRecipe(method="all", epochs=40, learning_rate=3e-3, text_share=0.1, watch_every=40)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return learning.trained(tmp_path_factory.mktemp("gate"))


def test_good_labels_pass_the_gate(base: Checkpoint, tmp_path: Path) -> None:
    labels = learning.labels(120)
    verdict = judge_candidate(
        base.folder,
        fine_tune(base.folder, labels, tmp_path, RECIPE, processes=1).folder,
        labels,
        "made-up",
        seed=1,
    )
    assert verdict.reasons == ()
    assert verdict.accepted
    errors = verdict.numbers["errors"]
    assert errors["labels"]["mae_after_ev"] < 0.7 * errors["labels"]["mae_before_ev"]
    assert errors["labels"]["rows"] == len(rows_of_part(labels, GATE))
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False)) == verdict.to_json()


def test_labels_whose_signs_are_flipped_are_refused(base: Checkpoint, tmp_path: Path) -> None:
    poisoned = learning.labels(120, sign=-1.0)
    candidate = fine_tune(base.folder, poisoned, tmp_path, RECIPE, processes=1)
    verdict = judge_candidate(base.folder, candidate.folder, poisoned, "made-up", seed=1)
    assert not verdict.accepted
    assert any("wrong sign" in reason for reason in verdict.reasons)


def test_a_weight_that_is_no_number_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    labels = learning.labels(120)
    candidate = fine_tune(base.folder, labels, tmp_path, replace(RECIPE, epochs=1), processes=1)
    file = candidate.folder / "member-0.safetensors"
    weights = load_file(file)
    weights["regression.0.weight"][:] = float("nan")
    save_file(weights, file)
    seal(candidate.folder, candidate.kind)
    verdict = judge_candidate(base.folder, candidate.folder, labels, "made-up", seed=1)
    assert not verdict.accepted
    assert "the candidate does not answer" in verdict.reasons[0]


def test_another_hold_out_is_not_compared(base: Checkpoint, tmp_path: Path) -> None:
    other = learning.checkpoint(tmp_path / "other")
    write_kept_rows(other.folder, learning.BASE[90:], learning.BASE[:90])
    other = seal(other.folder, other.kind)
    with pytest.raises(ModelError, match="hold out different rows"):
        judge_candidate(base.folder, other.folder, learning.labels(60), "made-up", seed=1)
