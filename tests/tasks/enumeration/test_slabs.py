"""Slabs: as many as symmetry allows, upright, tagged and fixed."""

from collections.abc import Callable
from time import process_time

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal as spacegroup_crystal
from pymatgen.core.surface import SlabGenerator, get_symmetrically_distinct_miller_indices
from pymatgen.io.ase import AseAtomsAdaptor
from support.enumeration.crystals import CRYSTALS, random_writing

from tasks.enumeration import (
    Bulk,
    FormulaSpec,
    PlacementSpec,
    Slab,
    SlabSpec,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.enumeration.lattice_planes import (
    distinct_millers,
    find_symmetry,
    plane_basis,
    primitive_miller,
)
from tasks.errors import UserError
from tasks.structures.identity import fixed_mask


def bulk_of(formula: str, prototype: str | None = None) -> Bulk:
    return resolve_bulks([FormulaSpec(formula, prototype)])[0][0]


def slabs_of(bulk: Bulk, **spec: object) -> list[Slab]:
    return enumerate_slabs(bulk, SlabSpec(**spec))[0]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rutile() -> Bulk:
    atoms = spacegroup_crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0.3, 0.3, 0)],
        spacegroup=136,
        cellpar=[4.6, 4.6, 2.95, 90, 90, 90],
    )
    return bulk_from_atoms(atoms, "rutile")


@pytest.fixture(scope="module")
def zincblende() -> Bulk:
    atoms = spacegroup_crystal(
        ["Zn", "S"],
        [(0, 0, 0), (0.25, 0.25, 0.25)],
        spacegroup=216,
        cellpar=[5.4, 5.4, 5.4, 90, 90, 90],
    )
    return bulk_from_atoms(atoms, "zincblende")


def test_fcc_has_three_surfaces_up_to_miller_index_one() -> None:
    found = [slab.miller for slab in slabs_of(bulk_of("Cu"))]
    assert found == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]


@pytest.mark.parametrize(
    ("formula", "prototype"),
    [("Cu", None), ("Fe", None), ("Si", None), ("Cu3Pt", "L1_2"), ("NiAl", "B2")],
)
@pytest.mark.parametrize("highest", [1, 2])
def test_distinct_planes_are_as_many_as_pymatgen_finds(
    formula: str, prototype: str | None, highest: int
) -> None:
    bulk = bulk_of(formula, prototype)
    structure = AseAtomsAdaptor.get_structure(bulk.atoms)
    expected = get_symmetrically_distinct_miller_indices(structure, highest)
    assert len(distinct_millers(find_symmetry(bulk.atoms), highest)) == len(expected)


@pytest.mark.parametrize(
    ("formula", "prototype", "miller"),
    [
        ("Cu", None, (2, 1, 1)),
        ("Cu3Pt", "L1_2", (1, 1, 1)),
        ("NiAl", "B2", (1, 1, 0)),
        ("Ru", None, (1, 0, 0)),
        ("Ru", None, (0, 0, 1)),
    ],
)
def test_terminations_are_as_many_as_pymatgen_finds(
    formula: str, prototype: str | None, miller: tuple[int, int, int]
) -> None:
    bulk = bulk_of(formula, prototype)
    structure = AseAtomsAdaptor.get_structure(bulk.atoms)
    expected = SlabGenerator(structure, miller, 7.0, 12.0).get_slabs(ftol=0.3)
    assert len(slabs_of(bulk, millers=(miller,))) == len(expected)


@pytest.mark.parametrize(
    ("formula", "prototype", "miller", "tops"),
    [
        ("Cu3Pt", "L1_2", (1, 0, 0), ["Cu", "CuPt"]),
        ("Cu3Pt", "L1_2", (1, 1, 0), ["Cu", "CuPt"]),
        ("NiAl", "B2", (1, 0, 0), ["Al", "Ni"]),
        ("NiAl", "B2", (1, 1, 1), ["Al", "Ni"]),
        ("CuAu", "L1_0", (0, 0, 1), ["Au", "Cu"]),
    ],
)
def test_every_face_of_an_alloy_is_made(
    formula: str, prototype: str, miller: tuple[int, int, int], tops: list[str]
) -> None:
    # pymatgen merges the two: its one slab has one of them above and the other below.
    found = []
    for slab in slabs_of(bulk_of(formula, prototype), millers=(miller,)):
        z = slab.atoms.positions[:, 2]
        found.append("".join(sorted(set(slab.atoms.symbols[z > z.max() - 0.1]))))
    assert sorted(found) == tops


