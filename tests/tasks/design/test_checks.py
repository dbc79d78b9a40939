from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from support.streams import adslab

from model.generation.skeleton import Skeleton
from tasks.design.checks import CAUSES, DesignLimits, DesignRequirements, check_design
from tasks.structures.formats import cif_text

METHANOL = DesignRequirements("CH3OH", (Skeleton.from_text("C3 O1 0-1"),), ("Cu",), "Cu")


def atoms(name: str = "CH3OH", slab: str = "Cu (1 1 1)", height: float = 2.2) -> Atoms:
    start = adslab(slab, name, height=height, across=(0.1, 0.2))
    return Atoms(
        start.numbers_N, start.positions_N3, cell=start.cell_33, pbc=True, tags=start.tags_N
    )


def moved(index: int, shift: tuple[float, float, float]) -> Atoms:
    changed = atoms()
    changed.positions[index] += shift
    return changed


def scaled(factor: float) -> Atoms:
    """Return the adslab with its slab's layers pulled apart or pressed together."""
    changed = atoms()
    low = changed.positions[:, 2].min()
    in_slab = changed.get_tags() != 2
    rise = (factor - 1) * np.ptp(changed.positions[in_slab, 2])
    changed.positions[in_slab, 2] = low + factor * (changed.positions[in_slab, 2] - low)
    changed.positions[~in_slab, 2] += rise
    changed.cell[2, 2] += rise
    return changed


def dissociated() -> Atoms:
    """Return methanol whose hydroxyl hydrogen is twice as far from its oxygen."""
    changed = atoms()
    oxygen, hydrogen = 37, 39
    changed.positions[hydrogen] += changed.positions[hydrogen] - changed.positions[oxygen]
    return changed


def lowered(shift: float) -> Atoms:
    changed = atoms("CO")
    changed.positions[changed.get_tags() == 2, 2] += shift
    return changed


def without_vacuum() -> Atoms:
    changed = atoms()
    changed.cell[2, 2] -= 7.0
    return changed


def causes(structure: Atoms, requirements: DesignRequirements = METHANOL) -> str | None:
    return check_design(cif_text(structure), requirements).verdict.cause


CO = replace(METHANOL, adsorbate="CO", skeletons=(Skeleton.from_text("C0 O0 0-1"),))


@pytest.mark.parametrize(
    ("name", "slab", "metal", "graph"),
    [
        ("CH3OH", "Cu (1 1 1)", "Cu", "C3 O1 0-1"),
        ("CO", "Rh (2 1 1)", "Rh", "C0 O0 0-1"),
        ("C6H6", "Ru (0 0 1)", "Ru", "C1 C1 C1 C1 C1 C1 0-1 1-2 2-3 3-4 4-5 0-5"),
        ("H2", "Fe (1 1 0)", "Fe", "H1"),
    ],
)
def test_a_whole_molecule_on_a_sound_slab_is_valid(
    name: str, slab: str, metal: str, graph: str
) -> None:
    requirements = DesignRequirements(name, (Skeleton.from_text(graph),), (metal,), metal)
    judged = check_design(cif_text(atoms(name, slab, 1.9)), requirements)
    assert judged.verdict.is_valid, judged.verdict
    assert judged.adslab is not None
    assert sorted(set(judged.adslab.get_tags())) == [0, 1, 2]
    assert judged.adslab.get_tags().tolist().count(2) == sum(requirements.formula.values())


@pytest.mark.parametrize(
    ("structure", "requirements", "cause"),
    [
        (atoms(), replace(METHANOL, bulk="Pt", elements=("Pt",)), "composition"),
        (atoms(), replace(METHANOL, bulk="Cu3Pt", elements=("Cu", "Pt")), "composition"),
        (atoms("CO"), METHANOL, "composition"),
        (moved(0, (1.5, 0.0, 0.0)), METHANOL, "distances"),
        (lowered(-2.0), CO, "distances"),
        (scaled(1.9), METHANOL, "distances"),
        (without_vacuum(), METHANOL, "volume"),
        (dissociated(), METHANOL, "adsorbate"),
        (lowered(2.5), CO, "detached"),
    ],
    ids=[
        *("metal", "stoichiometry", "adsorbate formula", "slab overlap", "adsorbate overlap"),
        *("layers apart", "no vacuum", "dissociated", "desorbed"),
    ],
)
def test_each_fault_has_its_cause(
    structure: Atoms, requirements: DesignRequirements, cause: str
) -> None:
    assert causes(structure, requirements) == cause
    assert cause in CAUSES


@pytest.mark.parametrize("volume", [(0.7, 1.0), (1.6, 2.6)])
def test_the_room_of_a_slab_atom_has_two_limits(volume: tuple[float, float]) -> None:
    judged = check_design(cif_text(atoms()), METHANOL, DesignLimits(volume=volume))
    assert judged.verdict.cause == "volume"
    assert "a slab atom takes 1.2" in judged.verdict.detail  # copper: 11.8 Å^3 of 9.6


def test_an_isomer_is_another_species() -> None:
    ethanol = DesignRequirements("CH3CHO", (Skeleton.from_text("C2 C1 O1 0-1 1-2"),), ("Cu",), "Cu")
    judged = check_design(cif_text(atoms("CH3CHO")), ethanol)
    assert judged.verdict.cause == "adsorbate"
    assert "CH3CHO has others" in judged.verdict.detail


def test_an_open_bulk_takes_any_of_the_elements() -> None:
    assert causes(atoms(), replace(METHANOL, bulk=None, elements=("Ag", "Cu"))) is None


def test_a_cif_that_cannot_be_parsed_is_counted() -> None:
    judged = check_design("data_x\n_cell_length_a 3", METHANOL)
    assert judged.verdict.cause == "unreadable"
    assert judged.adslab is None
