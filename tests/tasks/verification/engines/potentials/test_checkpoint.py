"""MACE, SevenNet and CHGNet by a checkpoint of one's own, with stand-ins for their packages."""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import fcc111
from ase.calculators.emt import EMT
from support.paths import REPOSITORY

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level, read_level
from tasks.levels.calculation import Potentials
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    engine_for,
)
from tasks.verification.engines.potentials import checkpoint
from tasks.verification.relaxation.compute import compute

ENGINES = ("mace", "sevenn", "chgnet")
COPPER = (1, 8, 29)  # the elements that the stand-ins know, by number


class Answering(EMT):
    """EMT with what calculators of checkpoints say of themselves."""

    def __init__(self, **said: Any) -> None:
        super().__init__()
        vars(self).update(said)


class Mace:
    """A stand-in for the package mace, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def calculator(self, **asked: Any) -> Answering:
        self.asked = asked
        return Answering(z_table=SimpleNamespace(zs=COPPER))


def sevennet(model: str, file_type: str, device: str, modal: str | None = None) -> Answering:
    """Answer as SevenNet does: a file of several data sets wants one, others ignore it."""
    assert (file_type, device) == ("checkpoint", "cpu")
    if "several" not in Path(model).name:
        return Answering(modal=None, type_map=dict.fromkeys(COPPER))
    if modal is None:
        raise ValueError("modal argument missing (avail: ['PBE', 'R2SCAN'])")
    return Answering(modal=modal, type_map=dict.fromkeys(COPPER))


def chgnet(model: str, use_device: str) -> Answering:
    print(f"CHGNet will run on {use_device}")  # noqa: T201  as it does
    return Answering(read=model)


def module(name: str, **parts: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(parts)
    return made


@pytest.fixture
def mace() -> Mace:
    return Mace()


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mace: Mace) -> Callable[..., Any]:
    """Put stand-ins in the place of the packages; return a function that makes a level and job."""
    stand_ins = (
        module("mace"),
        module("mace.calculators", MACECalculator=mace.calculator),
        module("sevenn"),
        module("sevenn.calculator", SevenNetCalculator=sevennet),
        module("chgnet"),
        module("chgnet.model"),
        module("chgnet.model.dynamics", CHGNetCalculator=chgnet),
        module("chgnet.model.model", CHGNet=SimpleNamespace(from_file=lambda path: path)),
    )
    for made in stand_ins:
        monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(f"{checkpoint.__name__}.find_spec", lambda name: name)

    def place(engine: str, name: str = "one.pt", heads: list[str] | None = None, **stated: Any):
        file = tmp_path / name
        torch.save(SimpleNamespace(heads=heads or ["Default"]), file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        made = own_level(engine, sha256, **stated)
        return made, engine_for(made, locations={engine: EngineLocation(potentials=str(file))})

    return place


def own_level(engine: str, sha256: str, trained_on: str = "MatPES", **stated: Any) -> LevelOfTheory:
    model = Potentials("own", checksums={"model": sha256}, trained_on=trained_on)
    shipped = level("diep-r2scan")
    parts = {"potentials": model, "engine_version": "any"} | stated
    calculation = replace(shipped.require_calculation(), **parts)
    return replace(shipped, name="own", engine=engine, calculation=calculation)


def copper() -> Atoms:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    slab.positions[2, 2] += 0.05
    return slab


@pytest.mark.parametrize("name", ENGINES)
def test_a_checkpoint_computes_what_its_calculator_answers(
    name: str, placed: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    made, engine = placed(name)
    here = compute(copper(), made, engine, "single_point").energy_ev
    there = compute(copper(), level("emt"), engine_for(level("emt")), "single_point").energy_ev
    assert here == pytest.approx(there)
    assert capfd.readouterr().out == ""
    job = CalculationJob(copper(), made, Path())
    assert engine.calculator(job) is engine.calculator(job)  # it is loaded once


@pytest.mark.parametrize("name", ENGINES)
def test_another_file_is_not_unpickled(
    name: str, placed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, engine = placed(name)
    Path(engine.location.potentials).write_bytes(b"another")
    loaded: list[object] = []
    monkeypatch.setattr(type(engine), "load", lambda *asked: loaded.append(asked))
    with pytest.raises(EngineError, match="unpickles only the file whose SHA-256 level own states"):
        engine.calculator(CalculationJob(copper(), made, Path()))
    with pytest.raises(EngineError, match="of model has checksum"):
        compute(copper(), made, engine)
    assert loaded == []


@pytest.mark.parametrize("name", ENGINES)
def test_what_a_level_leaves_out_is_asked_for(name: str, placed: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=f"{name} unpickles its checkpoint, .* all 64 digits"):
        engine_for(own_level(name, "0" * 16))
    with pytest.raises(UserError, match="must state what its model was trained on"):
        placed(name, trained_on="")
    with pytest.raises(UserError, match=r"potentials: {family: .*, trained_on: .*, checksums:"):
        engine_for(own_level(name, "0" * 64, potentials=None))


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_missing_is_named(
    name: str, placed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = placed(name)
    with pytest.raises(EngineError, match=f"set SABATIER_{name.upper()}_CHECKPOINT to the file"):
        engine_for(made)
    monkeypatch.setattr(f"{checkpoint.__name__}.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=rf"pip install 'sabatier\[{name}\]'") as caught:
        engine_for(made)
    assert caught.value.kind is FailureKind.NOT_INSTALLED


@pytest.mark.parametrize("name", ENGINES)
def test_a_package_that_lacks_another_one_costs_no_item_its_tries(
    name: str, placed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, engine = placed(name)
    for part in ("mace.calculators", "sevenn.calculator", "chgnet.model.dynamics"):
        monkeypatch.setitem(sys.modules, part, None)
    rule = rf"{name} cannot be imported: .*; pip install 'sabatier\[{name}\]'"
    with pytest.raises(EngineError, match=rule) as caught:
        compute(copper(), made, engine)
    assert caught.value.kind is FailureKind.NOT_INSTALLED


@pytest.mark.parametrize("name", ["mace", "sevenn"])
def test_an_element_that_the_checkpoint_itself_lacks_is_named(
    name: str, placed: Callable[..., Any]
) -> None:
    made, engine = placed(name)
    gold = fcc111("Au", (1, 1, 3), vacuum=8.0, periodic=True)
    with pytest.raises(EngineError, match=f"{name} has no potential for Au: .* knows 3 ") as caught:
        compute(gold, made, engine)
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_the_usual_data_lack_polonium(placed: Callable[..., Any]) -> None:
    made, engine = placed("chgnet")
    with pytest.raises(EngineError, match="chgnet has no potential for Po; it has"):
        compute(Atoms("Po", cell=[9] * 3, pbc=True), made, engine)


def test_mace_computes_in_double_precision_and_lets_nothing_else_be_unpickled(
    placed: Callable[..., Any], mace: Mace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # as its import does
    made, engine = placed("mace", heads=["pbe", "r2scan"], keywords={"head": "r2scan"})
    engine.calculator(CalculationJob(copper(), made, Path()))
    asked = {key: mace.asked[key] for key in ("device", "default_dtype", "head")}
    assert asked == {"device": "cpu", "default_dtype": "float64", "head": "r2scan"}
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(("keywords", "said"), [({}, "not at all"), ({"head": "omat"}, "omat")])
def test_a_head_that_mace_would_choose_by_itself_is_refused(
    keywords: dict[str, Any], said: str, placed: Callable[..., Any], mace: Mace
) -> None:
    made, engine = placed("mace", heads=["pbe", "r2scan"], keywords=keywords)
    with pytest.raises(EngineError, match=f"answers for pbe, r2scan, .* states head {said};"):
        compute(copper(), made, engine)
    assert mace.asked == {}


def test_sevennet_of_several_data_sets_needs_one_and_ignores_none(
    placed: Callable[..., Any],
) -> None:
    made, engine = placed("sevenn", "several.pt")
    with pytest.raises(EngineError, match=r"missing \(avail: .*R2SCAN.* keywords: {modal: NAME}"):
        compute(copper(), made, engine)
    made, engine = placed("sevenn", "several.pt", keywords={"modal": "R2SCAN"})
    assert compute(copper(), made, engine, "single_point").converged
    made, engine = placed("sevenn", keywords={"modal": "R2SCAN"})
    with pytest.raises(EngineError, match=r"one data set, .* states modal R2SCAN; leave it out"):
        compute(copper(), made, engine)


@pytest.mark.parametrize(
    ("name", "stated", "rule"),
    [
        (
            "mace",
            {"keywords": {"modal": "a"}},
            "of keywords mace reads head alone, .* modal",
        ),
        ("chgnet", {"keywords": {"modal": "a"}}, "chgnet does not read keywords"),
        ("chgnet", {"gas_vacuum_ang": None}, r"write calculation: {gas_vacuum_ang: 8.0}"),
    ],
)
def test_what_an_engine_cannot_read_is_refused(
    name: str, stated: dict[str, Any], rule: str, placed: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=rule):
        placed(name, **stated)


def test_the_level_that_the_readme_shows_is_one(tmp_path: Path) -> None:
    shown = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("```yaml\n")
    (text,) = [part.split("```")[0] for part in shown if part.startswith("based_on: diep-r2scan")]
    file = tmp_path / "my-mace.yaml"
    file.write_text(text.replace("SHA256", "a" * 64))
    with pytest.raises(EngineError, match="level my-mace needs mace; mace is not installed"):
        engine_for(read_level(file))


def test_the_head_is_of_the_level(placed: Callable[..., Any]) -> None:
    hashes = {
        placed("mace", heads=["a", "b"], keywords={"head": head})[0].level_hash for head in "ab"
    }
    assert len(hashes) == 2
