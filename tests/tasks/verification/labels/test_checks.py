from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate
from ase.constraints import FixAtoms
from support.enumeration.crystals import metal_slab

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import level
from tasks.structures.identity import candidate_ids, require_stored_ids, slab_id
from tasks.verification.engines import EngineError, engine_for
from tasks.verification.labels.checks import CheckLimits, Flag, check, left_site, limits_of
from tasks.verification.labels.energies import EnergyKey, MemoryCache, gas_energy, slab_energy
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab


def clean(symbol: str = "Cu") -> Atoms:
    return metal_slab(symbol, vacuum=9.0)


def adslab(name: str = "CO", site: str = "ontop", height: float = 1.85) -> Atoms:
    atoms = clean()
    species = adsorbate(name)
    add_adsorbate(atoms, species.atoms.copy(), height, site, mol_index=species.binding[0])
    atoms.set_tags([*clean().get_tags(), *([2] * len(species.atoms))])
    return atoms


def names(start: Atoms, relaxed: Atoms, energy_ev: float = -1.0, fmax: float = 1.0) -> list[str]:
    limits = CheckLimits()
    flags = check(start, relaxed, energy_ev=energy_ev, initial_fmax_ev_ang=fmax, limits=limits)
    return [flag.name for flag in flags]


def moved(atoms: Atoms, index: int, shift: tuple[float, float, float]) -> Atoms:
    changed = atoms.copy()
    changed.positions[index] += shift
    return changed


def test_an_adsorbate_that_stays_raises_no_flag() -> None:
    assert names(adslab(), adslab()) == []


def test_an_adsorbate_that_floats_away_has_desorbed() -> None:
    assert names(adslab(), adslab(height=3.4)) == ["desorbed"]


def test_a_broken_bond_is_a_dissociation() -> None:
    assert "dissociated" in names(adslab(), moved(adslab(), -1, (1.5, 0.0, -0.5)))


def test_a_bond_across_the_cell_border_is_still_a_bond() -> None:
    start = adslab()
    wrapped = start.copy()
    wrapped.positions[-1] += start.cell[0]
    assert names(start, wrapped) == []


def test_an_atom_under_the_surface_is_intercalated() -> None:
    start = adslab("O", "fcc", 1.2)
    assert names(start, moved(start, -1, (0.0, 0.0, -2.4))) == ["intercalated"]


def test_a_slab_atom_that_moved_over_an_angstrom_is_a_reconstruction() -> None:
    start = adslab()
    assert names(start, moved(start, 3, (0.0, 0.0, -1.2))) == ["reconstructed"]


def test_energies_and_starting_forces_have_bounds() -> None:
    assert names(adslab(), adslab(), energy_ev=-10.5) == ["energy_out_of_bounds"]
    assert names(adslab(), adslab(), energy_ev=float("nan")) == ["energy_out_of_bounds"]
    assert names(adslab(), adslab(), fmax=25.0) == ["initial_forces"]


def test_a_flag_tells_its_number_and_its_limit() -> None:
    (flag,) = check(
        adslab(), adslab(), energy_ev=12.0, initial_fmax_ev_ang=1.0, limits=CheckLimits()
    )
    assert flag == Flag("energy_out_of_bounds", 12.0, 10.0)


def test_a_level_states_thresholds_of_its_own() -> None:
    assert limits_of(level("emt")) == replace(CheckLimits(), initial_fmax_ev_ang=60.0)
    assert limits_of(level("beef-vdw-co")) == CheckLimits()


HOLLOW, BRIDGE, TOP = ("O", "fcc", 1.2), ("O", "bridge", 1.3), ("O", "ontop", 1.8)


@pytest.mark.parametrize(("before", "after"), list(permutations((HOLLOW, BRIDGE, TOP), 2)))
def test_another_site_touches_other_atoms(
    before: tuple[str, str, float], after: tuple[str, str, float]
) -> None:
    assert left_site(adslab(*before), adslab(*after))


def test_what_floats_away_leaves_its_site() -> None:
    assert left_site(adslab(), adslab(height=3.4))


@pytest.mark.parametrize("shift", [(0.0, 0.2, 0.2), (0.0, 0.0, 0.3), (0.1, -0.1, 0.1)])
def test_what_leans_in_its_hollow_is_still_there(shift: tuple[float, float, float]) -> None:
    """One of its three atoms, or all, are then a breath beyond the limit of a contact."""
    hollow = adslab(*HOLLOW)
    assert not left_site(hollow, moved(hollow, -1, shift))
    assert not left_site(moved(hollow, -1, shift), hollow)


@pytest.fixture(scope="module")
def verified() -> VerifiedEnergy:
    return verify_adslab(adslab(), clean(), adsorbate("CO"), level("emt"), MemoryCache())


