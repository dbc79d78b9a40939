import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.designer import designer_checkpoint
from support.streams import adslab
from support.tiny import ROWS, row

from model.checkpoint import seal
from model.errors import ModelError
from model.generation.design import DESIGNER_WEIGHTS, SETTINGS, Designer, load_designer, seen_levels
from model.generation.prompts import design_prompt
from model.generation.skeleton import Skeleton
from model.generation.stream_grammar import StreamConstraints
from model.generation.stream_sampler import SampledStream, Sampling

WATER = StreamConstraints(("Cu",), {"Cu": 1}, (Skeleton.from_text("O2"),), most_slab_atoms=48)
ATOM = StreamConstraints(("Ag", "Pt"), None, (Skeleton.from_text("C0"),), most_slab_atoms=24)
PROMPTS = [design_prompt("emt", "H2O", "Cu", -0.5), design_prompt("emt", "C", None, 1.0)]


@pytest.fixture(scope="module")
def designer(tmp_path_factory: pytest.TempPathFactory) -> Designer:
    return load_designer(designer_checkpoint(tmp_path_factory.mktemp("designer")).folder)


def written(designer: Designer, seed: int = 0, **sampling: float) -> list[SampledStream]:
    draw = torch.Generator().manual_seed(seed)
    return designer.sampler.write(PROMPTS, [WATER, ATOM], Sampling(**sampling), draw)  # type: ignore[arg-type]


def test_an_untrained_designer_already_writes_what_was_asked_for(designer: Designer) -> None:
    water, atom = written(designer)
    assert water.structure is not None
    assert atom.structure is not None
    assert sorted(water.structure.numbers_N[water.structure.tags_N == 2]) == [1, 1, 8]
    assert set(water.structure.numbers_N[water.structure.tags_N != 2]) == {29}
    assert set(atom.structure.numbers_N[atom.structure.tags_N != 2]) <= {47, 78}


def test_one_seed_writes_one_stream(designer: Designer) -> None:
    first, again, other = written(designer, 1), written(designer, 1), written(designer, 2)
    assert [w.tokens for w in first] == [w.tokens for w in again]
    assert [w.tokens for w in first] != [w.tokens for w in other]


def test_a_stream_that_goes_on_too_long_is_given_up(designer: Designer) -> None:
    for stream in written(designer, most_tokens=9):
        assert stream.structure is None
        assert len(stream.tokens) == 9


def test_a_cold_draw_takes_the_likeliest_token(designer: Designer) -> None:
    cold = [written(designer, seed, temperature=1e-9)[0].tokens for seed in (1, 2)]
    assert cold[0] == cold[1]


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 0.9), (float("nan"), 0.9), (1.0, 1.1)])
def test_sampling_that_draws_nothing_is_refused(temperature: float, top_p: float) -> None:
    with pytest.raises(ModelError, match="temperature above 0 and a top_p"):
        Sampling(temperature, top_p)


def test_no_prompts_no_streams(designer: Designer) -> None:
    assert designer.sampler.write([], [], Sampling(), torch.Generator()) == []


def test_what_was_seen_comes_back_from_the_checkpoint(designer: Designer) -> None:
    assert designer.levels == seen_levels(ROWS)
    emt = designer.levels["emt"]
    assert (emt.lowest_ev, emt.highest_ev) == (-0.3, 2.2)
    assert emt.elements == ("Ni", "Cu", "Ag", "Pt")
    assert emt.adsorbates["O"].skeletons == ("O0",)


def test_relaxed_rows_and_broken_adsorbates_are_not_seen() -> None:
    start = adslab(name="CO")
    positions = start.positions_N3.copy()
    positions[-1] += [0.0, 0.0, 3.0]
    broken = replace(
        row("O", "Cu", 0.0),
        adsorbate="CO",
        numbers_N=start.numbers_N,
        positions_N3=positions,
        cell_33=start.cell_33,
        tags_N=start.tags_N,
    )
    relaxed = replace(row("N", "Cu", 0.0), kind="relaxed")
    assert seen_levels([broken, relaxed]) == {}


def test_a_checkpoint_without_a_designer_says_so() -> None:
    with pytest.raises(ModelError, match=r"has no designer \(designer\.safetensors\)"):
        load_designer("baseline")


def test_weights_of_another_architecture_are_named(tmp_path: Path) -> None:
    folder = designer_checkpoint(tmp_path / "one").folder
    weights = load_file(folder / DESIGNER_WEIGHTS)
    weights.pop("norm.weight")
    save_file(weights, folder / DESIGNER_WEIGHTS)
    seal(folder, "qe-catalytic")
    with pytest.raises(ModelError, match=r"1 differ, first norm\.weight is missing"):
        load_designer(folder)
    settings = json.loads((folder / SETTINGS).read_text())
    settings["designer"]["language"]["hidden_size"] = 32
    (folder / SETTINGS).write_text(json.dumps(settings))
    seal(folder, "qe-catalytic")
    with pytest.raises(ModelError, match=r"has shape .*, not"):
        load_designer(folder)
