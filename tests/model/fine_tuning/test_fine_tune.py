"""A checkpoint learns new labels, forgets little, and goes on after a kill."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import learning
from support.tiny import network_and_reader

from model.checkpoint import Checkpoint, open_checkpoint
from model.data.kept_rows import HOLD_OUT, REPLAY, held_out_pairs, read_hold_out, read_replay
from model.data.rows import Row, read_rows
from model.data.splits import (
    CALIBRATE,
    GATE,
    HOLD_OUT_SHARES,
    LABEL_SHARES,
    TRAIN,
    assign_part,
    count_pairs,
    dataset_id,
    rows_of_part,
)
from model.errors import ModelError
from model.fine_tuning.fine_tune import fine_tune
from model.fine_tuning.tune import best_share, resolve_recipe
from model.network.ensemble import EnsembleOutput
from model.network.qe_catalytic import QECatalytic
from model.prediction.predictor import load_predictor
from model.training.recipes import TuneRecipe
from model.training.trainer import STATE, Trainer

pytestmark = pytest.mark.medium

SHORT = TuneRecipe(method="heads", epochs=3, watch_every=3)
LABELS = learning.labels(60)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return learning.checkpoint(tmp_path_factory.mktemp("tune") / "base")


def tune(
    base: Checkpoint, folder: Path, recipe: TuneRecipe = SHORT, **changed: object
) -> Checkpoint:
    labels = changed.get("labels", LABELS)
    return fine_tune(base.folder, labels, folder, recipe, processes=1)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tuned(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Tune the heads alone; a test that reads it leaves it as it is."""
    return tune(base, tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def tuned_whole(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tune(base, tmp_path_factory.mktemp("all"), replace(SHORT, method="all"))


def weights(checkpoint: Checkpoint, member: int = 0) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.folder / f"member-{member}.safetensors")


def changed_parts(base: Checkpoint, tuned: Checkpoint) -> set[str]:
    before, after = weights(base), weights(tuned)
    assert before.keys() == after.keys()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("heads", {"regression", "recall", "spread"}),
        ("lora", {"regression", "recall", "spread", "language"}),
    ],
)
def test_a_method_moves_what_it_frees_and_nothing_else(
    base: Checkpoint, tuned: Checkpoint, tmp_path: Path, method: str, parts: set[str]
) -> None:
    if method == "lora":
        pytest.importorskip("peft")
        tuned = tune(base, tmp_path, replace(SHORT, method=method))
    assert changed_parts(base, tuned) == parts


def test_all_moves_the_encoder_too_and_no_scale(base: Checkpoint, tuned_whole: Checkpoint) -> None:
    assert {"encoder", "language", "regression"} <= changed_parts(base, tuned_whole)
    assert "scale" not in changed_parts(base, tuned_whole)


