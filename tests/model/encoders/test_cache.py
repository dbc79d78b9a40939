"""A frozen encoder runs once for each structure, in whatever company the structure comes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import stand_ins, tiny
from torch import Tensor

from model.contract import Configuration
from model.data.graph import GraphBatch, collate
from model.encoders.cache import EncoderCache, FrozenEncoder, split_batch
from model.encoders.equiformer_v2 import EquiformerV2
from model.encoders.fairchem import FairchemConfig
from model.encoders.painn import PainnConfig
from model.encoders.registry import EncoderConfig, build_encoder, load_encoder
from model.errors import ModelError
from model.network.batches import Example, Reader, make_batch
from model.network.ensemble import ENCODER, Ensemble, load_members, save_members
from model.network.qe_catalytic import QECatalytic
from model.training.joint_stage import JointStage
from model.training.recipes import AlignRecipe, JointRecipe, ReadRecipe
from model.training.run import TrainingPlan
from model.training.samples import make_samples
from model.training.trainer import Trainer

CPU = torch.device("cpu")
PAINN = PainnConfig(channels=8, layers=1, max_radius=5.0, max_neighbors=12)
RECIPE = JointRecipe(seed=0, epochs=2, batch_size=4, jitter_ang=0.0, learning_rate=0.01)
CONFIGURATIONS = [row.configuration() for row in tiny.ROWS[:4]]


def examples(configurations: list[Configuration] = CONFIGURATIONS) -> list[Example]:
    _, reader = tiny.network_and_reader(PAINN)
    return reader.read(configurations)


def graphs(*positions: int) -> GraphBatch:
    read = examples()
    return collate([read[position].graph for position in positions])


class Counted(FrozenEncoder):
    """Counts the structures that its encoder was given."""

    def __init__(self, cache: EncoderCache | None = None, config: EncoderConfig = PAINN) -> None:
        torch.manual_seed(0)
        super().__init__(build_encoder(config), cache)
        self.structures = 0
        self.plain = self.encoder.invariants
        self.encoder.invariants = self.count  # type: ignore[method-assign]

    def count(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        self.structures += graph.n_systems
        return self.plain(graph, condition_NC)


@pytest.mark.parametrize("config", [PAINN, tiny.ENCODER], ids=["painn", "equiformer_v2"])
def test_features_are_those_of_the_bare_encoder_in_any_company(config: EncoderConfig) -> None:
    frozen = Counted(config=config)
    frozen.invariants(graphs(1, 3))
    for company in ([0, 1, 2, 3], [3, 3, 1], [2]):
        batch = graphs(*company)
        with torch.no_grad():
            assert torch.allclose(frozen.invariants(batch), frozen.plain(batch), atol=1e-5)


def test_each_structure_is_encoded_once() -> None:
    frozen = Counted()
    frozen.invariants(graphs(0, 1, 0))
    frozen.invariants(graphs(1, 2))
    assert frozen.structures == 3


def test_a_moved_atom_is_another_structure() -> None:
    frozen = Counted()
    moved_N3 = CONFIGURATIONS[0].positions_N3.copy()
    moved_N3[-1, 2] += 0.01
    other = replace(CONFIGURATIONS[0], positions_N3=moved_N3)
    batch = collate([example.graph for example in examples([CONFIGURATIONS[0], other])])
    first, second = frozen.invariants(batch).chunk(2)
    assert frozen.structures == 2
    assert not torch.allclose(first, second, atol=1e-5)


def test_another_encoder_shares_no_features(tmp_path: Path) -> None:
    first = Counted(EncoderCache(tmp_path))
    torch.manual_seed(1)
    second = FrozenEncoder(build_encoder(PAINN), EncoderCache(tmp_path))
    assert not torch.allclose(first.invariants(graphs(0)), second.invariants(graphs(0)))


def test_systems_without_atoms_have_no_features() -> None:
    frozen = Counted()
    alone = [examples()[0].without_graph().graph] * 2
    assert frozen.invariants(collate(alone)).shape == (0, 8)
    assert frozen.structures == 0


def test_graphs_of_a_batch_come_apart_as_they_came() -> None:
    whole = [example.graph for example in examples()]
    for graph, part in zip(whole, split_batch(collate(whole)), strict=True):
        assert (graph.edge_index_2E == part.edge_index_2E).all()
        assert part.edge_vectors_E3 == pytest.approx(graph.edge_vectors_E3, abs=1e-6)
        assert (graph.numbers_N == part.numbers_N).all()


def test_large_batches_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.encoders.cache.EDGES_AT_ONCE", 1)
    frozen = Counted()
    batch = graphs(0, 1, 2)
    with torch.no_grad():
        assert torch.allclose(frozen.invariants(batch), frozen.plain(batch), atol=1e-6)


def test_a_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no condition"):
        Counted().invariants(graphs(0), torch.zeros(13, 8))


def test_a_folder_serves_the_next_run(tmp_path: Path) -> None:
    first = Counted(EncoderCache(tmp_path)).invariants(graphs(0, 1))
    later = Counted(EncoderCache(tmp_path))
    assert torch.equal(later.invariants(graphs(0, 1)), first)
    assert later.structures == 0


def test_a_file_cut_short_is_written_anew(tmp_path: Path) -> None:
    Counted(EncoderCache(tmp_path)).invariants(graphs(0))
    (file,) = tmp_path.glob("*/*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    later = Counted(EncoderCache(tmp_path))
    later.invariants(graphs(0))
    assert later.structures == 1
    assert file.read_bytes() == whole


def test_memory_is_bounded_and_forgets_the_longest_unused() -> None:
    one = torch.zeros(10)
    cache = EncoderCache(memory_bytes=2 * one.nbytes)
    for name in ("a", "b"):
        cache.put(name, one)
    assert cache.get("a") is not None
    cache.put("c", one)
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.get("c") is not None


def test_the_folder_is_bounded_and_forgets_the_longest_unused(tmp_path: Path) -> None:
    one = torch.zeros(1000)
    cache = EncoderCache(tmp_path, memory_bytes=0, folder_bytes=20_000)
    for number in range(12):
        cache.put(f"{number:02d}", one)
        assert cache.get("00") is not None  # used again and again
    held = sorted(file.stem for file in tmp_path.glob("*/*.safetensors"))
    assert sum(file.stat().st_size for file in tmp_path.glob("*/*.safetensors")) <= 20_000
    assert held[0] == "00"
    assert held[-1] == "11"
    assert "01" not in held


def frozen_network(frozen: FrozenEncoder | None = None) -> tuple[QECatalytic, Reader]:
    plain, reader = tiny.network_and_reader(PAINN)
    config = replace(plain.config, encoder_frozen=True)
    torch.manual_seed(0)
    network = QECatalytic(
        config, graph_token=plain.graph_token, encoder=frozen or Counted(EncoderCache())
    )
    network.unfreeze()
    return network, Reader(config, reader.tokenizer)


def test_training_leaves_the_encoder_and_runs_it_once(tmp_path: Path) -> None:
    frozen = Counted()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    network, reader = frozen_network(frozen)
    samples = make_samples(tiny.ROWS, reader, {})
    Ensemble([network], reader).answer(CONFIGURATIONS)  # in inference mode: training may follow
    Trainer(network, JointStage(samples, samples, reader, RECIPE), RECIPE, tmp_path).run()
    assert frozen.structures == len({row.positions_N3.tobytes() for row in tiny.ROWS})
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert not frozen.training
    assert not frozen.encoder.training


def test_the_adsorbate_still_matters() -> None:
    network, reader = frozen_network()
    network.eval()
    batch = make_batch(reader.read(CONFIGURATIONS[:1]), 0)
    other = replace(batch, adsorbate_BZ=batch.adsorbate_BZ.roll(1, dims=1))
    with torch.no_grad():
        assert not torch.allclose(
            network.encode_graph(batch).pooled_BD, network.encode_graph(other).pooled_BD
        )


def test_members_share_one_encoder_on_disk_and_in_memory(tmp_path: Path) -> None:
    network, reader = frozen_network()
    other = network.clone()
    with torch.no_grad():
        other.regression[0].bias += 0.1
    save_members([network, other], tmp_path)
    first, second = load_members(network.config, network.graph_token, tmp_path, CPU)
    assert first.encoder is second.encoder
    assert not any(name.startswith("encoder.") for name in first.state_dict())
    assert (tmp_path / ENCODER).is_file()
    said = Ensemble([first, second], reader).answer(CONFIGURATIONS).regression_R
    expected = Ensemble([network, other], reader).answer(CONFIGURATIONS).regression_R
    assert said == pytest.approx(expected, abs=1e-6)


def plan(
    encoder: EncoderConfig, *stages: object, weights: Path | None = Path("x.pt")
) -> TrainingPlan:
    return TrainingPlan(
        table=Path("t"),
        folder=Path("f"),
        encoder=encoder,
        stages=stages,  # type: ignore[arg-type]
        report_fold=4,
        encoder_weights=weights,
        encoder_frozen=True,
    )


def test_atoms_moved_at_random_and_a_frozen_encoder_exclude_one_another() -> None:
    with pytest.raises(ModelError, match=r"jitter_ang must be 0 in stage align, got 0\.03"):
        plan(PAINN, ReadRecipe(), AlignRecipe())
    plan(PAINN, ReadRecipe(), AlignRecipe(jitter_ang=0.0), RECIPE)


def test_a_frozen_encoder_needs_weights() -> None:
    with pytest.raises(ModelError, match="has learnt elsewhere: name its encoder_weights"):
        plan(PAINN, RECIPE, weights=None)
    plan(FairchemConfig("uma.pt"), RECIPE, weights=None)


def test_published_weights_are_taken_over(tmp_path: Path) -> None:
    file = stand_ins.equiformer(tmp_path / "eq2.pt", tiny.ENCODER)
    torch.manual_seed(0)
    original = EquiformerV2(tiny.ENCODER).state_dict()
    taken = load_encoder(tiny.ENCODER, file).state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in original.items())


def test_weights_of_another_configuration_are_told_by_name(tmp_path: Path) -> None:
    file = stand_ins.equiformer(tmp_path / "eq2.pt", replace(tiny.ENCODER, num_layers=2))
    with pytest.raises(ModelError, match=r"first blocks\.1\..* is unexpected, .* and \d+ more"):
        load_encoder(tiny.ENCODER, file)
    with pytest.raises(ModelError, match=r"is missing, blocks\.2"):
        load_encoder(replace(tiny.ENCODER, num_layers=3), file)
    with pytest.raises(ModelError, match=r"has shape \(.*8\), not \(.*16\)"):
        load_encoder(replace(tiny.ENCODER, num_layers=2, sphere_channels=16), file)


class Anything:
    """What a pickle may bring."""


def test_weights_that_would_have_to_be_run_are_not(tmp_path: Path) -> None:
    torch.save({"state_dict": Anything()}, tmp_path / "run.pt")
    (tmp_path / "cut.pt").write_bytes(b"PK")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, rule in (
        ("run.pt", "cannot be read without running it"),
        ("cut.pt", "cannot be read"),
        ("list.pt", "must hold tensors by name"),
        ("gone.pt", "there is no file of weights"),
    ):
        with pytest.raises(ModelError, match=rule) as refused:
            load_encoder(tiny.ENCODER, tmp_path / name)
        assert "\n" not in str(refused.value)
