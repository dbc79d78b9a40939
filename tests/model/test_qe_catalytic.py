"""Graph and text meet in one network, and nothing depends on who else is in the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ROWS, network_and_reader

from model.batches import by_budget, make_batch
from model.errors import ModelError
from model.predictor import Ensemble

CONFIGURATIONS = [row.configuration() for row in ROWS]


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    network, reader = network_and_reader()
    return Ensemble([network], reader)


def test_a_batch_answers_as_its_rows_do_alone(ensemble: Ensemble) -> None:
    together = ensemble.answer(CONFIGURATIONS)
    for position, configuration in enumerate(CONFIGURATIONS):
        alone = ensemble.answer([configuration])
        assert alone.regression_R[0] == pytest.approx(together.regression_R[position], abs=1e-4)
        assert alone.token_R[0] == pytest.approx(together.token_R[position], abs=1e-3)


def test_the_text_changes_the_answer(ensemble: Ensemble) -> None:
    other = replace(CONFIGURATIONS[0], text=CONFIGURATIONS[0].text.replace("atop", "hollow", 1))
    here, there = ensemble.answer([CONFIGURATIONS[0], other]).regression_R
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


def test_an_unknown_level_is_refused(ensemble: Ensemble) -> None:
    with pytest.raises(ModelError, match="answers at beef-vdw-ch4, emt; got level of theory 'pbe'"):
        ensemble.answer([replace(CONFIGURATIONS[0], level="pbe")])


def test_a_text_beyond_the_context_is_refused(ensemble: Ensemble) -> None:
    long = CONFIGURATIONS[0].text + "[O Cu atop [Cu]]" * 200
    with pytest.raises(ModelError, match="tokens, the model reads 512"):
        ensemble.answer([replace(CONFIGURATIONS[0], text=long)])


def test_groups_keep_the_budget_and_every_item() -> None:
    costs = [5, 100, 7, 900, 30, 30, 30]
    groups = list(by_budget(costs, 100))
    assert sorted(i for group in groups for i in group) == list(range(len(costs)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(costs[i] for i in group) <= 100
