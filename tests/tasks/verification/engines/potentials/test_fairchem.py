"""UMA through fairchem, with a stand-in for the package: it is an extra and takes seconds."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ase.build import fcc111
from ase.calculators.emt import EMT

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Basis, Potentials
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    engine_for,
)
from tasks.verification.engines.potentials import checkpoint
from tasks.verification.relaxation.compute import compute

WEIGHTS = b"weights"


def uma(checksum: str) -> LevelOfTheory:
    potentials = Potentials(
        "uma-s-1p1", checksums={"model": checksum} if checksum else {}, trained_on="OC20"
    )
    base = replace(level("emt"), name="uma", engine="fairchem", functional="RPBE")
    return replace(base, calculation=replace(base.require_calculation(), potentials=potentials))


LEVEL = uma(hashlib.sha256(WEIGHTS).hexdigest())


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, EngineLocation]:
    """Put a package in the place of fairchem whose calculator is EMT, and a checkpoint."""
    loaded: list[Any] = []
    core, unit = ModuleType("fairchem.core"), ModuleType("fairchem.core.units.mlip_unit")
    unit.load_predict_unit = lambda path, device: SimpleNamespace(path=path)  # type: ignore[attr-defined]

    def calculator(unit: Any, task_name: str) -> EMT:
        loaded.append((unit.path, task_name))
        assert task_name == "oc20"
        return EMT()

    core.FAIRChemCalculator = calculator  # type: ignore[attr-defined]
    for name, module in (("fairchem.core", core), ("fairchem.core.units.mlip_unit", unit)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "fairchem", ModuleType("fairchem"))
    monkeypatch.setitem(sys.modules, "fairchem.core.units", ModuleType("fairchem.core.units"))
    monkeypatch.setattr(f"{checkpoint.__name__}.find_spec", lambda name: name)
    (tmp_path / "uma.pt").write_bytes(WEIGHTS)
    return {"fairchem": EngineLocation(potentials=str(tmp_path / "uma.pt"))}


def test_its_calculator_is_of_the_surface_task(locations: dict[str, EngineLocation]) -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    here = compute(slab, LEVEL, engine_for(LEVEL, locations=locations)).energy_ev
    assert here == pytest.approx(compute(slab, level("emt"), engine_for(level("emt"))).energy_ev)


def test_another_checkpoint_than_the_levels_is_refused(
    locations: dict[str, EngineLocation],
) -> None:
    other = uma("0" * 64)
    slab, engine = fcc111("Cu", (1, 1, 3), vacuum=8.0), engine_for(other, locations=locations)
    with pytest.raises(EngineError, match="of model has checksum 0000") as caught:
        compute(slab, other, engine)
    assert caught.value.kind is FailureKind.NOT_INSTALLED


def test_no_other_file_than_the_levels_is_unpickled(
    locations: dict[str, EngineLocation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[object] = []
    unit = sys.modules["fairchem.core.units.mlip_unit"]
    monkeypatch.setattr(unit, "load_predict_unit", lambda path, device: loaded.append(path))
    other = uma("0" * 64)
    job = CalculationJob(fcc111("Cu", (1, 1, 3)), other, tmp_path)
    with pytest.raises(EngineError, match=hashlib.sha256(WEIGHTS).hexdigest()):
        engine_for(other, locations=locations).calculator(job)
    assert loaded == []


def test_a_part_of_a_hash_is_too_little_and_the_whole_is_shown(
    locations: dict[str, EngineLocation],
) -> None:
    whole = hashlib.sha256(WEIGHTS).hexdigest()
    with pytest.raises(UserError, match=rf"all 64 digits .*checksums: {{model: {whole}}}"):
        engine_for(uma(whole[:16]), locations=locations)


def test_a_level_says_which_model_it_is() -> None:
    with pytest.raises(UserError, match="must state which model it is"):
        engine_for(uma(""))


def test_what_a_model_has_not_is_refused() -> None:
    gpaw = level("gpaw-rpbe").require_calculation()
    stated = replace(
        LEVEL.require_calculation(), basis=Basis(400.0), spin=gpaw.spin, keywords={"task": "omat"}
    )
    with pytest.raises(UserError, match="fairchem does not read basis, spin, keywords"):
        engine_for(replace(LEVEL, calculation=stated))


def test_what_is_missing_is_named(
    locations: dict[str, EngineLocation], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="set SABATIER_FAIRCHEM_CHECKPOINT"):
        engine_for(LEVEL)
    monkeypatch.setattr(f"{checkpoint.__name__}.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'sabatier\[fairchem\]'") as caught:
        engine_for(LEVEL, locations=locations)
    assert caught.value.kind is FailureKind.NOT_INSTALLED
