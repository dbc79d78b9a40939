"""Moments of an antiferromagnet alternate by planes of its bulk, however both are written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.spacegroup import crystal as ase_crystal
from support.enumeration.crystals import random_writing

from tasks.enumeration import Slab, SlabSpec, enumerate_slabs
from tasks.enumeration.bulks import Bulk, bulk_from_atoms
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, Spin, level
from tasks.verification.engines import CalculationJob, EngineError, EngineLocation, checked_engine
from tasks.verification.engines.dft.espresso import starting_magnetization
from tasks.verification.engines.dft.vasp import vasp_parameters
from tasks.verification.inputs.magnetic_order import lost_moments, order_signs, with_order
from tasks.verification.inputs.sampling import start_moments
from tasks.verification.relaxation.admission import require_magnetic_order

ROCK_SALT = Spin("magnetic-elements", {"Ni": 2.0}, "antiferromagnetic", (1, 1, 1))
NIO = ase_bulk("NiO", "rocksalt", a=4.18, cubic=True)
HEMATITE = ase_crystal(
    ["Fe", "O"],
    [(0, 0, 0.3553), (0.3059, 0, 0.25)],
    spacegroup=167,
    cellpar=[5.035, 5.035, 13.747, 90, 90, 120],
)


def slabs(bulk: Bulk, *millers: tuple[int, ...], in_plane: float = 5.0) -> list[Slab]:
    spec = SlabSpec(millers=millers, min_thickness_ang=9.0, min_in_plane_ang=in_plane)
    found, refused = enumerate_slabs(bulk, spec)
    assert not refused
    return found


def signs(slab: Slab, bulk: Bulk, spin: Spin = ROCK_SALT) -> np.ndarray:
    return order_signs(slab.atoms, bulk.atoms, slab.miller, slab.side, spin)


def neighbours(atoms: Atoms, distance: float) -> list[tuple[int, int]]:
    """Return pairs of nickel atoms that are so far apart, through the cell's sides too."""
    distances = atoms.get_all_distances(mic=True)
    nickel = np.flatnonzero(atoms.symbols == "Ni")
    return [
        (int(i), int(j)) for i in nickel for j in nickel if abs(distances[i, j] - distance) < 0.02
    ]


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0)])
def test_oxygen_bridges_join_opposite_moments_and_all_sum_up_to_nothing(
    miller: tuple[int, ...],
) -> None:
    bulk = bulk_from_atoms(NIO, "")
    for slab in slabs(bulk, miller, in_plane=5.0):
        sign = signs(slab, bulk)
        assert set(sign[slab.atoms.symbols == "Ni"]) == {1, -1}
        assert not sign[slab.atoms.symbols == "O"].any()
        assert sign.sum() == 0
        bridged = neighbours(slab.atoms, 4.18)  # Ni-O-Ni in a line, the superexchange of type II
        assert bridged
        assert all(sign[i] == -sign[j] for i, j in bridged)


def test_planes_of_a_111_slab_alternate_from_layer_to_layer() -> None:
    bulk = bulk_from_atoms(NIO, "")
    for slab in slabs(bulk, (1, 1, 1)):
        sign, heights = signs(slab, bulk), np.round(slab.atoms.positions[:, 2], 2)
        nickel = slab.atoms.symbols == "Ni"
        layers = [set(sign[nickel & (heights == z)]) for z in sorted(set(heights[nickel]))]
        assert all(len(layer) == 1 for layer in layers)
        ups = [layer.pop() for layer in layers]
        assert ups == [(-1) ** (len(ups) - 1 - n) for n in range(len(ups))]


@pytest.mark.parametrize("seed", range(6))
def test_the_order_does_not_depend_on_how_crystal_and_slab_are_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    written = bulk_from_atoms(random_writing(NIO, rng, 0.0), "")
    plain = bulk_from_atoms(NIO, "")
    for slab in slabs(plain, (1, 0, 0), (1, 1, 1), in_plane=5.0):
        wanted = signs(slab, plain)
        order = rng.permutation(len(slab.atoms))
        shuffled = replace(slab, atoms=slab.atoms[order])
        assert list(signs(shuffled, plain)) == list(wanted[order])
        assert abs(int(signs(slab, written) @ wanted)) in (0, int(abs(wanted).sum()))
        assert signs(slab, written).sum() == wanted.sum()


def test_pairs_of_iron_layers_alternate_in_hematite() -> None:
    bulk = bulk_from_atoms(HEMATITE, "")
    spin = Spin("magnetic-elements", {"Fe": 4.0}, "antiferromagnetic", (0, 0, 6))
    for slab in slabs(bulk, (0, 0, 1)):
        sign = signs(slab, bulk, spin)
        iron = np.flatnonzero(slab.atoms.symbols == "Fe")
        z = slab.atoms.positions[:, 2]
        for i in iron:
            for j in iron:
                step = abs(z[i] - z[j])
                if step < 0.8:  # a buckled layer: 0.6 Å
                    assert sign[i] == sign[j]
                elif step < 2.4:  # from it to the next
                    assert sign[i] == -sign[j]
        assert set(sign[iron]) == {1, -1}
        with pytest.raises(UserError, match="spacings from the nearest; state the planes"):
            signs(slab, bulk, replace(spin, planes=(0, 0, 4)))