def test_l1_0_tells_its_stacking_axis_from_the_others() -> None:
    found = {slab.miller for slab in slabs_of(bulk_of("CuAu", "L1_0"))}
    assert found == {(1, 0, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1)}


def test_polar_planes_have_two_different_sides(zincblende: Bulk) -> None:
    polar = slabs_of(zincblende, millers=((1, 1, 1),))
    assert {slab.side for slab in polar} == {"top", "bottom"}
    tops = [slab.atoms.symbols[int(slab.atoms.positions[:, 2].argmax())] for slab in polar]
    assert sorted(tops) == ["S", "S", "Zn", "Zn"]
    assert {slab.side for slab in slabs_of(zincblende, millers=((1, 1, 0),))} == {"top"}


def test_rutile_110_has_its_three_terminations(rutile: Bulk) -> None:
    surfaces = slabs_of(rutile, millers=((1, 1, 0),), min_in_plane_ang=0.0)
    assert len(surfaces) == 3
    for slab in surfaces:
        symbols = list(slab.atoms.symbols)
        assert symbols.count("O") == 2 * symbols.count("Ti")


@pytest.mark.parametrize("miller", [(2, 1, 0), (2, 0, 1)])
def test_layers_corrugated_by_less_than_a_layers_tolerance_are_cut(
    miller: tuple[int, int, int],
) -> None:
    # Heights along these planes are 0.16 to 0.29 Å apart: a wide and a narrow gap take turns.
    ruthenium = bulk_of("Ru")
    assert len(slabs_of(ruthenium, millers=(miller,))) == 2
    assert len(slabs_of(ruthenium, millers=(miller,), cut_tolerance_ang=0.3)) == 1


def test_rutile_111_has_its_four_terminations(rutile: Bulk) -> None:
    assert len(slabs_of(rutile, millers=((1, 1, 1),), min_in_plane_ang=0.0)) == 4


def test_a_finer_cut_changes_no_tags_and_no_fixed_layers(rutile: Bulk) -> None:
    coarse, fine = (
        {s.slab_id: s for s in slabs_of(rutile, millers=((1, 1, 1),), cut_tolerance_ang=tolerance)}
        for tolerance in (0.3, 0.05)
    )
    assert set(coarse) < set(fine)
    for key, slab in coarse.items():
        assert (slab.atoms.get_tags() == fine[key].atoms.get_tags()).all()
        assert (fixed_mask(slab.atoms) == fixed_mask(fine[key].atoms)).all()


@pytest.mark.parametrize("formula", ["Cu", "Fe", "Ru"])
def test_cells_are_upright_right_handed_and_wide_enough(formula: str) -> None:
    spec = SlabSpec(max_miller=2, min_thickness_ang=6.0, vacuum_ang=14.0, min_in_plane_ang=7.0)
    slabs, refused = enumerate_slabs(bulk_of(formula), spec)
    assert refused == []
    for slab in slabs:
        cell = slab.atoms.cell.array
        assert np.linalg.det(cell) > 0
        assert cell[0, 1:] == pytest.approx([0, 0])
        assert cell[1, 2] == pytest.approx(0)
        assert cell[2, :2] == pytest.approx([0, 0])
        across = [cell[0], cell[1], cell[0] + cell[1], cell[0] - cell[1]]
        shortest = min(np.linalg.norm(vector) for vector in across)
        assert shortest >= 7.0 - 1e-5
        z = slab.atoms.positions[:, 2]
        assert cell[2, 2] - np.ptp(z) == pytest.approx(14.0)
        assert slab.atoms.pbc.all()


