"""DIEP for real: its weights come with its package."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.constraints import FixAtoms

from tasks.enumeration import adsorbate
from tasks.levels import level
from tasks.structures.identity import slab_id
from tasks.verification.engines import EngineLocation, engine_for
from tasks.verification.engines.failures import EngineError, FailureKind
from tasks.verification.labels.energies import EnergyKey, MemoryCache
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook

pytestmark = pytest.mark.medium
LEVEL = level("diep-r2scan")


def slab(metal: str, adsorbate: str = "") -> Atoms:
    made = fcc111(metal, (2, 2, 3), vacuum=8.0)
    if adsorbate:
        add_adsorbate(made, adsorbate, 1.0, "fcc")
    layers = made.get_tags()
    made.set_tags([{0: 2, 1: 1}.get(layer, 0) for layer in layers])
    made.set_constraint(FixAtoms(mask=layers > 1))
    return made


def test_hydrogen_binds_in_the_order_of_the_published_energies() -> None:
    """Hammer and Norskov 2000: nickel before platinum before copper, all by 0.1 to 0.8 eV."""
    engine = engine_for(LEVEL)
    gas = molecule("H2", tags=[2, 2])
    gas.center(8.0)
    half_h2_ev = compute(gas, LEVEL, engine).energy_ev / 2
    bound_ev = [
        compute(slab(metal, "H"), LEVEL, engine).energy_ev
        - compute(slab(metal), LEVEL, engine).energy_ev
        - half_h2_ev
        for metal in ("Ni", "Pt", "Cu")
    ]
    assert (np.diff(bound_ev) > 0.05).all()
    assert bound_ev[0] > -0.8
    assert bound_ev[-1] < -0.1


def test_clean_platinum_ends_although_its_forces_spike() -> None:
    assert compute(slab("Pt"), LEVEL, engine_for(LEVEL)).converged


def test_the_same_structure_has_the_same_energy() -> None:
    first, second = (compute(slab("Cu", "H"), LEVEL, engine_for(LEVEL)) for _ in range(2))
    assert first.energy_ev == pytest.approx(second.energy_ev, abs=1e-6)


def verified(max_steps: int, two_start_share: float) -> VerifiedEnergy:
    """Return oxygen on copper at a level that states these two; its references are given."""
    stated = LEVEL.require_calculation()
    calculation = replace(
        stated,
        relaxation=replace(stated.relaxation, max_steps=max_steps),
        checks=replace(stated.checks, two_start_share=two_start_share),
    )
    own, cache, clean = (
        replace(LEVEL, name="own", calculation=calculation),
        MemoryCache(),
        slab("Cu"),
    )
    cache.put(EnergyKey("slab", slab_id(clean), own.level_hash), -48.0)
    for gas in ("H2O", "H2"):
        cache.put(EnergyKey("gas", gas, own.level_hash), -10.0)
    book = Logbook(item="0" * 64)
    return verify_adslab(
        slab("Cu", "O"), clean, adsorbate("O"), own, cache, engine_for(own), book=book
    )


def test_an_end_at_the_step_limit_is_a_flagged_energy() -> None:
    done = verified(max_steps=1, two_start_share=1.0)
    assert "ions_not_converged" in {flag.name for flag in done.flags}
    assert (done.converged, done.trainable, done.two_start_ev) == (False, False, None)
    assert np.isfinite(done.energy_ev)


def test_a_second_start_ends_at_the_same_energy() -> None:
    """Its energy is discontinuous by about 10 meV, and a hollow of copper has one minimum."""
    done = verified(max_steps=300, two_start_share=1.0)
    assert done.converged
    assert done.two_start_ev == pytest.approx(0.0, abs=0.05)
    assert "not_reproducible" not in {flag.name for flag in done.flags}


def test_an_element_that_it_never_saw_is_named() -> None:
    unseen = slab("Cu")
    unseen[0].symbol = "Po"
    with pytest.raises(EngineError, match="engine diep has no potential for Po") as caught:
        compute(unseen, LEVEL, engine_for(LEVEL))
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_other_weights_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, shipped = tmp_path_factory.mktemp("model"), engine_for(LEVEL)._folder()  # type: ignore[attr-defined]  # of DIEP alone
    for file in shipped.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "state.pt").write_bytes(b"other weights")
    engine = engine_for(LEVEL, locations={"diep": EngineLocation(potentials=str(folder))})
    with pytest.raises(EngineError, match="of model has checksum e9665357"):
        compute(slab("Cu"), LEVEL, engine)


def test_a_folder_without_a_model_is_named() -> None:
    with pytest.raises(EngineError, match="unset SABATIER_DIEP_MODEL"):
        engine_for(LEVEL, locations={"diep": EngineLocation(potentials="nowhere")})