@pytest.mark.parametrize("thickness", [7.0, 9.0, 11.0])
@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0)])
def test_planes_that_hold_half_of_the_layers_are_refused(
    miller: tuple[int, int, int], thickness: float
) -> None:
    """Nickel lies on planes and half-planes, evenly where the layers are even in number."""
    bulk = bulk_from_atoms(NIO, "")
    spec = SlabSpec(millers=(miller,), min_thickness_ang=thickness, min_in_plane_ang=5.0)
    for slab in enumerate_slabs(bulk, spec)[0]:
        with pytest.raises(UserError, match="spacings from the nearest; state the planes"):
            signs(slab, bulk, replace(ROCK_SALT, planes=miller))


def test_an_order_without_free_spins_is_refused() -> None:
    with pytest.raises(UserError, match=r"spin.order antiferromagnetic needs free spins.*policy:"):
        Spin(moments={"Ni": 2.0}, order="antiferromagnetic", planes=(1, 1, 1))
    with pytest.raises(UserError, match=r"spin.order ferromagnetic needs free spins"):
        Spin(moments={"Ni": 2.0}, order="ferromagnetic")


def test_a_cell_that_would_repeat_moments_that_alternate_is_refused() -> None:
    bulk = bulk_from_atoms(NIO, "")
    (slab,) = slabs(bulk, (1, 0, 0), in_plane=2.0)
    with pytest.raises(UserError, match=r"repeats after 1 of them along a; .*min_in_plane: 3.0"):
        signs(slab, bulk)


def test_a_slab_that_is_no_piece_of_its_bulk_is_refused() -> None:
    bulk = bulk_from_atoms(NIO, "")
    (slab,) = slabs(bulk, (1, 0, 0), in_plane=5.0)
    slab.atoms.positions[3] += [0.0, 0.0, 0.5]
    with pytest.raises(UserError, match="are not on the sites of its bulk"):
        signs(slab, bulk)


@pytest.mark.parametrize(
    ("order", "planes"),
    [("antiferromagnetic", None), ("", (1, 1, 1)), ("antiferromagnetic", (0, 0, 0))],
)
def test_order_and_planes_belong_together(order: str, planes: tuple[int, int, int] | None) -> None:
    with pytest.raises(UserError, match="belong together"):
        Spin("magnetic-elements", {"Ni": 2.0}, order, planes)  # type: ignore[arg-type]


def alternating(name: str) -> LevelOfTheory:
    stated = level(name)
    return replace(stated, calculation=replace(stated.require_calculation(), spin=ROCK_SALT))


def ordered() -> Atoms:
    bulk = bulk_from_atoms(NIO, "")
    (slab,) = slabs(bulk, (1, 0, 0), in_plane=5.0)
    return with_order(slab.atoms, signs(slab, bulk).tolist())


def test_planes_are_part_of_a_levels_hash_and_other_levels_keep_theirs() -> None:
    stated = level("gpaw-rpbe")
    assert "planes" not in stated._hashed_settings()["spin"]
    assert alternating("gpaw-rpbe").level_hash != stated.level_hash


def test_each_engine_starts_from_the_alternating_moments(tmp_path: Path) -> None:
    atoms = ordered()
    moments = start_moments(atoms, ROCK_SALT)
    assert sorted(set(moments)) == [-2.0, 0.0, 2.0]
    atoms.set_initial_magnetic_moments(moments)
    np.testing.assert_array_equal(start_moments(atoms, ROCK_SALT), moments)  # once more, the same
    shares = starting_magnetization(atoms, {"Ni": 18.0})
    np.testing.assert_allclose(shares, moments / 18.0)  # ASE makes one species for each of them
    job = CalculationJob(atoms, alternating("vasp-oc20"), tmp_path)
    assert vasp_parameters(job, "")["magmom"] == moments.tolist()


def test_cp2k_refuses_what_it_would_ignore() -> None:
    stated = replace(alternating("qe-pbe"), engine="cp2k")
    basis = replace(stated.require_calculation().basis, name="DZVP", density_cutoff_ev=None)  # type: ignore[type-var]
    how = replace(stated.require_calculation(), basis=basis)
    with pytest.raises(UserError, match="cp2k starts each element with one moment"):
        checked_engine(replace(stated, calculation=how), None, {"cp2k": EngineLocation()})


def test_a_slab_without_signs_is_refused_and_one_with_them_is_not() -> None:
    atoms = ordered()
    require_magnetic_order(atoms, alternating("gpaw-rpbe"))
    atoms.set_initial_magnetic_moments(None)
    with pytest.raises(EngineError, match="alternates planes of moments"):
        require_magnetic_order(atoms, alternating("gpaw-rpbe"))


def test_moments_that_turned_over_or_vanished_are_counted() -> None:
    atoms = ordered()
    end = 1.6 * np.sign(atoms.get_initial_magnetic_moments())
    assert lost_moments(atoms, end) == 0
    assert lost_moments(atoms, None) == 0
    first, second = np.flatnonzero(end)[:2]
    end[first] *= -1.0
    end[second] = 0.01
    assert lost_moments(atoms, end) == 2