def test_peft_is_needed_for_adapters_alone(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    tune(base, tmp_path / "heads")
    with pytest.raises(ModelError, match=r"pip install 'sabatier\[lora\]'"):
        tune(base, tmp_path / "lora", replace(SHORT, method="lora"))


def test_merged_adapters_answer_as_they_did_apart() -> None:
    pytest.importorskip("peft")
    from support.tiny import ROWS, network_and_reader

    from model.fine_tuning.tune import merge_adapters_of_parent, prepare_for_tuning
    from model.network.ensemble import Ensemble

    torch.manual_seed(0)
    network, reader = network_and_reader()
    prepare_for_tuning(network, replace(SHORT, method="lora"))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    configurations = [row.configuration() for row in ROWS]
    apart = Ensemble([network], reader).answer(configurations)
    merged = merge_adapters_of_parent(network.clone())
    assert not any("lora" in name for name in merged.state_dict())
    together = Ensemble([merged], reader).answer(configurations)
    assert together.regression_R == pytest.approx(apart.regression_R, abs=1e-4)
    assert together.regression_R != pytest.approx(
        Ensemble([network_and_reader()[0]], reader).answer(configurations).regression_R, abs=1e-4
    )


def test_what_would_forget_goes_a_part_of_the_way(base: Checkpoint, tmp_path: Path) -> None:
    mad = replace(SHORT, method="all", learning_rate=0.3, epochs=10)
    careful = tune(base, tmp_path, mad)
    share = careful.read_json("card.json")["share"]
    assert share == 0.25
    learnt = torch.load(tmp_path / "member-0" / STATE, weights_only=True)["average"]
    for name, old in weights(base).items():
        new = torch.lerp(old, learnt[name], share)
        assert torch.allclose(weights(careful)[name], new, atol=1e-6)


@pytest.mark.parametrize(
    ("level", "forgotten", "forget", "share"),
    [
        ("other", 40, 20.0, 1.0),
        ("other", 40, 8.0, 0.75),
        ("other", 40, 0.0, 0.25),
        ("other", 4, 1.2, 1.0),  # of forty old rows four are forgotten
        ("made-up", 4, 1.2, 0.25),  # and these are the old rows at the level of the labels
    ],
)
def test_the_share_is_the_best_for_the_labels_among_those_that_forget_little(
    level: str, forgotten: int, forget: float, share: float
) -> None:
    network, _ = network_and_reader()
    moved = network.clone()
    moved.scale.offset_L += 1.0  # an answer rises with the share
    old = [replace(row, energy_ev=0.5, level="other") for row in LABELS[:40]]
    old[:forgotten] = [replace(row, level=level) for row in old[:forgotten]]
    new = [replace(row, energy_ev=9.0) for row in LABELS[40:60]]

    class Offset:
        def __init__(self, members: list[QECatalytic]) -> None:
            self.energy_ev = float(members[0].scale.offset_L[0])

        def answer(self, configurations: list[object]) -> EnsembleOutput:
            energy_R = np.array([self.energy_ev] * len(configurations))
            energy_R[:40] = 0.5 + 0.1
            energy_R[:forgotten] += self.energy_ev  # these rows are forgotten
            return EnsembleOutput(
                energy_R, energy_R, energy_R, energy_R, np.zeros((len(configurations), 1))
            )

    assert best_share([network], [moved], old, new, Offset, forget) == share  # type: ignore[arg-type]


def test_a_killed_run_goes_on_to_the_same_candidate(
    base: Checkpoint, tuned_whole: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Trainer._epoch
    begun = []

    def dying(self: Trainer) -> dict[str, float]:
        begun.append(self.epoch)
        if len(begun) == 5:  # in the second member's second epoch
            raise KilledError
        return epoch(self)

    monkeypatch.setattr(Trainer, "_epoch", dying)
    with pytest.raises(KilledError):
        tune(base, tmp_path / "killed", replace(SHORT, method="all"))
    monkeypatch.setattr(Trainer, "_epoch", epoch)
    again = tune(base, tmp_path / "killed", replace(SHORT, method="all"))
    require_same_candidate(tuned_whole, again)


def test_a_kill_while_the_candidate_is_written_leaves_none(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import model.fine_tuning.fine_tune as module

    def dying(*_: object) -> None:
        raise KilledError

    whole = module.seal
    monkeypatch.setattr(module, "seal", dying)
    with pytest.raises(KilledError):
        tune(base, tmp_path)
    assert not (tmp_path / "checkpoint").exists()
    monkeypatch.setattr(module, "seal", whole)
    done = tune(base, tmp_path)
    assert tune(base, tmp_path).sha256 == done.sha256  # and again: nothing is computed


def require_same_candidate(one: Checkpoint, other: Checkpoint) -> None:
    """Compare names of files, cards but for times, and energies within a float32's training."""
    files = [c.read_json("manifest.json")["files"].keys() for c in (one, other)]
    cards = [c.read_json("card.json") | {"seconds": None} for c in (one, other)]
    rows = [row.configuration() for row in LABELS[:20]]
    energies = [
        [answer.energy_ev for answer in load_predictor(c.folder).predict(rows)]
        for c in (one, other)
    ]
    assert files[0] == files[1]
    assert cards[0] == cards[1]
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)


@pytest.mark.full
def test_members_side_by_side_learn_what_they_learn_in_turn(
    base: Checkpoint, tuned: Checkpoint, tmp_path: Path
) -> None:
    side = fine_tune(base.folder, LABELS, tmp_path, SHORT, processes=2)
    require_same_candidate(tuned, side)


def test_the_candidate_is_an_ordinary_checkpoint_that_says_where_it_came_from(
    base: Checkpoint, tuned: Checkpoint, tmp_path: Path
) -> None:
    card = tuned.read_json("card.json")
    assert card["parent"] == base.sha256
    assert card["dataset"] == dataset_id(LABELS)
    assert card["method"] == "heads"
    assert card["labels"] == {
        part: count_pairs(rows_of_part(LABELS, part)) for part in LABEL_SHARES
    }
    assert len(card["seconds"]["tune"]) == 2
    for name in (HOLD_OUT, REPLAY, "tokenizer.json"):
        assert (tuned.folder / name).read_bytes() == (base.folder / name).read_bytes()
    said = load_predictor(tuned.folder).predict([row.configuration() for row in LABELS[:3]])
    assert all(np.isfinite(one.energy_ev) and one.sigma_ev > 0 for one in said)
    assert tune(tuned, tmp_path / "again").read_json("card.json")["parent"] == tuned.sha256


def test_new_labels_bring_their_adsorbate_into_the_domain(base: Checkpoint, tmp_path: Path) -> None:
    new = [renamed(row) for row in LABELS]
    before = load_predictor(base.folder).predict([new[0].configuration()])[0]
    assert before.reason == "adsorbate element not in the training set at made-up: N"
    tuned = tune(base, tmp_path, labels=new)
    assert tuned.read_json("qe-catalytic.json")["network"]["adsorbates"][-1] == "N"
    predictor = load_predictor(tuned.folder)
    assert "N" in predictor.domain.levels["made-up"].adsorbates
    assert "training set at made-up" not in predictor.predict([new[0].configuration()])[0].reason
    offset = weights(tuned)["scale.atom_offset_LZ"][0]
    assert offset[7] != 0
    assert torch.equal(offset[8:], weights(base)["scale.atom_offset_LZ"][0][8:])


def renamed(row: Row) -> Row:
    """Return an atomic label as one of nitrogen, which the base has not seen; others as it is."""
    if row.adsorbate != "O":
        return row
    text = "N" + row.text[1:].replace("[O ", "[N ").replace(" O]", " N]")
    numbers_N = np.where(row.tags_N == 2, 7, row.numbers_N)
    return replace(row, adsorbate="N", text=text, numbers_N=numbers_N)


# --- refusals ----------------------------------------------------------------------------------


def test_a_label_that_is_held_out_is_refused_by_name(base: Checkpoint, tmp_path: Path) -> None:
    leaked = replace(read_hold_out(base)[0], part=TRAIN, uid="leaked")
    for each in (leaked, replace(leaked, pair="under another name")):
        with pytest.raises(ModelError, match=r"never trained on, and 1 labels are .* first leaked"):
            tune(base, tmp_path, labels=[*LABELS, each])
    assert leaked.pair in held_out_pairs(base)


def test_too_few_labels_are_refused_with_the_number_needed(
    base: Checkpoint, tmp_path: Path
) -> None:
    few = rows_of_part(LABELS, TRAIN)[:14]
    with pytest.raises(ModelError, match="at least 25 labels to learn from, got 14"):
        tune(base, tmp_path, labels=few)
    with pytest.raises(ModelError, match="at least 25 labels to learn from, got 0"):
        tune(base, tmp_path, labels=[])


def test_a_level_that_the_parent_does_not_answer_at_is_refused(
    base: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="answers at made-up, got labels at other"):
        tune(base, tmp_path, labels=[replace(row, level="other") for row in LABELS])


def test_a_label_that_is_no_number_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    broken = replace(LABELS[3], energy_ev=float("nan"))
    with pytest.raises(ModelError, match=f"got nan for {broken.uid}"):
        tune(base, tmp_path, labels=[*LABELS[:3], broken, *LABELS[4:]])


def test_a_pair_in_two_parts_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    other = replace(
        LABELS[0], uid="relaxed", part=next(p for p in LABEL_SHARES if p != LABELS[0].part)
    )
    with pytest.raises(ModelError, match="those of label0 play two"):
        tune(base, tmp_path, labels=[*LABELS, other])


def test_a_folder_continues_only_with_its_recipe_and_data(
    base: Checkpoint, tuned: Checkpoint
) -> None:
    folder = tuned.folder.parent
    with pytest.raises(ModelError, match="was started with another recipe; continue with"):
        tune(base, folder, replace(SHORT, seed=2))
    with pytest.raises(ModelError, match="was started with another dataset"):
        tune(base, folder, labels=learning.labels(61))


def test_a_baseline_is_not_fine_tuned(tmp_path: Path) -> None:
    rule = "checkpoints of kind qe-catalytic and difference are fine-tuned"
    with pytest.raises(ModelError, match=rule):
        fine_tune("baseline", LABELS, tmp_path)


def test_a_checkpoint_without_a_hold_out_is_not_fine_tuned(tmp_path: Path) -> None:
    from model.checkpoint import seal

    old = learning.checkpoint(tmp_path / "old", members=1)
    (old.folder / HOLD_OUT).unlink()
    seal(old.folder, old.kind)
    with pytest.raises(ModelError, match=r"has no hold-out\.parquet; train it again"):
        fine_tune(old.folder, LABELS, tmp_path / "new")


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"method": "some"}, "method is one of auto, heads, lora, all, got 'some'"),
        ({"replay_share": 1.0}, "replay_share is at least 0 and below 1"),
        ({"epochs": -1}, "epochs is at least 0, got -1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        TuneRecipe(**values)  # type: ignore[arg-type]


# --- parts and rows ----------------------------------------------------------------------------


def test_auto_is_definite_and_rises_with_the_labels() -> None:
    order = ["heads", "lora", "all"]
    chosen = [resolve_recipe(TuneRecipe(), labels) for labels in (25, 50, 100, 200, 400, 2000)]
    ranks = [order.index(each.method) for each in chosen]
    assert ranks == sorted(ranks)
    assert all(each.epochs > 0 and each.learning_rate > 0 for each in chosen)
    assert chosen[-1].epochs <= chosen[0].epochs


@pytest.mark.parametrize("shares", [LABEL_SHARES, HOLD_OUT_SHARES])
def test_parts_have_their_shares_and_never_change(shares: dict[str, float]) -> None:
    names = [f"pair {i}" for i in range(4000)]
    parts = [assign_part(name, shares) for name in names]
    assert parts == [assign_part(name, shares) for name in names]
    for part, share in shares.items():
        assert parts.count(part) / len(parts) == pytest.approx(share, abs=0.03)


def test_rows_come_back_as_they_were_kept(base: Checkpoint) -> None:
    known = {row.uid: row for row in learning.BASE}
    kept = [*read_hold_out(base), *read_replay(base)]
    assert {row.part for row in read_hold_out(base)} == {CALIBRATE, GATE}
    assert not held_out_pairs(base) & {row.pair for row in read_replay(base)}
    for row in kept:
        was = known[row.uid]
        assert (row.energy_ev, row.text, row.group) == (was.energy_ev, was.text, was.group)
        assert row.positions_N3 == pytest.approx(was.positions_N3, abs=0.0051)


def test_the_embedded_checkpoint_keeps_rows_of_every_level() -> None:
    mini = open_checkpoint("mini")
    held_out, replay = read_hold_out(mini), read_replay(mini)
    expected = json.loads((mini.folder / "card.json").read_text())["rows"]["held_out"]
    assert {s: sum(r.set == s for r in held_out) for s in expected} == expected
    for level in mini.read_json("qe-catalytic.json")["network"]["levels"]:
        for part in (CALIBRATE, GATE):
            assert sum(row.level == level for row in rows_of_part(held_out, part)) >= 80
        assert sum(row.level == level for row in replay) == 700
    assert not {row.pair for row in held_out} & {row.pair for row in replay}


def test_a_table_without_parts_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq
    from support import synthetic

    pq.write_table(synthetic.table(learning.BASE[:3]), tmp_path / "table.parquet")
    assert [row.part for row in read_rows(tmp_path / "table.parquet")] == ["", "", ""]
