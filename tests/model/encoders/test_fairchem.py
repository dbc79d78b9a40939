"""An encoder out of a fairchem checkpoint: its own features on our graphs; what is not is refused.

What needs fairchem-core is skipped where it is not installed: pip install 'sabatier[fairchem]'.
"""

import copy
import hashlib
import importlib.util
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from support import tiny
from support.encoder_suite import adslab

from model.data.graph import GraphBatch, collate, radius_graph
from model.encoders.cache import EncoderCache, FrozenEncoder
from model.encoders.fairchem import FairchemConfig, FairchemEncoder
from model.encoders.registry import encoder_from_json, encoder_to_json, load_encoder
from model.errors import ModelError
from model.network.batches import Reader
from model.network.config import QECatalyticConfig
from model.network.ensemble import ENCODER, Ensemble, load_members, save_members
from model.network.qe_catalytic import QECatalytic

needs_fairchem = pytest.mark.skipif(
    importlib.util.find_spec("fairchem") is None, reason="fairchem-core is not installed"
)
CUTOFF = 5.0
BACKBONE = {
    "model": "fairchem.core.models.uma.escn_moe.eSCNMDMoeBackbone",
    **{"sphere_channels": 8, "edge_channels": 8, "hidden_channels": 8, "num_layers": 1},
    **{"lmax": 2, "mmax": 2, "num_distance_basis": 16, "cutoff": CUTOFF, "max_neighbors": 300},
    **{"otf_graph": True, "direct_forces": False, "regress_forces": True, "regress_stress": True},
    **{"num_experts": 2, "use_composition_embedding": True},
    "dataset_mapping": {"oc20": "oc20", "omat": "omat"},
}
UNIT = "fairchem.core.units.mlip_unit.mlip_unit"
TASK = {
    "_target_": f"{UNIT}.Task",
    **{"name": "oc20_energy", "level": "system", "property": "energy", "datasets": ["oc20"]},
    "out_spec": {"_target_": f"{UNIT}.OutputSpec", "dim": [1], "dtype": "float32"},
    "normalizer": {
        "_target_": "fairchem.core.modules.normalization.normalizer.Normalizer",
        **{"mean": 0.0, "rmsd": 1.0},
    },
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a UMA in miniature, in the format that fairchem publishes."""
    from fairchem.core.models.base import HydraModel
    from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

    head = {"module": "fairchem.core.models.uma.escn_md.MLP_EFS_Head", "wrap_property": False}
    settings: dict[str, Any] = {
        "model_id": "UMA-1.2.1",
        "pass_through_head_outputs": True,
        "backbone": BACKBONE,
        "heads": {"energyandforcehead": head},
    }
    torch.manual_seed(0)
    model = HydraModel(**copy.deepcopy(settings))
    average = torch.optim.swa_utils.AveragedModel(model).state_dict()
    settings["_target_"] = "fairchem.core.models.base.HydraModel"
    file = tmp_path_factory.mktemp("fairchem") / "uma.pt"
    torch.save(MLIPInferenceCheckpoint(settings, model.state_dict(), average, [TASK]), file)
    return file


def config(checkpoint: Path, /, **changes: Any) -> FairchemConfig:
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    plain = FairchemConfig(str(checkpoint), sha256=sha256, max_radius=CUTOFF)
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> FairchemEncoder:
    return FairchemEncoder(config(checkpoint))


def batch(*structures: Atoms) -> GraphBatch:
    return collate(
        [
            radius_graph(s.numbers, s.positions, s.cell[:], s.pbc, CUTOFF, 300, tags=s.get_tags())
            for s in structures
        ]
    )


@needs_fairchem
def test_features_are_those_of_fairchem_on_its_own_graph(encoder: FairchemEncoder) -> None:
    from fairchem.core.datasets.atomic_data import AtomicData, atomicdata_list_to_batch

    structures = [adslab(0), adslab(1)]
    ours = encoder.invariants(batch(*structures))
    for structure in structures:
        structure.info = {"charge": 0, "spin": 0}
    theirs = atomicdata_list_to_batch(
        [AtomicData.from_ase(s, task_name="oc20", r_edges=False) for s in structures]
    )
    backbone = copy.deepcopy(encoder.backbone)
    backbone.otf_graph = True
    expected = backbone(theirs)["node_embedding"][:, 0]
    assert ours.shape == (30, 8)
    assert torch.allclose(ours, expected, atol=1e-5)


@needs_fairchem
def test_a_batch_is_left_as_it_was_and_equals_its_systems(encoder: FairchemEncoder) -> None:
    together = batch(adslab(0), adslab(1))
    before = together.positions_N3.clone(), together.numbers_N.clone()
    first = encoder.invariants(together)
    assert torch.allclose(encoder.invariants(together), first, atol=1e-5)
    assert torch.equal(together.positions_N3, before[0])
    assert torch.equal(together.numbers_N, before[1])
    apart = [encoder.invariants(batch(adslab(seed))) for seed in (0, 1)]
    assert torch.allclose(first, torch.cat(apart), atol=1e-5)
    assert not first.requires_grad


@needs_fairchem
def test_a_network_on_it_is_written_read_back_and_answers(checkpoint: Path, tmp_path: Path) -> None:
    plain, reader = tiny.network_and_reader()
    settings = replace(plain.config, encoder=config(checkpoint), encoder_frozen=True)
    frozen = FrozenEncoder(FairchemEncoder(config(checkpoint)), EncoderCache())
    network = QECatalytic(settings, graph_token=plain.graph_token, encoder=frozen)
    reader = Reader(settings, reader.tokenizer)
    configurations = [row.configuration() for row in tiny.ROWS[:2]]
    said = Ensemble([network], reader).answer(configurations)
    save_members([network], tmp_path)
    assert not (tmp_path / ENCODER).exists()
    again = load_members(
        QECatalyticConfig.from_json(settings.to_json()),
        network.graph_token,
        tmp_path,
        torch.device("cpu"),
    )
    assert Ensemble(again, reader).answer(configurations).regression_R == pytest.approx(
        said.regression_R, abs=1e-5
    )


@needs_fairchem
def test_loading_leaves_the_course_of_chance(checkpoint: Path) -> None:
    drawn = []
    for loads in (False, True):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002  the global state is what must stay
        torch.manual_seed(0)
        if loads:
            FairchemEncoder(config(checkpoint))
        number = np.random.rand()  # noqa: NPY002
        drawn.append((random.random(), number, torch.rand(1).item()))
    assert drawn[0] == drawn[1]


@needs_fairchem
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"max_radius": 6.0}, r"must be the checkpoint's 5\.0, got 6\.0"),
        ({"task": "gold"}, "must be one of oc20, omat, got 'gold'"),
        ({"sha256": ""}, r"encoder\.sha256 must be that of a file you trust, got none and"),
        ({"checkpoint": "/gone.pt"}, r"/gone\.pt cannot be read: No such file"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(
    checkpoint: Path, changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ModelError, match=rule):
        FairchemEncoder(config(checkpoint, **changes))


@needs_fairchem
def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"cannot load .*other\.pt .* checkpoint of fairchem 2"):
        FairchemEncoder(config(tmp_path / "other.pt"))


def test_without_fairchem_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fairchem.core.units.mlip_unit", None)
    with pytest.raises(ModelError, match=r"pip install 'sabatier\[fairchem\]'"):
        FairchemEncoder(FairchemConfig("uma.pt"))


def test_a_configuration_survives_json() -> None:
    values = FairchemConfig("uma.pt", sha256="ab", task="omat")
    assert encoder_to_json(values)["kind"] == "fairchem"
    assert encoder_from_json(encoder_to_json(values)) == values


def test_it_is_frozen_and_has_its_weights_from_its_checkpoint() -> None:
    with pytest.raises(ModelError, match="set encoder_frozen to true"):
        QECatalyticConfig(encoder=FairchemConfig("uma.pt"), levels=("emt",), vocabulary=9)
    with pytest.raises(ModelError, match=r"has its weights from encoder\.checkpoint, got w\.pt"):
        load_encoder(FairchemConfig("uma.pt"), Path("w.pt"))