@pytest.mark.parametrize(("formula", "nearest"), [("Cu", 12), ("Fe", 8), ("Ru", 12)])
def test_the_inside_of_a_slab_is_the_bulk(formula: str, nearest: int) -> None:
    bulk = bulk_of(formula)
    repeated = bulk.atoms * (3, 3, 3)
    expected = np.sort(repeated.get_distances(0, range(1, len(repeated)), mic=True))[:nearest]
    for slab in slabs_of(bulk, max_miller=2, min_thickness_ang=12.0):
        z = slab.atoms.positions[:, 2]
        inner = int(np.abs(z - 0.5 * (z.min() + z.max())).argmin())
        others = [i for i in range(len(z)) if i != inner]
        distances = np.sort(slab.atoms.get_distances(inner, others, mic=True))[:nearest]
        assert distances == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("formula", "miller", "per_cell"),
    [
        ("Cu", (1, 1, 1), 1),
        ("Cu", (1, 0, 0), 1),
        ("Cu", (1, 1, 0), 2),  # the ridge and the trough beside it
        ("Cu", (2, 1, 1), 3),  # step, terrace and step foot
        ("Fe", (1, 1, 0), 1),
        ("Ru", (0, 0, 1), 1),
    ],
)
def test_surface_atoms_are_those_that_miss_bonds(
    formula: str, miller: tuple[int, int, int], per_cell: int
) -> None:
    (slab, *_) = slabs_of(bulk_of(formula), millers=(miller,), min_in_plane_ang=0.0)
    assert (slab.atoms.get_tags() == 1).sum() == per_cell
    assert set(slab.atoms.get_tags()) == {0, 1}
    surface = slab.atoms.positions[slab.atoms.get_tags() == 1, 2]
    assert surface.min() > slab.atoms.positions[slab.atoms.get_tags() == 0, 2].max() - 1e-6


def test_fixed_atoms_are_the_lowest() -> None:
    copper = bulk_of("Cu")
    (slab,) = slabs_of(copper, millers=((1, 1, 1),), fixed_layers=2)
    layers = np.unique(slab.atoms.positions[:, 2].round(2))
    held = fixed_mask(slab.atoms)
    assert set(slab.atoms.positions[held, 2].round(2)) == set(layers[:2])
    (free,) = slabs_of(copper, millers=((1, 1, 1),), fixed_fraction=0.0)
    assert not fixed_mask(free.atoms).any()
    (half,) = slabs_of(copper, millers=((1, 1, 1),))
    assert fixed_mask(half.atoms).mean() == pytest.approx(0.5)


def test_a_slab_too_large_is_refused_by_size() -> None:
    slabs, refused = enumerate_slabs(bulk_of("Cu"), SlabSpec(max_atoms=70))
    assert [slab.miller for slab in slabs] == [(1, 0, 0), (1, 1, 1)]
    assert refused[0].stage == "slab"
    assert "max_atoms = 70" in refused[0].reason


def test_ids_are_the_same_in_every_run_and_distinct() -> None:
    first = [slab.slab_id for slab in slabs_of(bulk_of("Cu3Pt", "L1_2"), max_miller=2)]
    again = [slab.slab_id for slab in slabs_of(bulk_of("Cu3Pt", "L1_2"), max_miller=2)]
    assert first == again
    assert len(set(first)) == len(first)


def test_listed_indices_are_reduced_and_come_once() -> None:
    found = slabs_of(bulk_of("Cu"), millers=((2, 2, 2), (1, 1, 1)))
    assert [slab.miller for slab in found] == [(1, 1, 1)]
    with pytest.raises(UserError, match=r"\(0 0 0\)"):
        slabs_of(bulk_of("Cu"), millers=((0, 0, 0),))


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("max_miller", 0, "max_miller is at least 1"),
        ("vacuum_ang", 1.0, "vacuum_ang is at least 5"),
        ("cut_tolerance_ang", 0.0, "cut_tolerance_ang is at least 0.01"),
        ("fixed_fraction", 1.5, "fixed_fraction is 0 to 1"),
    ],
)
def test_impossible_slabs_are_refused_by_rule(field: str, value: float, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        SlabSpec(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 1), (3, -2, 1), (0, 0, -1), (2, 0, 1)])
def test_a_plane_basis_lies_in_the_plane_and_spans_the_lattice(
    miller: tuple[int, int, int],
) -> None:
    cell = np.array([[0.0, 1.8, 1.8], [1.8, 0.0, 1.8], [1.8, 1.8, 0.0]])
    basis = plane_basis(miller, cell)
    assert (basis @ np.array(miller)).tolist() == [0, 0, 1]
    assert round(np.linalg.det(basis)) * round(np.sign(np.linalg.det(cell))) == 1


def test_primitive_indices_are_those_of_the_same_planes() -> None:
    crystal = find_symmetry(bulk_of("Cu").atoms)
    for miller in [(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 1)]:
        plane = np.array(primitive_miller(crystal, miller))
        one = np.linalg.inv(crystal.cell_33) @ plane
        other = np.linalg.inv(crystal.conventional_33) @ np.array(miller)
        assert np.cross(one, other) == pytest.approx([0, 0, 0], abs=1e-9)
        assert one @ other > 0


