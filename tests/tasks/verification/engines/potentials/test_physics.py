"""What is known of surfaces, as `diep-r2scan` has it: placed, relaxed and referred as campaigns do.

Sources  Mavrikakis, Hammer, Norskov 1998, Phys. Rev. Lett. 81, 2819 (oxygen and CO bind more
         strongly on a stretched lattice);
         Kitchin, Norskov, Barteau, Chen 2004, J. Chem. Phys. 120, 10240 (hydrogen and oxygen on
         platinum over a second layer of a 3d metal);
         Stamenkovic et al. 2006, Angew. Chem. Int. Ed. 45, 2897 (oxygen and OH on platinum skins);
         Liu et al. 2016, J. Am. Chem. Soc. 138, 6396 (CO on a platinum atom in copper);
         Gardin, Batteas, Van Hove, Somorjai 1993, Surf. Sci. 296, 25 and Woodruff 1994,
         J. Phys.: Condens. Matter 6, 6067 (carbon and nitrogen turn Ni(111) into hollows of (100)).
"""

from functools import lru_cache

import pytest

from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    SlabEdits,
    SlabSpec,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.custom.slab_edits import edited_slabs
from tasks.enumeration.sites import SiteKind
from tasks.levels import level
from tasks.verification.engines import engine_for
from tasks.verification.labels.energies import MemoryCache
from tasks.verification.labels.verify import verify_adslab

pytestmark = pytest.mark.medium
LEVEL = level("diep-r2scan")
CACHE = MemoryCache()
AS_CUT = SlabEdits()


@lru_cache
def lowest_ev(
    metal: str, facet: str, species: str, kind: SiteKind, edits: SlabEdits = AS_CUT
) -> float:
    """Return the lowest adsorption energy (eV) on sites of one kind, p(2x2), three layers held.

    Slabs are held, so that the clean ones are single points. Of a slab with a foreign atom the
    sites are those that touch it.
    """
    (bulk,), _ = resolve_bulks([FormulaSpec(metal)])
    spec = SlabSpec(
        millers=(tuple(map(int, facet)),),
        miller_axes="conventional",
        min_thickness_ang=5.0,
        min_in_plane_ang=4.9,
        vacuum_ang=12.0,
        fixed_fraction=1.0,
    )
    slabs, _ = enumerate_slabs(bulk, spec)
    ((slab,), _) = edited_slabs(slabs[0], edits, spec.layer_tolerance_ang)
    foreign = {i for i, symbol in enumerate(slab.atoms.symbols) if symbol in edits.single_atom}
    placed, _ = enumerate_placements(
        slab,
        surface_sites(slab),
        adsorbate(species),
        PlacementSpec(kinds=(kind,), rotations=1),
    )
    energies_ev = []
    for each in placed:
        if foreign and not foreign & set(each.placement.site.slab_atoms):
            continue
        found = verify_adslab(
            each.atoms, slab.atoms, adsorbate(species), LEVEL, CACHE, engine_for(LEVEL)
        )
        assert found.trainable, found.flags
        energies_ev.append(found.energy_ev)
    return min(energies_ev)


def strained(strain: float) -> SlabEdits:
    return SlabEdits(strain=(strain,), poisson_ratio=0.33, only_edited=True)


@pytest.mark.parametrize("metal", ["Cu", "Pt"])
def test_oxygen_binds_more_strongly_on_a_stretched_lattice(metal: str) -> None:
    squeezed_ev, stretched_ev = (
        lowest_ev(metal, "111", "O", "hollow", strained(strain)) for strain in (-0.03, 0.03)
    )
    assert stretched_ev < squeezed_ev - 0.2


@pytest.mark.parametrize("below", ["Fe", "Co", "Ni"])
@pytest.mark.parametrize(("species", "kind"), [("O", "hollow"), ("OH", "atop")])
def test_platinum_over_a_3d_metal_binds_oxygen_and_oh_more_weakly(
    below: str, species: str, kind: SiteKind
) -> None:
    skin = SlabEdits(subsurface=(below,), only_edited=True)
    skin_ev = lowest_ev("Pt", "111", species, kind, skin)
    assert skin_ev > lowest_ev("Pt", "111", species, kind) + 0.1


def test_co_on_a_platinum_atom_in_copper_is_bound_more_than_on_copper() -> None:
    alone = SlabEdits(single_atom=("Pt",), only_edited=True)
    dopant_ev = lowest_ev("Cu", "111", "CO", "atop", alone)
    assert dopant_ev < lowest_ev("Cu", "111", "CO", "atop") - 0.1


@pytest.mark.parametrize("species", ["C", "N"])
def test_fourfold_hollows_bind_carbon_and_nitrogen_more_than_threefold_ones(species: str) -> None:
    fourfold_ev = lowest_ev("Ni", "100", species, "hollow")
    assert fourfold_ev < lowest_ev("Ni", "111", species, "hollow") - 0.2
