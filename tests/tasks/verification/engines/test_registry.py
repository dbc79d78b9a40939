import subprocess
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ase.build import fcc111
from ase.calculators.emt import EMT

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level, shipped_levels
from tasks.levels.calculation import Basis, Potentials, Spin
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    check_level,
    computable_elements,
    engine_for,
    engine_names,
    plugin,
    registry,
)
from tasks.verification.engines.base import content_sha256
from tasks.verification.engines.failures import kind_of
from tasks.verification.relaxation.admission import (
    require_checksums,
    require_elements,
    unsupported_elements,
)
from tasks.verification.relaxation.compute import compute

NAMES = (
    *("emt", "gpaw", "quantum-espresso", "cp2k", "vasp"),
    *("fairchem", "diep", "mace", "sevenn", "chgnet", "replay"),
)


def changed(name: str, **parts: Any) -> LevelOfTheory:
    found = level(name)
    return replace(found, calculation=replace(found.require_calculation(), **parts))


def test_the_classes_of_failure_are_those_that_the_queue_knows() -> None:
    assert [kind.value for kind in FailureKind] == [
        *("bad_input", "missing_potential", "not_installed", "scf_not_converged"),
        *("ions_not_converged", "out_of_memory", "wall_limit", "numerical", "killed", "engine"),
    ]


def test_the_emt_level_is_served_by_the_emt_engine(tmp_path: Path) -> None:
    assert engine_names() == NAMES
    assert all(registry._built_in(name).name == name for name in registry._BUILT_IN)
    engine = engine_for(level("emt"))
    job = CalculationJob(fcc111("Cu", (1, 1, 3)), level("emt"), tmp_path)
    assert isinstance(engine.calculator(job), EMT)
    assert engine.missing() == ""


def test_an_engine_of_another_level_is_refused() -> None:
    with pytest.raises(UserError, match="gpaw-rpbe is computed with gpaw, got engine emt"):
        engine_for(level("gpaw-rpbe"), "emt")


def test_a_level_of_published_labels_is_refused() -> None:
    with pytest.raises(UserError, match=r"beef-vdw-co .* holds published labels"):
        engine_for(level("beef-vdw-co"))


def test_a_level_of_an_unknown_engine_is_refused_with_what_is_here() -> None:
    unknown = replace(level("emt"), engine="castep")
    with pytest.raises(UserError, match=r"needs the engine castep, and this .* runs emt, gpaw"):
        engine_for(unknown)


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("qe-pbe", "no-such-pw.x is not found: apt-get install quantum-espresso"),
        ("vasp-oc20", "no-such-vasp is not found: VASP is licensed"),
    ],
)
def test_an_engine_that_is_not_installed_says_what_to_install(name: str, way_out: str) -> None:
    engine = level(name).engine
    command = "no-such-pw.x" if engine == "quantum-espresso" else "no-such-vasp"
    with pytest.raises(EngineError, match=way_out) as caught:
        engine_for(level(name), locations={engine: EngineLocation(command)})
    assert caught.value.kind is FailureKind.NOT_INSTALLED


def test_a_program_without_its_potentials_asks_for_them() -> None:
    with pytest.raises(EngineError, match="set SABATIER_QE_POTENTIALS to the folder"):
        engine_for(level("qe-pbe"), locations={"quantum-espresso": EngineLocation("true")})
    with pytest.raises(EngineError, match="set SABATIER_VASP_COMMAND, such as"):
        engine_for(level("vasp-oc20"))


def test_where_an_engine_is_not_its_potentials_exclude_nothing() -> None:
    assert computable_elements(level("emt")) == engine_for(level("emt")).elements(level("emt"))
    assert "Ru" in computable_elements(level("vasp-oc20"))
    assert "Ru" in computable_elements(level("beef-vdw-co"))


def test_elements_without_a_potential_are_named() -> None:
    emt, engine = level("emt"), engine_for(level("emt"))
    assert unsupported_elements(engine, emt, ["Cu", "Ru", "Fe", "O"]) == ["Fe", "Ru"]
    with pytest.raises(EngineError, match="emt has no potential for Fe, Ru") as caught:
        require_elements(engine, emt, ["Ru", "Fe"])
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_checksums_that_nobody_can_compare_are_refused() -> None:
    pinned = changed("emt", potentials=Potentials("of-mine", checksums={"Cu": "0" * 16}))
    with pytest.raises(EngineError, match=r"potential of Cu has .* shows no file to compare"):
        require_checksums(engine_for(level("emt")), pinned, ["Cu"])


def test_a_potential_that_cannot_be_read_is_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "Cu.RPBE.gz").write_bytes(b"no archive")
    with pytest.raises(EngineError, match=r"Cu.RPBE.gz cannot be read") as caught:
        content_sha256(tmp_path / "Cu.RPBE.gz")
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_a_level_of_emt_states_nothing_that_emt_has_not() -> None:
    kpoints = level("gpaw-rpbe").require_calculation().kpoints
    with pytest.raises(UserError, match="engine emt does not read kpoints, which level emt states"):
        engine_for(changed("emt", kpoints=kpoints))