def test_a_slab_takes_less_time_than_by_pymatgen() -> None:
    copper = bulk_of("Cu")
    structure = AseAtomsAdaptor.get_structure(copper.atoms)

    def theirs() -> int:
        return len(SlabGenerator(structure, (1, 1, 1), 7.0, 15.0, primitive=False).get_slabs())

    def a_second(make: Callable[[], int]) -> float:
        make()  # what is loaded late is loaded now
        start = process_time()
        return make() / (process_time() - start)

    assert a_second(lambda: len(slabs_of(copper))) > a_second(theirs)


def test_alkali_metals_have_a_surface_though_radii_join_nothing() -> None:
    for slab in slabs_of(bulk_of("Na")):
        assert (slab.atoms.get_tags() == 1).any()
        assert (slab.atoms.get_tags() == 0).any()


def test_atoms_are_grouped_by_element() -> None:
    for slab in slabs_of(bulk_of("Cu3Pt", "L1_2")):
        assert isinstance(slab.atoms, Atoms)
        changes = np.count_nonzero(np.diff(slab.atoms.numbers))
        assert changes == 1


def test_an_index_counts_by_the_cell_in_the_file_or_by_the_conventional_one() -> None:
    atoms = Atoms("CuPd", scaled_positions=[(0, 0, 0), (0.5,) * 3], cell=[6, 4, 3], pbc=True)
    bulk = bulk_from_atoms(atoms, "orthorhombic")
    across = {}
    for axes in ("file", "conventional"):
        (slab, *_) = slabs_of(bulk, millers=((1, 0, 0),), miller_axes=axes, min_in_plane_ang=0.0)
        across[axes] = slab.miller, np.sort(slab.atoms.cell.lengths()[:2]).tolist()
    assert across["file"] == ((0, 0, 1), pytest.approx([3, 4]))
    assert across["conventional"] == ((1, 0, 0), pytest.approx([4, 6]))


def test_a_monoclinic_file_with_unique_axis_c_keeps_its_001() -> None:
    cell = [4, 5, 3.2, 90, 90, 104]
    atoms = Atoms("CuPd", scaled_positions=[(0, 0, 0), (0.5,) * 3], cell=cell, pbc=True)
    bulk = bulk_from_atoms(atoms, "monoclinic")
    (slab, *_) = slabs_of(bulk, millers=((0, 0, 1),), min_in_plane_ang=0.0)
    a, b, _, _, _, gamma = slab.atoms.cell.cellpar()
    assert (slab.miller, a, b) == ((0, 1, 0), pytest.approx(4), pytest.approx(5))
    assert max(gamma, 180 - gamma) == pytest.approx(104)


def test_opposite_and_equivalent_indices_are_one_plane() -> None:
    listed = ((1, 1, 1), (-1, -1, -1), (1, -1, 1), (-1, 1, 1))
    assert [slab.miller for slab in slabs_of(bulk_of("Cu"), millers=listed)] == [(1, 1, 1)]


def test_four_indices_are_three_of_a_hexagonal_cell_and_refused_elsewhere() -> None:
    spec = SlabSpec(millers=((1, 0, -1, 0),))
    assert {slab.miller for slab in enumerate_slabs(bulk_of("Ru"), spec)[0]} == {(1, 0, 0)}
    slabs, (refused,) = enumerate_slabs(bulk_of("Cu"), spec)
    assert slabs == []
    assert "hexagonal cell" in refused.reason


@pytest.mark.parametrize("miller", [(21, 0, 1), (10**9, 1, 0), (1, 1, -1, 0), (1, 1)])
def test_absurd_indices_are_refused(miller: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="Miller"):
        SlabSpec(millers=(miller,))


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_crystal_gives_the_same_candidates_however_it_is_written(name: str) -> None:
    rng = np.random.default_rng(2)
    carbon_monoxide, spec = adsorbate("CO"), PlacementSpec(rotations=2)
    found = set()
    for _ in range(3):
        bulk = bulk_from_atoms(random_writing(CRYSTALS[name], rng), name)
        slabs = slabs_of(bulk, min_thickness_ang=3.0, min_in_plane_ang=3.0)
        placed = enumerate_placements(slabs[0], surface_sites(slabs[0]), carbon_monoxide, spec)[0]
        ids = [slab.slab_id for slab in slabs], [each.candidate_id for each in placed]
        found.add(str(ids))
    assert len(found) == 1
