"""Pretrained language models: taken over whole, with our tokens behind theirs, or refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from support import stand_ins, tiny
from transformers import AutoModel

from model.errors import ModelError
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble
from model.network.language.base_model import base_tokenizer, check_base, describe_base, find_base
from model.network.language.build import build_language, pretrained_language
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import QECatalytic
from model.text.configuration_text import SEPARATOR
from model.text.tokenizer import ANSWER, END, GRAPH, PAD, token_ids

IDS_BT = torch.tensor([[5, 40, 90, 7, 120]])
MAKERS: dict[str, Callable[[Path], Path]] = {
    "qwen": stand_ins.qwen,
    "qwen_vl": stand_ins.qwen_vl,
    "qwen_vl_flat": stand_ins.qwen_vl_flat,
}


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    return stand_ins.qwen(tmp_path / "qwen")


def config(folder: Path, **language: object) -> QECatalyticConfig:
    return QECatalyticConfig(
        encoder=tiny.ENCODER,
        levels=tiny.LEVELS,
        vocabulary=len(base_tokenizer(folder)),
        language=LanguageConfig(pretrained=str(folder), **language),  # type: ignore[arg-type]
        base=describe_base(folder),
    )


def test_what_is_taken_over_says_what_the_original_says(folder: Path) -> None:
    original = AutoModel.from_pretrained(folder)
    reader = getattr(original, "language_model", original)
    taken = pretrained_language(config(folder), folder)
    with torch.no_grad():
        ours = taken(input_ids=IDS_BT).last_hidden_state
        assert torch.allclose(ours, reader(input_ids=IDS_BT).last_hidden_state, atol=1e-5)


def test_our_tokens_stand_behind_those_of_the_base(folder: Path) -> None:
    known = describe_base(folder).vocabulary
    tokenizer = base_tokenizer(folder)
    ours = token_ids(tokenizer, [PAD, END, GRAPH, ANSWER, SEPARATOR])
    assert sorted(ours) == list(range(known, known + 5))
    language = pretrained_language(config(folder), folder)
    assert language.get_input_embeddings().weight.shape[0] == known + 5
    assert tokenizer.tokenize(f"O{SEPARATOR}Cu{ANSWER}") == ["O", SEPARATOR, "Cu", ANSWER]


def test_a_network_answers_in_a_batch_as_alone(folder: Path) -> None:
    torch.manual_seed(0)
    settings, tokenizer = config(folder), base_tokenizer(folder)
    network = QECatalytic(
        settings,
        graph_token=token_ids(tokenizer, [GRAPH])[0],
        language=pretrained_language(settings, folder),
    )
    ensemble = Ensemble([network], Reader(settings, tokenizer))
    configurations = [row.configuration() for row in tiny.ROWS[:3]]
    together = ensemble.answer(configurations)
    for position, configuration in enumerate(configurations):
        alone = ensemble.answer([configuration])
        assert alone.regression_R[0] == pytest.approx(together.regression_R[position], abs=1e-4)
        assert alone.token_R[0] == pytest.approx(together.token_R[position], abs=1e-3)


def test_weights_trained_whole_need_no_base_to_be_read_back(folder: Path) -> None:
    settings = config(folder)
    taken = pretrained_language(settings, folder)
    away = replace(settings, language=replace(settings.language, pretrained="/gone"))
    again = build_language(QECatalyticConfig.from_json(json.loads(json.dumps(away.to_json()))))
    again.load_state_dict(taken.state_dict())
    with torch.no_grad():
        first, second = (each(input_ids=IDS_BT).last_hidden_state for each in (taken, again))
    assert torch.allclose(first, second, atol=1e-5)


def test_checkpointed_activations_leave_the_gradients(folder: Path) -> None:
    gradients = []
    for is_checkpointed in (False, True):
        torch.manual_seed(0)
        settings = config(folder, gradient_checkpointing=is_checkpointed)
        language = pretrained_language(settings, folder).train()
        language(input_ids=IDS_BT).last_hidden_state.square().sum().backward()
        gradients.append([weight.grad for weight in language.parameters()])
        switches = [getattr(each, "gradient_checkpointing", False) for each in language.modules()]
        assert any(switches) == is_checkpointed
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_a_name_on_the_hub_is_found_in_its_cache_offline(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match="nor in the hub's cache, and the hub does not give it"):
        find_base("Qwen/Qwen2.5-0.5B")
    model = tmp_path / "hub" / "models--Qwen--Qwen2.5-0.5B"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("a" * 40)
    (model / "snapshots").mkdir()
    qwen.rename(model / "snapshots" / ("a" * 40))
    assert describe_base(find_base("Qwen/Qwen2.5-0.5B")).kind == "qwen2"


@pytest.mark.parametrize("name", ["/nowhere/qwen", "./qwen", "qwen", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match=f"there is no folder {name}"):
        find_base(name)


def _write_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (
        lambda f: _write_config(f, model_type="llama"),
        r"must be a Qwen2.5 or Qwen2.5-VL .* holds llama",
    ),
    "no configuration": (
        lambda f: (f / "config.json").unlink(),
        "has a config.json, .* holds generation_config.json, model.safetensors, tokenizer.json",
    ),
    "broken configuration": (
        lambda f: (f / "config.json").write_text("{"),
        "config.json cannot be read",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "must hold weights as .* none"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "there is no .*tokenizer.json"),
    "broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        "tokenizer.json is not a tokenizer",
    ),
    "broken weights": (lambda f: _cut(f / "model.safetensors"), "safetensors.*download it again"),
}


@pytest.mark.parametrize("fault", list(BROKEN))
def test_a_folder_that_holds_no_whole_qwen_is_refused(qwen: Path, fault: str) -> None:
    break_it, rule = BROKEN[fault]
    break_it(qwen)
    with pytest.raises(ModelError, match=rule) as refused:
        pretrained_language(config(qwen), qwen)
    assert "\n" not in str(refused.value)


def test_a_head_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = stand_ins.qwen(tmp_path, tie_word_embeddings=False)
    with pytest.raises(ModelError, match="lm_head of its own"):
        describe_base(folder)


def test_weights_that_are_missing_are_named(qwen: Path) -> None:
    settings = config(qwen)
    assert settings.base is not None
    deeper = settings.base.settings | {"num_hidden_layers": 3, "layer_types": None}
    with pytest.raises(ModelError, match=r"lacks 12 weights, first layers\.2\.input_layernorm"):
        pretrained_language(replace(settings, base=replace(settings.base, settings=deeper)), qwen)


def test_a_tokenizer_that_merges_digits_is_refused(qwen: Path) -> None:
    stand_ins.tokenizer(qwen, single_digits=False, texts=["+01.23"])
    with pytest.raises(ModelError, match=r"must be one token, .* reads \+01.23 as \+ 01 \. 23"):
        base_tokenizer(qwen)


def test_another_base_is_told_by_its_files(qwen: Path) -> None:
    base = describe_base(qwen)
    check_base(qwen, base)
    _write_config(qwen, rms_norm_eps=1e-5)
    (qwen / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"config.json differs, model.safetensors is missing"):
        check_base(qwen, base)
