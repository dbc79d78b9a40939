"""Density functional theory through the product, from gas references to a label, where GPAW is.

A full monolayer on three held layers with six k-points along each axis: these are tests of the way,
and of what no mesh of that size gets wrong. They converge nothing.
"""

from dataclasses import replace
from importlib.util import find_spec

import pytest
from ase import Atoms
from ase.build import add_adsorbate
from support.enumeration.crystals import metal_slab

from tasks.enumeration import adsorbate
from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Basis, KPoints, RelaxSettings, Scf
from tasks.verification.engines import engine_for
from tasks.verification.labels.energies import EnergyKey, MemoryCache
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.skipif(
        find_spec("gpaw") is None, reason="GPAW is not installed: pip install 'sabatier[dft]'"
    ),
]
LATTICE_ANG = {"Al": 4.05, "Cu": 3.69}


def small_level() -> LevelOfTheory:
    """Return RPBE as cheap as it runs in a test; of a name of its own, as any other settings."""
    shipped = level("gpaw-rpbe")
    quick = replace(
        shipped.require_calculation(),
        basis=Basis(350.0, grid_ang=0.18),
        kpoints=KPoints(13.2),  # six along each axis, for both metals
        scf=Scf(1e-3, max_steps=200),
        relaxation=RelaxSettings("BFGS", 0.05, 100),
    )
    return replace(shipped, name="of-the-test", calculation=quick)


def clean(metal: str) -> Atoms:
    """Return three held layers in the smallest cell, tags 0 below and 1 on top."""
    return metal_slab(metal, (1, 1, 3), a=LATTICE_ANG[metal], vacuum=6.0, held=3)


def verified(metal: str, cache: MemoryCache) -> VerifiedEnergy:
    """Verify hydrogen in the fcc hollow."""
    slab, adslab = clean(metal), clean(metal)
    add_adsorbate(adslab, "H", 0.85, "fcc")
    adslab.set_tags([*slab.get_tags(), 2])
    return verify_adslab(adslab, slab, adsorbate("H"), small_level(), cache)


@pytest.fixture(scope="module")
def cache() -> MemoryCache:
    """Keep references over both metals, as a database does."""
    return MemoryCache()


@pytest.fixture(scope="module")
def on_copper(cache: MemoryCache) -> VerifiedEnergy:
    """Give the label of hydrogen on copper."""
    return verified("Cu", cache)


def test_hydrogen_on_copper_is_a_label(on_copper: VerifiedEnergy) -> None:
    assert on_copper.trainable
    assert on_copper.flags == ()
    assert not on_copper.site_changed
    assert on_copper.fmax_ev_ang <= 0.05
    assert on_copper.energy_ev == pytest.approx(0.09, abs=0.05)
    assert on_copper.free_energy_ev is not None
    assert on_copper.free_energy_ev < on_copper.e_adslab_ev  # extrapolated to zero smearing


def test_its_energy_is_the_difference_of_what_was_computed(
    on_copper: VerifiedEnergy, cache: MemoryCache
) -> None:
    ((molecule, gas_ev),) = on_copper.references
    assert molecule == "H2"
    assert gas_ev == cache.get(EnergyKey("gas", "H2", on_copper.level_hash))
    assert on_copper.reference_ev == pytest.approx(gas_ev / 2)
    assert on_copper.energy_ev == pytest.approx(
        on_copper.e_adslab_ev - on_copper.e_slab_ev - gas_ev / 2
    )


def test_aluminium_binds_hydrogen_more_weakly_than_copper(
    on_copper: VerifiedEnergy, cache: MemoryCache
) -> None:
    """It has no d band; effective medium theory says the contrary."""
    on_aluminium = verified("Al", cache)
    assert on_aluminium.trainable
    assert on_aluminium.energy_ev > on_copper.energy_ev + 0.2
    assert on_aluminium.references == on_copper.references  # computed once for both


def test_the_engine_is_of_a_version_that_the_level_admits() -> None:
    assert engine_for(small_level()).version().startswith("26.")
