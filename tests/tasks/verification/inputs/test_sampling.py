"""What of an input follows from the atoms, and what atoms are not computed at all."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, fcc111, molecule

from tasks.levels import level
from tasks.levels.calculation import KPoints, Spin
from tasks.verification.engines import EngineError, FailureKind, engine_for
from tasks.verification.inputs.free_molecule import free_molecule
from tasks.verification.inputs.sampling import (
    as_crystal,
    boxed,
    gamma_centred,
    is_slab,
    kpoint_mesh,
    needs_dipole,
    start_moments,
    vacuum_ang,
    vacuum_middle,
)
from tasks.verification.relaxation.admission import (
    admit,
    require_apart,
    require_magnetic_order,
    require_neutral,
    require_spins,
    require_vacuum,
)

RULE = KPoints(30.0)
OC20 = KPoints(40.0, along="lattice", rounding="nearest")
SPIN = Spin("magnetic-elements", {"Fe": 3.0, "Ni": 1.0})


def slab(symbol: str = "Cu", size: tuple[int, int, int] = (1, 1, 3)) -> Atoms:
    atoms = fcc111(symbol, size, vacuum=8.0)
    atoms.pbc = True
    return atoms


def with_oxygen(atoms: Atoms) -> Atoms:
    both = atoms.copy()
    add_adsorbate(both, "O", 1.2, "fcc")
    return both


def test_a_cell_twice_as_wide_gets_half_the_k_points() -> None:
    one, two = slab(), slab(size=(2, 2, 3))
    assert kpoint_mesh(one, RULE) == (14, 14, 1)
    assert kpoint_mesh(two, RULE) == (7, 7, 1)


def test_k_points_count_from_the_planes_and_not_from_slanted_edges() -> None:
    one, slanted = slab(), slab()
    shear_33 = np.zeros((3, 3))
    shear_33[1] = 2 * one.cell.array[0]
    slanted.set_cell(slanted.cell.array + shear_33)
    assert kpoint_mesh(slanted, RULE)[1] == kpoint_mesh(one, RULE)[1]


def test_a_crystal_of_layers_is_no_slab_and_needs_no_vacuum() -> None:
    layers = Atoms("Cu2", positions=[(0, 0, 0), (1.3, 1.3, 1.8)], cell=[2.6, 2.6, 7.8], pbc=True)
    assert is_slab(layers)
    crystal = as_crystal(layers)
    assert not is_slab(crystal)
    assert kpoint_mesh(crystal, RULE) == (12, 12, 4)
    emt = level("emt")
    stated = replace(
        emt.require_calculation(),
        checks=replace(emt.require_calculation().checks, min_vacuum_ang=8.0),
    )
    admit(crystal, replace(emt, calculation=stated), engine_for(emt))


def test_the_vacuum_gets_one_k_point_however_short_the_cell_is_there() -> None:
    assert kpoint_mesh(fcc111("Cu", (2, 2, 2), vacuum=3.0, periodic=True), RULE)[2] == 1
    assert kpoint_mesh(bulk("Cu"), RULE)[2] > 1


def test_oc20_divides_by_the_edges_and_rounds() -> None:
    edge = float(slab(size=(3, 3, 3)).cell.lengths()[0])
    assert kpoint_mesh(slab(size=(3, 3, 3)), OC20) == (round(40 / edge), round(40 / edge), 1)


def test_a_molecule_in_a_box_has_one_k_point_and_no_slab() -> None:
    gas = boxed(molecule("CO"), 5.0)
    assert gas.pbc.all()
    assert kpoint_mesh(gas, RULE) == (1, 1, 1)
    assert not is_slab(gas)
    assert boxed(molecule("CO"), None).cell.rank == 0


@pytest.mark.parametrize(("atoms", "hexagonal"), [(slab(), True), (fcc100("Cu", (1, 1, 3)), False)])
def test_meshes_of_hexagonal_cells_hold_gamma(atoms: Atoms, hexagonal: bool) -> None:
    atoms.center(vacuum=8.0, axis=2)
    assert gamma_centred(atoms, replace(RULE, gamma="hexagonal")) is hexagonal
    assert gamma_centred(atoms, RULE)


def test_magnetic_elements_start_magnetised_and_others_do_not() -> None:
    alloy = slab()
    alloy.symbols[0] = "Ni"
    np.testing.assert_array_equal(start_moments(alloy, SPIN), [1.0, 0.0, 0.0])
    assert not start_moments(slab(), SPIN).any()
    assert not start_moments(alloy, Spin("none", {"Ni": 1.0})).any()


def test_a_radical_in_the_gas_has_a_free_spin_and_oxygen_two() -> None:
    radical = Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.97]])
    assert start_moments(boxed(radical, 5.0), SPIN).sum() == 1.0
    assert start_moments(boxed(molecule("O2"), 5.0), SPIN).sum() == 2.0
    assert start_moments(boxed(molecule("H2O"), 5.0), SPIN).sum() == 0.0


@pytest.mark.parametrize(
    ("name", "start", "moments"),
    [
        ("O", Atoms("O"), [2.0]),
        ("C", Atoms("C"), [2.0]),
        ("NH", Atoms("NH", [[0, 0, 0], [0, 0, 1]]), [2.0, 0.0]),
        ("NH", Atoms("HN", [[0, 0, 0], [0, 0, 1]]), [0.0, 2.0]),  # G2 has nitrogen first
        ("oxygen", molecule("O2"), [1.0, 1.0]),  # by its formula
        ("CH2", molecule("CH2_s1A1d"), [2.0, 0.0, 0.0]),  # the ground state is the triplet
        ("CH3", molecule("CH3"), [1.0, 0.0, 0.0, 0.0]),
        ("HO2", Atoms("OOH", [[0, 0, 0], [0, 0, 1.3], [0, 0, 2.3]]), [1.0, 0.0, 0.0]),
        ("H2O", molecule("H2O"), [0.0, 0.0, 0.0]),
        ("C2", Atoms("C2", [[0, 0, 0], [0, 0, 1.2]]), [0.0, 0.0]),  # not in G2
    ],
)
def test_a_molecule_that_is_its_own_reference_starts_with_the_spins_of_g2(
    name: str, start: Atoms, moments: list[float]
) -> None:
    gas = boxed(free_molecule(name, start), 5.0)
    np.testing.assert_allclose(start_moments(gas, SPIN), moments)


@pytest.mark.parametrize("name", ["O", "CH3", "O2", "NH"])
def test_unpaired_electrons_are_refused_where_spins_are_not_free(name: str) -> None:
    gas = boxed(free_molecule(name, molecule(name)), 5.0)
    with pytest.raises(EngineError, match=rf"{name[0]}.* has [12] and level vasp-oc20") as caught:
        require_spins(gas, level("vasp-oc20"))
    assert caught.value.kind is FailureKind.BAD_INPUT
    require_spins(gas, level("gpaw-rpbe"))
    require_spins(gas, level("emt"))  # has no electrons
    require_spins(boxed(molecule("CO"), 5.0), level("vasp-oc20"))


def test_asymmetric_slabs_get_a_dipole_correction_and_others_do_not() -> None:
    stated = level("gpaw-rpbe").require_calculation()
    assert needs_dipole(with_oxygen(slab()), stated)
    assert not needs_dipole(slab(), stated)
    assert not needs_dipole(boxed(molecule("CO"), 5.0), stated)
    assert not needs_dipole(with_oxygen(slab()), level("vasp-oc20").require_calculation())
    one_side = slab()
    one_side.symbols[2] = "Pt"
    assert needs_dipole(one_side, stated)


def test_an_asymmetric_slab_is_so_wherever_it_lies_in_its_cell() -> None:
    lifted = slab()
    lifted.positions[:, 2] += 6.0  # wraps
    assert not needs_dipole(lifted, level("gpaw-rpbe").require_calculation())
    assert vacuum_middle(slab()) == pytest.approx(0.0, abs=1e-9)


def test_the_vacuum_is_the_widest_gap_and_a_crystal_has_none() -> None:
    assert vacuum_ang(slab()) == pytest.approx(16.0)
    assert vacuum_ang(bulk("Cu", cubic=True)) < 2.0


def refusal(atoms: Atoms) -> EngineError:
    emt = level("emt")
    with pytest.raises(EngineError) as caught:
        admit(atoms, emt, engine_for(emt))
    return caught.value


def test_a_charged_cell_is_refused() -> None:
    charged = slab()
    charged.set_initial_charges([1.0, 0.0, 0.0])
    with pytest.raises(EngineError, match=r"must be neutral, got charge \+1 e"):
        require_neutral(charged)
    stated = slab()
    stated.info["charge"] = -1
    assert refusal(stated).kind is FailureKind.BAD_INPUT


def test_overlapping_atoms_are_refused_also_across_the_border() -> None:
    atoms = with_oxygen(slab())
    atoms.positions[-1] = atoms.positions[-2] + [0, 0, 0.5]
    with pytest.raises(EngineError, match=r"Cu 2 and O 3 are 0.50 Å; move one"):
        require_apart(atoms, 0.5)
    atoms.positions[-1] += atoms.cell[0]
    assert "0.50 Å" in str(refusal(atoms))
    require_apart(molecule("H2"), 0.5)


def test_a_slab_without_vacuum_is_refused() -> None:
    thin = fcc111("Cu", (1, 1, 3), vacuum=2.0, periodic=True)
    with pytest.raises(EngineError, match=r"needs 5 Å of vacuum along c, got 4.0 Å"):
        require_vacuum(thin, 5.0)
    assert refusal(thin).kind is FailureKind.BAD_INPUT


def test_a_missing_potential_is_refused_by_name() -> None:
    assert refusal(slab("Ir")).kind is FailureKind.MISSING_POTENTIAL


@pytest.mark.parametrize(
    ("symbols", "tags", "refused"),
    [
        ("NiO", [0, 0], True),  # a slab of the oxide
        ("NiO", [0, 2], False),  # oxygen on nickel
        ("CuO", [0, 0], False),  # copper starts without a moment
        ("NiFe", [0, 0], False),
    ],
)
def test_a_magnetic_compound_needs_a_stated_order(
    symbols: str, tags: list[int], refused: bool
) -> None:
    slab = Atoms(symbols, positions=[[0, 0, 0], [0, 0, 2]], cell=[3, 3, 20], pbc=True, tags=tags)
    stated = level("gpaw-rpbe")
    if not refused:
        require_magnetic_order(slab, stated)
        return
    with pytest.raises(EngineError, match="starts all Ni with one moment, a ferromagnet"):
        require_magnetic_order(slab, stated)
    how = stated.require_calculation()
    meant = replace(how, spin=replace(how.spin, order="ferromagnetic"))
    require_magnetic_order(slab, replace(stated, calculation=meant))


def test_an_order_is_hashed_and_its_absence_is_not() -> None:
    stated = level("gpaw-rpbe")
    how = stated.require_calculation()
    assert "order" not in stated._hashed_settings()["spin"]
    meant = replace(how, spin=replace(how.spin, order="ferromagnetic"))
    assert replace(stated, calculation=meant).level_hash != stated.level_hash