@pytest.mark.parametrize(
    ("name", "parts", "rule"),
    [
        ("gpaw-rpbe", {"dispersion": "D3"}, "gpaw computes dispersion none; .* states D3"),
        ("gpaw-rpbe", {"basis": None}, "gpaw needs basis, which level gpaw-rpbe leaves out"),
        ("gpaw-rpbe", {"keywords": {"charge": 1.0}}, "keywords of gpaw must not be charge"),
        ("qe-pbe", {"keywords": {"scf_must_converge": False}}, "must not be scf_must_converge"),
        ("qe-pbe", {"energy_key": "energy"}, "write energy_key: free_energy"),
        ("vasp-oc20", {"keywords": {"NELECT": 40}}, "must not be nelect"),
        ("gpaw-rpbe", {"basis": Basis(400.0, 1600.0)}, "gpaw does not read basis.density_cutoff"),
        ("gpaw-rpbe", {"potentials": Potentials("mine", kinds={"H": "_h"})}, "potentials.kinds"),
        ("vasp-oc20", {"basis": Basis(400.0, 1600.0)}, "vasp does not read basis.density_cutoff"),
        ("vasp-oc20", {"basis": Basis(400.0, grid_ang=0.2)}, "vasp does not read basis.grid_ang"),
        ("qe-pbe", {"basis": Basis(400.0, grid_ang=0.2)}, "does not read basis.grid_ang, which"),
        ("qe-pbe", {"basis": Basis(400.0, name="DZVP")}, "does not read basis.name, which"),
        ("emt", {"spin": Spin("magnetic-elements", {"Ni": 1.0})}, "emt does not read spin"),
        ("emt", {"dispersion": "D3", "dipole": "asymmetric"}, "not read dipole, dispersion"),
        (
            "vasp-oc20",
            {
                "smearing": replace(
                    level("qe-pbe").require_calculation().smearing, kind="marzari-vanderbilt"
                )
            },  # type: ignore[type-var]
            "vasp smears by fermi-dirac",
        ),
    ],
)
def test_a_level_that_an_engine_cannot_compute_as_written_is_refused(
    name: str, parts: dict[str, Any], rule: str
) -> None:
    with pytest.raises(UserError, match=rule):
        engine_for(changed(name, **parts))


def test_shipped_levels_state_what_their_engine_reads() -> None:
    refused = {}
    for theory in shipped_levels():
        try:
            check_level(theory)
        except UserError as fault:
            refused[theory.name] = str(fault)
    assert refused == {}


def test_a_functional_without_translation_is_refused() -> None:
    with pytest.raises(UserError, match=r"computes BEEF-vdW, PBE, .* states SCAN"):
        engine_for(replace(level("gpaw-rpbe"), functional="SCAN"))


def test_a_version_outside_of_the_levels_bounds_is_refused() -> None:
    with pytest.raises(EngineError, match=r"computed with emt >=99, found \d") as caught:
        engine_for(changed("emt", engine_version=">=99"))
    assert caught.value.kind is FailureKind.NOT_INSTALLED
    with pytest.raises(UserError, match=r"bounds such as >=26.7,<27; got 'new'"):
        engine_for(changed("emt", engine_version="new"))
    with pytest.raises(UserError, match=r"bounds such as >=26.7,<27; got '>=999,new'"):
        engine_for(changed("emt", engine_version=">=999,new"))


@pytest.mark.parametrize(
    ("error", "words", "kind"),
    [
        (MemoryError(), "", FailureKind.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), "", FailureKind.OUT_OF_MEMORY),
        (subprocess.CalledProcessError(-9, "pw.x"), "", FailureKind.KILLED),
        (subprocess.CalledProcessError(137, "sh"), "", FailureKind.KILLED),
        (subprocess.CalledProcessError(-9, "x"), "oom-kill event", FailureKind.OUT_OF_MEMORY),
        (RuntimeError(""), "CANCELLED AT 12:00 DUE TO TIME LIMIT", FailureKind.WALL_LIMIT),
        (FloatingPointError("overflow"), "", FailureKind.NUMERICAL),
        (KeyError("x"), "", FailureKind.ENGINE),
    ],
)
def test_exceptions_and_last_words_tell_the_class(
    error: Exception, words: str, kind: FailureKind
) -> None:
    assert kind_of(error, words) is kind


class OwnEngine:
    """The least that a user's engine has to be."""

    version = "2.1"

    def calculator(self, atoms: Any, level: LevelOfTheory, folder: Path) -> EMT:
        return EMT()

    def check_level(self, level: LevelOfTheory) -> None:
        if level.functional != "mine":
            raise UserError("my engine computes mine")


class HalfAnEngine:
    calculator: ClassVar = EMT


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "own": EntryPoint("own", f"{__name__}:OwnEngine", plugin.GROUP),
        "half": EntryPoint("half", f"{__name__}:HalfAnEngine", plugin.GROUP),
        "gone": EntryPoint("gone", "no_such_package:engine", plugin.GROUP),
    }
    monkeypatch.setattr(plugin, "_found", lambda: points)
    here = {"OwnEngine": OwnEngine, "HalfAnEngine": HalfAnEngine}
    load = EntryPoint.load
    monkeypatch.setattr(EntryPoint, "load", lambda point: here.get(point.attr) or load(point))


@pytest.mark.usefixtures("installed")
def test_an_engine_of_ones_own_computes_its_level() -> None:
    own = replace(level("emt"), name="own-level", engine="own", functional="mine")
    engine = engine_for(own)
    assert engine_names() == (*NAMES, "gone", "half", "own")
    assert (engine.name, engine.version()) == ("own", "2.1")
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    assert compute(slab, own, engine).energy_ev == pytest.approx(
        compute(slab, level("emt"), engine_for(level("emt"))).energy_ev
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("own", "my engine computes mine"),
        ("half", "needs a method check_level"),
        ("gone", "cannot be imported"),
    ],
)
def test_an_engine_of_ones_own_that_cannot_is_refused(name: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        engine_for(replace(level("emt"), name="another", engine=name))
