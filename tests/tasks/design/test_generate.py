import numpy as np
import pytest
from support.designer import LayerPredictor, ScriptedSampler
from support.streams import adslab, reread

from model.generation.design import Designer, SeenAdsorbate, SeenLevel
from model.generation.structure_stream import Structure
from tasks.design.generate import AT_ONCE, count_causes, generate_designs
from tasks.design.request import DesignRequest, design_request
from tasks.errors import UserError
from tasks.structures.formats import read_cif

LEVELS = {
    "emt": SeenLevel(-3.0, 2.0, ("Cu", "Pt"), {"CO": SeenAdsorbate(("C0 O0 0-1",), 10, -1.0, 0.5)})
}


GOOD = reread(adslab("Cu (1 1 1)", "CO", height=1.9))
FAR = reread(adslab("Cu (1 1 1)", "CO", height=5.0))
OTHER = reread(adslab("Cu (1 1 1)", "H2O", height=2.0))


def designer(*script: Structure | None) -> tuple[Designer, ScriptedSampler]:
    sampler = ScriptedSampler(script)
    return Designer("d" * 64, LEVELS, sampler), sampler  # type: ignore[arg-type]


def order(bulk: str | None = "Cu") -> DesignRequest:
    return design_request(LEVELS, "CO", -1.5, bulk=bulk)


def test_valid_designs_are_predicted_and_the_rest_counted_by_cause() -> None:
    writer, _ = designer(GOOD, FAR, None, OTHER)
    designs = generate_designs(writer, LayerPredictor(), order(), count=8)
    assert [d.number for d in designs] == list(range(1, 9))
    assert count_causes(designs) == {"detached": 2, "unfinished": 2, "composition": 2}
    valid = [d for d in designs if d.verdict.is_valid]
    assert [d.number for d in valid] == [1, 5]
    for design in valid:
        assert design.prediction is not None
        assert design.prediction.energy_ev == pytest.approx(-1.9, abs=0.02)
        assert design.error_ev(-1.5) == pytest.approx(-0.4, abs=0.02)
    assert all(d.prediction is None and d.error_ev(-1.5) is None for d in designs[1:4])


def test_a_valid_design_is_an_adslab_like_any_other() -> None:
    writer, _ = designer(GOOD)
    (design,) = generate_designs(writer, LayerPredictor(), order(), count=1)
    made = design.adslab
    assert made is not None
    assert made.text.startswith("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu ")
    assert (made.bulk_formula, made.miller) == ("Cu", (1, 1, 1))
    tags = made.atoms.get_tags().tolist()
    assert (tags.count(0), tags.count(1), tags.count(2)) == (27, 9, 2)
    held = made.atoms.constraints[0].index
    assert len(held) == 18
    assert made.atoms.positions[held, 2].max() < np.median(made.atoms.positions[:, 2])


def test_the_cif_that_is_written_is_the_one_that_was_judged() -> None:
    writer, _ = designer(GOOD)
    (design,) = generate_designs(writer, LayerPredictor(), order(), count=1, seed=7)
    assert design.cif is not None
    assert design.cif.splitlines()[:3] == [
        "# CO on Cu (1 1 1), not relaxed",
        "# asked for: -1.50 eV at emt",
        f"# designer {'d' * 12}, seed 7, number 1",
    ]
    assert len(read_cif(design.cif)) == 38


def test_equal_structures_have_equal_ids_and_others_do_not() -> None:
    higher = reread(adslab("Cu (1 1 1)", "CO", height=2.1))
    writer, _ = designer(GOOD, higher)
    ids = [
        d.adslab.candidate_id
        for d in generate_designs(writer, LayerPredictor(), order(), count=4)
        if d.adslab is not None
    ]
    assert ids[0] == ids[2] != ids[1] == ids[3]


def test_more_designs_than_one_batch_are_all_asked_for() -> None:
    writer, sampler = designer(None)
    designs = generate_designs(writer, LayerPredictor(), order(), count=AT_ONCE + 3)
    assert len(designs) == len(sampler.prompts) == AT_ONCE + 3
    assert {prompt for prompt, _ in sampler.prompts} == {order().prompt}


def test_fewer_than_one_design_is_refused() -> None:
    writer, _ = designer(GOOD)
    with pytest.raises(UserError, match="1 or more, got 0"):
        generate_designs(writer, LayerPredictor(), order(), count=0)
