"""Adapters learn, the base stays, and a checkpoint holds what was learnt and the base's hashes."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support import stand_ins, tiny

from model.errors import ModelError
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble, load_members, save_members
from model.network.language.adapters import ExtendedEmbedding, is_adapter
from model.network.language.base_model import base_tokenizer, describe_base
from model.network.language.build import pretrained_language
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import QECatalytic
from model.text.tokenizer import GRAPH, token_ids
from model.training.joint_stage import JointStage
from model.training.recipes import JointRecipe
from model.training.samples import make_samples
from model.training.trainer import STATE, Trainer

CPU = torch.device("cpu")
RECIPE = JointRecipe(seed=0, epochs=2, batch_size=4, learning_rate=0.01, average=0.5)
CONFIGURATIONS = [row.configuration() for row in tiny.ROWS[:3]]


@pytest.fixture(scope="module", params=["qwen", "qwen_vl"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = getattr(stand_ins, request.param)
    return make(tmp_path_factory.mktemp("base") / request.param)


def network(base: Path, device: torch.device = CPU) -> tuple[QECatalytic, Reader]:
    torch.manual_seed(0)
    tokenizer = base_tokenizer(base)
    config = QECatalyticConfig(
        encoder=tiny.ENCODER,
        levels=tiny.LEVELS,
        vocabulary=len(tokenizer),
        language=LanguageConfig(pretrained=str(base), lora_rank=2, gradient_checkpointing=True),
        base=describe_base(base),
    )
    language = pretrained_language(config, base, device)
    graph_token = token_ids(tokenizer, [GRAPH])[0]
    return QECatalytic(config, graph_token=graph_token, language=language), Reader(
        config, tokenizer
    )


def train(base: Path, folder: Path) -> tuple[QECatalytic, QECatalytic, Reader]:
    """Return the network as it started, and as it was taught."""
    fresh, reader = network(base)
    fresh.unfreeze()
    samples = make_samples(tiny.ROWS, reader, {})
    objective = JointStage(samples, samples, reader, RECIPE)
    return fresh.clone(), Trainer(fresh, objective, RECIPE, folder).run(), reader


def everything(network: QECatalytic) -> dict[str, torch.Tensor]:
    return dict(network.named_parameters())


def test_adapters_and_our_tokens_learn_and_the_base_stays(base: Path, tmp_path: Path) -> None:
    before, taught, _ = train(base, tmp_path)
    language = {n: v for n, v in everything(taught).items() if n.startswith("language.")}
    kept = [n for n in language if not is_adapter(n.removeprefix("language."))]
    learnt = [n for n in language if n not in kept]
    old = everything(before)
    assert len(kept) == 26
    assert all(torch.equal(language[name], old[name]) for name in kept)
    assert sum("lora_A" in name for name in learnt) == 2 * 7  # 2 layers, 7 projections
    assert not torch.equal(language[learnt[0]], old[learnt[0]])
    moved = [name for name in learnt if not torch.equal(language[name], old[name])]
    assert "language.embed_tokens.new_KD" in moved
    assert sum("lora_B" in name for name in moved) == 2 * 7


def test_the_base_is_not_in_the_state_nor_on_disk(base: Path, tmp_path: Path) -> None:
    _, taught, _ = train(base, tmp_path)
    held = torch.load(tmp_path / STATE, weights_only=True)
    save_members([taught], tmp_path)
    with safe_open(tmp_path / "member-0.safetensors", framework="pt") as file:
        stored = set(file.keys())
    for names in (stored, set(held["network"]), set(held["average"])):
        language = [name for name in names if name.startswith("language.")]
        assert language
        assert all(is_adapter(name.removeprefix("language.")) for name in language)


def test_copies_share_the_base_and_nothing_else(base: Path) -> None:
    first, _ = network(base)
    clone = first.clone()
    shared = {n for n, v in everything(first).items() if v is everything(clone)[n]}
    assert shared == {
        name
        for name in everything(first)
        if name.startswith("language.") and not is_adapter(name.removeprefix("language."))
    }


def test_what_is_read_back_answers_alike(base: Path, tmp_path: Path) -> None:
    _, taught, reader = train(base, tmp_path)
    other = taught.clone()
    with torch.no_grad():
        other.regression[0].bias += 0.1
    save_members([taught, other], tmp_path)
    config = QECatalyticConfig.from_json(json.loads(json.dumps(taught.config.to_json())))
    again = load_members(config, taught.graph_token, tmp_path, CPU)
    said = Ensemble(again, reader).answer(CONFIGURATIONS)
    expected = Ensemble([taught, other], reader).answer(CONFIGURATIONS)
    assert said.regression_R == pytest.approx(expected.regression_R, abs=1e-6)
    assert said.token_R == pytest.approx(expected.token_R, abs=1e-6)


def test_a_base_in_half_precision_answers_nearly_alike(base: Path) -> None:
    answers = []
    for device in (CPU, torch.device("cuda")):
        member, reader = network(base, device)
        answers.append(Ensemble([member], reader).answer(CONFIGURATIONS))
    assert member.language.layers[0].mlp.up_proj.base_layer.weight.dtype == torch.bfloat16
    assert answers[1].regression_R == pytest.approx(answers[0].regression_R, abs=0.05)
    assert answers[1].token_R == pytest.approx(answers[0].token_R, abs=2.0)


def test_a_checkpoint_whose_base_is_gone_or_another_says_so(tmp_path: Path) -> None:
    base = stand_ins.qwen(tmp_path / "qwen")
    member, _ = network(base)
    save_members([member], tmp_path)
    torch.manual_seed(1)
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ModelError, match=r"was trained on: model\.safetensors differs"):
        load_members(member.config, member.graph_token, tmp_path, CPU)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=f"there is no folder {base}; put it there, or a link"):
        load_members(member.config, member.graph_token, tmp_path, CPU)


def test_adapters_of_another_rank_are_told_by_name(tmp_path: Path) -> None:
    member, _ = network(stand_ins.qwen(tmp_path / "qwen"))
    save_members([member], tmp_path)
    wider = replace(member.config, language=replace(member.config.language, lora_rank=3))
    rule = r"member-0.safetensors must have .* 28 differ, first .*lora_A.* has shape \(2, 16\), not"
    with pytest.raises(ModelError, match=rule):
        load_members(wider, member.graph_token, tmp_path, CPU)


def test_without_peft_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stand_ins.qwen(tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install 'sabatier\[lora\]'"):
        network(folder)


@pytest.mark.parametrize(
    ("rank", "folder", "rule"),
    [(-1, "here", "must be 0 .* or more, got -1"), (4, "", "adapts a pretrained model, got none")],
)
def test_impossible_ranks_are_refused(rank: int, folder: str, rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        LanguageConfig(pretrained=folder, lora_rank=rank)


def test_an_extended_embedding_is_one_table() -> None:
    torch.manual_seed(0)
    base = torch.nn.Embedding(9, 4)
    table = ExtendedEmbedding(base, 6, 2)
    whole_VD = torch.cat([base.weight[:6], table.new_KD])
    ids = torch.arange(8)[None]
    assert torch.equal(table(ids)[0], whole_VD)
    hidden_BTD = torch.randn(2, 3, 4)
    assert torch.allclose(table.logits(hidden_BTD), hidden_BTD @ whole_VD.T, atol=1e-6)
