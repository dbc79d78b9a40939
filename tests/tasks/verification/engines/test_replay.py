"""A table of known energies behind the engine protocol: the product finds what the table says."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import add_adsorbate, molecule
from support.enumeration.crystals import metal_slab

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Potentials
from tasks.verification.engines import (
    EngineError,
    EngineLocation,
    FailureKind,
    computable_elements,
    engine_for,
)
from tasks.verification.engines.replay import (
    TabulatedEnergy,
    energy_id,
    write_energy_table,
)
from tasks.verification.inputs.sampling import boxed
from tasks.verification.labels.energies import MemoryCache
from tasks.verification.labels.verify import RelaxedGeometries, VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.compute import compute

BASE = level("emt")
PLACED = replace(BASE.require_calculation(), mode="single_point", geometry="as-placed")
EMT = replace(BASE, name="emt-as-placed", calculation=PLACED)
METALS = ("Cu", "Pt", "Pd")


def slab(metal: str) -> Atoms:
    return metal_slab(metal)


def adslab(metal: str, name: str = "O") -> Atoms:
    atoms = slab(metal)
    add_adsorbate(atoms, name, 1.3, "fcc")
    atoms.set_tags([0] * 8 + [1] * 4 + [2])
    return atoms


def verified(metal: str, at: LevelOfTheory, path: Path | None = None) -> VerifiedEnergy:
    locations = {"replay": EngineLocation(potentials=str(path))} if path else None
    engine = engine_for(at, locations=locations)
    both = adslab(metal), slab(metal)
    placed = None if path else RelaxedGeometries(*both)
    return verify_adslab(*both, adsorbate("O"), at, MemoryCache(), engine, relaxed=placed)


def replayed(path: Path) -> LevelOfTheory:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    potentials = Potentials("t", checksums={"table": checksum})
    calculation = replace(PLACED, geometry="", potentials=potentials)
    return replace(EMT, name="again", engine="replay", calculation=calculation)


def adsorption(metal: str, energy_ev: float) -> list[TabulatedEnergy]:
    """Return an adslab at its adsorption energy and its slab at zero."""
    return [TabulatedEnergy(adslab(metal), energy_ev), TabulatedEnergy(slab(metal), 0.0)]


def gases() -> list[Atoms]:
    """Return the gas molecules that EMT's references are counted from, in their boxes."""
    return [boxed(molecule(name), None) for name in EMT.reference.molecules]


def of_emt() -> Iterator[TabulatedEnergy]:
    """Yield the total energies that EMT has of a few adslabs, their slabs and their gases."""
    engine = engine_for(EMT)
    for metal in METALS:
        for atoms in (slab(metal), adslab(metal)):
            yield TabulatedEnergy(atoms, compute(atoms, EMT, engine).energy_ev)
    gas = dict(verified("Cu", EMT).references)
    yield from (
        TabulatedEnergy(atoms, gas.get(name, 0.0))
        for name, atoms in zip(EMT.reference.molecules, gases(), strict=True)
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_energy_table(tmp_path / "known.parquet", of_emt())
    return tmp_path / "known.parquet"


def test_replayed_energies_are_those_that_were_calculated(table: Path) -> None:
    for metal in METALS:
        first, again = verified(metal, EMT), verified(metal, replayed(table), table)
        assert again.energy_ev == pytest.approx(first.energy_ev, abs=1e-12)
        assert again.e_slab_ev == first.e_slab_ev
        assert again.trainable == first.trainable


def test_adsorption_energies_alone_come_out_as_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "known.parquet"
    zeros = [TabulatedEnergy(gas, 0.0) for gas in gases()]
    write_energy_table(path, [*adsorption("Cu", -1.25), *zeros])
    assert verified("Cu", replayed(path), path).energy_ev == -1.25


def test_a_structure_that_is_not_known_is_refused_by_name(table: Path) -> None:
    at, engine = (
        replayed(table),
        engine_for(replayed(table), locations={"replay": EngineLocation(potentials=str(table))}),
    )
    moved = adslab("Cu")
    moved.positions[-1, 2] += 0.05
    with pytest.raises(EngineError, match="has no energy of Cu12O as it is placed") as caught:
        compute(moved, at, engine)
    assert caught.value.kind is FailureKind.BAD_INPUT


def test_another_table_is_another_level(table: Path, tmp_path: Path) -> None:
    at, other = replayed(table), tmp_path / "other.parquet"
    write_energy_table(other, [*of_emt(), TabulatedEnergy(slab("Ag"), 1.0)])
    assert replayed(other).level_hash != at.level_hash
    with pytest.raises(EngineError, match="of table has checksum"):
        verified("Cu", at, other)


def test_the_same_energies_are_the_same_file_in_any_order(tmp_path: Path) -> None:
    known = [*adsorption("Cu", 1.0), *adsorption("Pt", 2.0)]
    for name, entries in (("a", known), ("b", known[::-1])):
        write_energy_table(tmp_path / name, entries)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_two_energies_of_one_structure_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one energy, got 1.0 and 2.0 eV of Cu12"):
        write_energy_table(
            tmp_path / "t", [TabulatedEnergy(slab("Cu"), 1.0), TabulatedEnergy(slab("Cu"), 2.0)]
        )


def test_an_id_does_not_see_lattice_shifts_or_where_a_molecule_is() -> None:
    shifted = adslab("Cu")
    shifted.positions += shifted.cell[0]
    assert energy_id(shifted) == energy_id(adslab("Cu"))
    molecules = gases()
    turned = molecules[1].copy()
    turned.rotate(40, "x")
    turned.positions += 3.0
    assert energy_id(turned) == energy_id(molecules[1])
    assert len({energy_id(gas) for gas in molecules}) == len(molecules)


def test_what_a_level_or_a_machine_lacks_is_named(table: Path) -> None:
    at = replayed(table)
    locations = {"replay": EngineLocation(potentials=str(table))}
    relaxing = replace(at, calculation=replace(at.require_calculation(), mode="relaxation"))
    with pytest.raises(UserError, match="no forces, level again states mode: relaxation"):
        engine_for(relaxing, locations=locations)
    with pytest.raises(UserError, match="must state which table it is"):
        engine_for(
            replace(at, calculation=replace(at.require_calculation(), potentials=None)),
            locations=locations,
        )
    with pytest.raises(EngineError, match="set SABATIER_REPLAY_TABLE"):
        engine_for(at)
    assert computable_elements(at, locations) == {*METALS, "C", "H", "N", "O"}


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no table")
    at = replayed(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="Parquet with the columns id, formula, energy_ev"):
        verified("Cu", at, tmp_path / "t.parquet")
