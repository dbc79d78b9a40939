"""GPAW: what it is told, and, where it is installed, what it answers."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, molecule
from support.enumeration.crystals import metal_slab

from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Basis, KPoints, Scf, Smearing
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    Rung,
    computable_elements,
    engine_for,
)
from tasks.verification.engines.dft.gpaw import GpawEngine, gpaw_parameters
from tasks.verification.inputs.sampling import boxed
from tasks.verification.relaxation.compute import compute

LEVEL = level("gpaw-rpbe")
installed = pytest.mark.skipif(
    find_spec("gpaw") is None, reason="GPAW is not installed: pip install 'sabatier[dft]'"
)


def stated(name: str = "gpaw-rpbe", **parts: Any) -> LevelOfTheory:
    theory = level(name)
    return replace(
        theory, name="of-the-test", calculation=replace(theory.require_calculation(), **parts)
    )


def parameters(atoms: Atoms, rung: Rung = Rung.AS_STATED, **parts: Any) -> dict[str, Any]:
    return gpaw_parameters(CalculationJob(atoms, stated(**parts), Path("work"), rung))


def clean(symbol: str = "Cu") -> Atoms:
    return metal_slab(symbol, (1, 1, 3), a=3.69, vacuum=6.0, held=3)


def adslab(symbol: str = "Cu") -> Atoms:
    atoms = clean(symbol)
    add_adsorbate(atoms, "H", 1.0, "fcc")
    atoms.set_tags([*clean().get_tags(), 2])
    return atoms


def test_the_level_is_what_gpaw_is_told() -> None:
    expected = parameters(clean())
    assert expected["mode"] == {"name": "pw", "ecut": 400.0}
    assert expected["xc"] == "RPBE"
    assert expected["h"] == 0.18  # else CO in the gas relaxes on the grid's own ripples
    assert expected["kpts"] == {"size": (14, 14, 1), "gamma": True}
    assert expected["occupations"] == {"name": "fermi-dirac", "width": 0.1}
    assert expected["convergence"]["energy"]["tol"] == 1e-4
    assert "spinpol" not in expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("fermi-dirac", {"name": "fermi-dirac", "width": 0.1}),
        ("marzari-vanderbilt", {"name": "marzari-vanderbilt", "width": 0.1}),
        ("methfessel-paxton", {"name": "methfessel-paxton", "width": 0.1, "order": 1}),
        ("gaussian", {"name": "methfessel-paxton", "width": 0.1, "order": 0}),
    ],
)
def test_a_smearing_means_what_it_means_to_other_programs(
    kind: Any, expected: dict[str, Any]
) -> None:
    assert parameters(clean(), smearing=Smearing(kind, 0.1))["occupations"] == expected


def test_the_order_that_gpaw_is_told_is_part_of_the_level() -> None:
    smeared = stated(smearing=Smearing("methfessel-paxton", 0.1))
    assert smeared._hashed_settings()["added"]["methfessel_paxton_order"] == 1
    assert "methfessel_paxton_order" not in LEVEL._hashed_settings()["added"]


@installed
@pytest.mark.parametrize("kind", ["methfessel-paxton", "gaussian", "marzari-vanderbilt"])
def test_gpaw_knows_its_smearings(kind: Any) -> None:
    from gpaw.occupations import create_occ_calc

    occupations = parameters(clean(), smearing=Smearing(kind, 0.1))["occupations"]
    assert create_occ_calc(occupations).todict()["width"] == 0.1


def test_spins_and_dipoles_follow_from_the_atoms() -> None:
    assert parameters(clean("Ni"))["spinpol"]
    assert "poissonsolver" not in parameters(clean())
    assert parameters(adslab())["poissonsolver"] == {"dipolelayer": "xy"}
    assert "poissonsolver" not in parameters(boxed(molecule("CO"), 5.0))


def test_a_slab_is_open_along_c_and_a_molecule_is_not() -> None:
    assert GpawEngine().prepared(clean()).pbc.tolist() == [True, True, False]
    assert GpawEngine().prepared(boxed(molecule("CO"), 5.0)).pbc.all()


def test_gentle_mixing_changes_how_and_not_what() -> None:
    plain, gentle = parameters(adslab()), parameters(adslab(), Rung.GENTLE_MIXING)
    assert {key for key in gentle if gentle[key] != plain.get(key)} == {"mixer", "maxiter"}


class KohnShamConvergenceError(Exception):
    """As GPAW names the exception that has no message."""


def test_its_exceptions_are_classes_of_failure(tmp_path: Path) -> None:
    (tmp_path / "gpaw.txt").write_text("iter: 200 09:00:00 -3.7 log10\n")
    stuck = GpawEngine().failure(KohnShamConvergenceError(), tmp_path)
    assert stuck.kind is FailureKind.SCF_NOT_CONVERGED
    assert "iter: 200" in str(stuck)
    lost = FileNotFoundError('Could not find required PAW dataset file "Po.RPBE".')
    missing = GpawEngine().failure(lost, tmp_path)
    assert missing.kind is FailureKind.MISSING_POTENTIAL
    assert "no setup Po.RPBE" in str(missing)
    other = GpawEngine().failure(FileNotFoundError("No such file: 'mpirun'"), tmp_path)
    assert other.kind is FailureKind.ENGINE


def test_setups_are_those_of_the_functional_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Cu.RPBE", "Cu.PBE", "H.PBE", "Cu.11.RPBE", "Cu.RPBE.basis"):
        (tmp_path / name).write_text(f"<setup {name}>")
    engine = GpawEngine(EngineLocation(potentials=str(tmp_path)))
    assert engine.elements(LEVEL) == {"Cu"}
    assert engine.elements(level("gpaw-pbe-fast")) == {"Cu", "H"}
    with pytest.raises(EngineError, match=r"potential of Cu has checksum dca2.*; found"):
        compute(clean(), LEVEL, engine)


def test_where_gpaw_is_not_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.verification.engines.dft.gpaw.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'sabatier\[dft\]'") as caught:
        engine_for(LEVEL)
    assert caught.value.kind is FailureKind.NOT_INSTALLED
    assert "Ru" in computable_elements(LEVEL)


def test_another_version_than_the_levels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpaw", ModuleType("gpaw"))
    monkeypatch.setattr("tasks.verification.engines.dft.gpaw.find_spec", lambda name: name)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "22.8.0")
    with pytest.raises(EngineError, match=r"with gpaw >=26.7,<27, found 22.8.0"):
        engine_for(LEVEL)


@installed
def test_its_setups_are_those_of_the_shipped_levels() -> None:
    for name, count in (("gpaw-pbe-fast", 83), ("gpaw-rpbe", 68)):
        theory = level(name)
        engine = engine_for(theory)
        assert len(engine.elements(theory)) == count
        potentials = theory.require_calculation().potentials
        assert potentials is not None
        for symbol, found in engine.checksums(theory, ["H", "Cu", "Pt"]).items():
            assert found.startswith(potentials.checksums[symbol])


@installed
def test_electrons_that_never_converge_are_tried_three_times() -> None:
    hasty = stated(basis=Basis(200.0, grid_ang=0.25), scf=Scf(1e-4, max_steps=1))
    with pytest.raises(EngineError, match="in 3 tries") as caught:
        compute(boxed(molecule("H2"), 2.5), hasty, engine_for(hasty))
    assert [t.kind for t in caught.value.tries] == [FailureKind.SCF_NOT_CONVERGED] * 3


@installed
def test_a_smeared_start_ends_at_the_same_energy(tmp_path: Path) -> None:
    coarse = stated(basis=Basis(200.0, grid_ang=0.25), kpoints=KPoints(10.0))
    engine, energies = engine_for(coarse), []
    for number, rung in enumerate((Rung.AS_STATED, Rung.SMEARED_START)):
        folder = tmp_path / str(number)
        folder.mkdir()
        atoms = bulk("Al")
        atoms.calc = engine.calculator(CalculationJob(atoms.copy(), coarse, folder, rung))
        # the free energy: that of the start's wider smearing is another
        energies.append(atoms.get_potential_energy(force_consistent=True))
    assert energies[1] == pytest.approx(energies[0], abs=1e-3)
