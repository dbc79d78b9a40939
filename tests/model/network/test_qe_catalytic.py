"""Graph and text meet in one network, and nothing depends on who else is in the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny import ENCODER, ROWS, network_and_reader

from model.encoders.painn.config import PainnConfig
from model.errors import ModelError
from model.network.batches import by_budget, make_batch
from model.network.ensemble import Ensemble

CONFIGURATIONS = [row.configuration() for row in ROWS]


@pytest.fixture(scope="module", params=["equiformer-pooled", "painn-pooled", "painn-atoms"])
def ensemble(request: pytest.FixtureRequest) -> Ensemble:
    torch.manual_seed(0)
    kind, _, fusion = request.param.partition("-")
    painn = PainnConfig(channels=8, layers=2, max_radius=5.0, max_neighbors=12)
    network, reader = network_and_reader(painn if kind == "painn" else ENCODER, fusion)
    torch.nn.init.normal_(network.regression[0].weight)  # as if trained: text and graph are heard
    return Ensemble([network], reader)


def test_a_batch_answers_as_its_rows_do_alone(ensemble: Ensemble) -> None:
    together = ensemble.answer(CONFIGURATIONS)
    for position, configuration in enumerate(CONFIGURATIONS):
        alone = ensemble.answer([configuration])
        assert alone.regression_R[0] == pytest.approx(together.regression_R[position], abs=1e-4)
        assert alone.token_R[0] == pytest.approx(together.token_R[position], abs=1e-3)


def test_the_text_changes_the_answer(ensemble: Ensemble) -> None:
    other = replace(CONFIGURATIONS[0], text=CONFIGURATIONS[0].text.replace("[Cu Cu", "[Cu Cu Cu"))
    here, there = ensemble.answer([CONFIGURATIONS[0], other]).regression_R
    assert here != pytest.approx(there, abs=1e-6)


def test_a_network_begins_with_the_graph_and_what_the_text_alone_says() -> None:
    network, reader = network_and_reader(PainnConfig(channels=8, layers=1, max_radius=5.0))
    first, second = reader.read(CONFIGURATIONS[:2])
    other_text = first.with_text_tokens(second.text_tokens)
    ensemble = Ensemble([network], reader)
    here, there = ensemble.answer_examples([first, other_text]).regression_R
    assert here == pytest.approx(there, abs=1e-6)
    here, there = ensemble.answer_examples(
        [first.without_graph(), second.without_graph()]
    ).regression_R
    assert here != pytest.approx(there, abs=1e-6)


def test_the_graph_changes_the_answer(ensemble: Ensemble) -> None:
    raised_N3 = CONFIGURATIONS[0].positions_N3.copy()
    raised_N3[-1, 2] += 0.3
    other = replace(CONFIGURATIONS[0], positions_N3=raised_N3)
    here, there = ensemble.answer([CONFIGURATIONS[0], other]).regression_R
    assert here != pytest.approx(there, abs=1e-6)


def test_a_rotated_adslab_keeps_its_energy(ensemble: Ensemble) -> None:
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    configuration = CONFIGURATIONS[1]
    turned = replace(
        configuration,
        positions_N3=configuration.positions_N3 @ turn.T,
        cell_33=configuration.cell_33 @ turn.T,
    )
    here, there = ensemble.answer([configuration, turned]).regression_R
    assert here == pytest.approx(there, abs=1e-4)


def test_composition_and_level_set_the_reference(ensemble: Ensemble) -> None:
    network = ensemble.members[0]
    batch = make_batch(ensemble.reader.read(CONFIGURATIONS), 0)
    try:
        network.scale.offset_L[:] = torch.tensor([2.5, 0.0])
        network.scale.atom_offset_LZ[1, 8] = -1.0
        reference_B = network.scale.reference(batch)
        assert reference_B.tolist() == [-1.0, 0.0, 0.0, 0.0, 2.5, 2.5, 2.5, 2.5]
        energy_B = torch.randn(len(CONFIGURATIONS))
        standard_B = network.scale.to_standard(energy_B, batch)
        assert torch.allclose(network.scale.to_ev(standard_B, batch), energy_B, atol=1e-6)
    finally:
        network.scale.offset_L.zero_()
        network.scale.atom_offset_LZ.zero_()


def test_a_text_alone_is_answered_beside_structures(ensemble: Ensemble) -> None:
    examples = ensemble.reader.read(CONFIGURATIONS)
    mixed = [examples[0], examples[1].without_graph(), examples[2]]
    together = ensemble.answer_examples(mixed)
    for position, example in enumerate(mixed):
        alone = ensemble.answer_examples([example])
        assert alone.regression_R[0] == pytest.approx(together.regression_R[position], abs=1e-4)
        assert alone.token_R[0] == pytest.approx(together.token_R[position], abs=1e-3)
    graph = ensemble.answer_examples([examples[1]]).regression_R[0]
    assert graph != pytest.approx(together.regression_R[1], abs=1e-6)


def test_a_configuration_without_atoms_is_its_text_alone(ensemble: Ensemble) -> None:
    nothing = np.zeros((0, 3))
    bare = replace(
        CONFIGURATIONS[1],
        numbers_N=np.zeros(0, dtype=np.int64),
        tags_N=np.zeros(0, dtype=np.int64),
        positions_N3=nothing,
    )
    alone = ensemble.reader.read([CONFIGURATIONS[1]])[0].without_graph()
    assert ensemble.answer([bare]).regression_R == pytest.approx(
        ensemble.answer_examples([alone]).regression_R
    )


def test_a_clean_slab_is_pooled_over_its_surface(ensemble: Ensemble) -> None:
    on_slab = CONFIGURATIONS[0].tags_N < 2
    clean = replace(
        CONFIGURATIONS[0],
        text="O</s>Cu (1 1 1)</s>[]",
        numbers_N=CONFIGURATIONS[0].numbers_N[on_slab],
        positions_N3=CONFIGURATIONS[0].positions_N3[on_slab],
        tags_N=CONFIGURATIONS[0].tags_N[on_slab],
    )
    other = replace(clean, text="C</s>Cu (1 1 1)</s>[]")
    here, there = ensemble.answer([clean, other]).regression_R
    assert np.isfinite(here)
    assert here != pytest.approx(there, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("N</s>Cu (1 1 1)</s>[]", "must name one adsorbate, got N in the text and O among"),
        ("O</s>Pt (1 1 1)</s>[]", "must name one bulk, got Pt in the text and Cu among"),
        ("O</s>CuXx (1 1 1)</s>[]", "must name elements up to Pu, got Xx"),
    ],
)
def test_a_graph_and_a_text_that_disagree_are_refused(
    ensemble: Ensemble, text: str, rule: str
) -> None:
    with pytest.raises(ModelError, match=rule):
        ensemble.answer([replace(CONFIGURATIONS[0], text=text)])


def test_an_unknown_level_is_refused(ensemble: Ensemble) -> None:
    with pytest.raises(ModelError, match="answers at beef-vdw-ch4, emt; got level of theory 'pbe'"):
        ensemble.answer([replace(CONFIGURATIONS[0], level="pbe")])


def test_a_text_beyond_the_context_is_refused(ensemble: Ensemble) -> None:
    long = CONFIGURATIONS[0].text.replace("[Cu Cu", f"[Cu {'Cu ' * 600}Cu")
    with pytest.raises(ModelError, match="tokens, the model reads 512"):
        ensemble.answer([replace(CONFIGURATIONS[0], text=long)])


def test_groups_keep_the_budget_and_every_item() -> None:
    _, reader = network_and_reader()
    examples = reader.read(CONFIGURATIONS)
    examples += [example.without_graph() for example in examples]
    budget = 2 * max(example.edges + example.tokens for example in examples)
    groups = list(by_budget(examples, budget))
    assert sorted(i for group in groups for i in group) == list(range(len(examples)))
    assert 1 < len(groups) < len(examples)
    for group in groups:
        padded = len(group) * max(examples[i].tokens for i in group)
        assert sum(examples[i].edges for i in group) + padded <= budget