def test_a_verified_energy_is_the_sum_of_its_parts(verified: VerifiedEnergy) -> None:
    parts = verified.e_adslab_ev - verified.e_slab_ev - verified.reference_ev
    assert verified.energy_ev == pytest.approx(parts, abs=1e-12)
    assert dict(verified.references)["CO"] == pytest.approx(verified.reference_ev)


def test_a_whole_molecule_on_its_site_is_trainable(verified: VerifiedEnergy) -> None:
    assert verified.level == "emt"
    assert verified.converged
    assert verified.flags == ()
    assert verified.trainable
    assert not verified.site_changed


def test_the_same_input_gives_the_same_energy_with_and_without_a_cache(
    verified: VerifiedEnergy,
) -> None:
    cache = MemoryCache()
    for _ in range(2):
        again = verify_adslab(adslab(), clean(), adsorbate("CO"), level("emt"), cache)
        assert again.energy_ev == verified.energy_ev


def test_a_dissociated_adsorbate_is_kept_flagged_and_not_trained_on() -> None:
    start = adslab("OH", "fcc", 1.3)
    done = verify_adslab(start, clean(), adsorbate("OH"), level("emt"), MemoryCache())
    assert "dissociated" in [flag.name for flag in done.flags]  # EMT's H always leaves O
    assert np.isfinite(done.energy_ev)
    assert not done.trainable


def test_slab_and_gas_energies_are_taken_from_the_cache_of_their_level() -> None:
    emt, engine, cache = level("emt"), engine_for(level("emt")), MemoryCache()
    cache.put(EnergyKey("gas", "H2", emt.level_hash), 42.0)
    assert gas_energy("H2", emt, engine, cache).energy_ev == 42.0
    how = emt.require_calculation()
    tighter = replace(
        emt, calculation=replace(how, relaxation=replace(how.relaxation, fmax_ev_ang=0.01))
    )
    assert gas_energy("H2", tighter, engine, cache).energy_ev < 2.0
    assert slab_energy(clean(), emt, engine, cache) == slab_energy(clean(), emt, engine, cache)


def test_elements_that_the_engine_lacks_are_refused_by_name() -> None:
    slab = clean()
    slab.numbers[:] = 44
    atoms = adslab()
    atoms.numbers[: len(slab)] = 44
    with pytest.raises(EngineError, match="emt has no potential for Ru"):
        verify_adslab(atoms, slab, adsorbate("CO"), level("emt"), MemoryCache())


def test_a_level_of_published_labels_is_refused() -> None:
    with pytest.raises(UserError, match=r"beef-vdw-co .* holds published labels"):
        verify_adslab(adslab(), clean(), adsorbate("CO"), level("beef-vdw-co"), MemoryCache())


def test_an_adslab_of_another_slab_is_refused() -> None:
    shifted = moved(adslab(), 0, (0.0, 0.0, 0.1))
    with pytest.raises(UserError, match="starts with the atoms of its clean slab"):
        verify_adslab(shifted, clean(), adsorbate("CO"), level("emt"), MemoryCache())
    with pytest.raises(UserError, match="tag 2"):
        verify_adslab(clean(), clean(), adsorbate("CO"), level("emt"), MemoryCache())


def test_an_adslab_that_fixes_other_atoms_than_its_slab_is_refused() -> None:
    held = adslab()
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="the same atoms fixed"):
        verify_adslab(held, clean(), adsorbate("CO"), level("emt"), MemoryCache())


def test_an_adslab_of_another_adsorbate_than_its_reference_is_refused() -> None:
    with pytest.raises(UserError, match=r"reference is of, O \(O\); got CO"):
        verify_adslab(adslab("CO"), clean(), adsorbate("O"), level("emt"), MemoryCache())


def stored_ids(atoms: Atoms) -> tuple[str, str]:
    slab = slab_id(clean())
    scaled_A3 = atoms.positions[-2:] @ np.linalg.inv(atoms.cell.array)
    return candidate_ids(slab, "CO", atoms.numbers[-2:], scaled_A3[None])[0], slab


@pytest.mark.parametrize(
    ("index", "what"), [(-1, "candidate"), (0, "slab")], ids=["adsorbate", "slab"]
)
def test_only_a_structure_that_changed_since_it_was_predicted_is_refused(
    index: int, what: str
) -> None:
    candidate, slab = stored_ids(adslab())
    require_stored_ids(adslab(), clean(), "CO", stored_candidate=candidate, stored_slab=slab)
    atoms = moved(adslab(), index, (0.0, 0.0, 0.01))
    bare = atoms[atoms.get_tags() != 2]
    with pytest.raises(UserError, match=f"{what} .* changed or damaged"):
        require_stored_ids(atoms, bare, "CO", stored_candidate=candidate, stored_slab=slab)


def test_a_structure_under_the_name_of_another_adsorbate_is_refused() -> None:
    candidate, slab = stored_ids(adslab())
    with pytest.raises(UserError, match=f"candidate {candidate[:12]}"):
        require_stored_ids(adslab(), clean(), "OC", stored_candidate=candidate, stored_slab=slab)
