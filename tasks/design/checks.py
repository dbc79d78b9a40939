"""Decide whether a generated adslab is one: requested composition, sound slab, whole adsorbate.

The structure that is judged is parsed back from its CIF, which knows no tags. The checks come in
a fixed order and the first that fails is the one cause by which a structure is counted. Nothing is
mended.

Shapes  N atoms, S slab atoms, A adsorbate atoms.
Units   Å; closeness is a distance over the sum of two covalent radii.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.formula import Formula
from ase.geometry import get_distances, minkowski_reduce
from numpy.typing import NDArray
from pymatgen.core.composition import Composition
from scipy.sparse.csgraph import connected_components

from model.errors import SabatierError
from model.generation.skeleton import Skeleton, bond_graph
from tasks.errors import UserError
from tasks.structures.contacts import find_adsorbate
from tasks.structures.formats import read_cif
from tasks.structures.standard_frame import standard_frame
from tasks.verification.labels.checks import CheckLimits, depth_below_surface

Cause = Literal[
    "unfinished", "unreadable", "composition", "distances", "volume", "adsorbate", "detached"
]
CAUSES: dict[Cause, str] = {
    "unfinished": "the stream did not end",
    "unreadable": "the CIF cannot be parsed",
    "composition": "other elements or another formula than requested",
    "distances": "atoms overlap, or the slab is in pieces",
    "volume": "slab too dense, too loose, or without vacuum",
    "adsorbate": "its bonds are not those of the requested species",
    "detached": "the adsorbate does not lie on the surface",
}
_LAYER_ANG = 0.3


@dataclass(frozen=True)
class DesignLimits:
    """Thresholds; those of slabs leave room around every bulk-truncated slab of the public sets.

    FG's and the BEEF-vdW sets' own unrelaxed structures: nearest slab atoms 0.89-1.18, adsorbate
    to slab 0.8-1.5 (one in a hundred of FG below), volume 1.0-2.3.
    """

    nearest_slab: float = 0.75
    nearest_adsorbate: float = 0.7
    loose_slab: float = 1.35  # atoms or layers farther apart than this are no one slab
    volume: tuple[float, float] = (0.7, 2.6)  # of a slab atom, over that of its covalent sphere
    vacuum_ang: float = 6.0  # between the adslab and its image along c
    surface: CheckLimits = field(default_factory=CheckLimits)


@dataclass(frozen=True)
class DesignRequirements:
    """Requirements on a structure: ``bulk`` is None where any of ``elements`` may make the slab."""

    adsorbate: str
    skeletons: tuple[Skeleton, ...]  # bond graphs of the adsorbate: any one of them
    elements: tuple[str, ...]
    bulk: str | None = None

    @property
    def formula(self) -> dict[str, int]:
        """Return the atoms of the adsorbate."""
        return self.skeletons[0].formula


@dataclass(frozen=True)
class DesignVerdict:
    """Why a structure is not valid, with the number it fails by; ``cause`` is None if it is."""

    cause: Cause | None = None
    detail: str = ""

    @property
    def is_valid(self) -> bool:
        """Return whether every check was passed."""
        return self.cause is None


@dataclass(frozen=True)
class CheckedDesign:
    """A verdict and, where it is good, the adslab in the standard frame with tags 0, 1, 2."""

    verdict: DesignVerdict
    adslab: Atoms | None = None


def check_design(
    cif: str, requirements: DesignRequirements, limits: DesignLimits | None = None
) -> CheckedDesign:
    """Return whether the structure in a CIF meets the requirements.

    Args:
        cif: The text of one structure, positions in Å.
        requirements: The composition, and the bonds of the adsorbate.
        limits: Thresholds of the checks; the usual ones where it is None.

    Returns:
        The verdict and, where it is good, the adslab in the standard frame with tags 0, 1 and 2. A
        CIF that cannot be read is a verdict too.
    """
    try:
        atoms = read_cif(cif)
    except UserError as error:
        return CheckedDesign(DesignVerdict("unreadable", str(error)))
    return check_atoms(atoms, requirements, limits or DesignLimits())


def check_atoms(
    atoms: Atoms, requirements: DesignRequirements, limits: DesignLimits
) -> CheckedDesign:
    """Return whether a structure without tags meets the requirements."""
    detail = composition_fault(atoms, requirements)
    if detail:
        return CheckedDesign(DesignVerdict("composition", detail))
    # Composition was checked, so the adsorbate's elements are nowhere but in it.
    is_adsorbate_N = np.isin(atoms.get_chemical_symbols(), list(requirements.formula))
    checks: tuple[tuple[Cause, Callable[[], str]], ...] = (
        ("distances", lambda: _distance_fault(atoms, is_adsorbate_N, limits)),
        ("volume", lambda: _volume_fault(atoms, is_adsorbate_N, limits)),
        ("adsorbate", lambda: _adsorbate_fault(atoms, requirements)),
        ("detached", lambda: _surface_fault(_framed(atoms, is_adsorbate_N), limits)),
    )
    for cause, check in checks:
        detail = check()
        if detail:
            return CheckedDesign(DesignVerdict(cause, detail))
    return CheckedDesign(DesignVerdict(), _framed(atoms, is_adsorbate_N))


def composition_fault(atoms: Atoms, requirements: DesignRequirements) -> str:
    """Return how the composition differs from the requested one; empty where it does not."""
    counts = Counter(atoms.get_chemical_symbols())
    adsorbate = {symbol: counts[symbol] for symbol in requirements.formula}
    if adsorbate != requirements.formula:
        return f"{atoms.get_chemical_formula()} is not a slab and one {requirements.adsorbate}"
    slab = {symbol: count for symbol, count in counts.items() if symbol not in requirements.formula}
    name = Composition(slab).reduced_formula if slab else "nothing"
    if not slab or set(slab) - set(requirements.elements):
        return f"the slab is {name}, asked for were {', '.join(requirements.elements)}"
    if requirements.bulk is not None and Composition(requirements.bulk).reduced_formula != name:
        return f"the slab is {name}, asked for was {requirements.bulk}"
    return ""


def _framed(atoms: Atoms, is_adsorbate_N: NDArray[np.bool_]) -> Atoms:
    tagged: Atoms = atoms.copy()
    tagged.set_tags(2 * is_adsorbate_N)
    return standard_frame(tagged, 2)


def _distance_fault(atoms: Atoms, is_adsorbate_N: NDArray[np.bool_], limits: DesignLimits) -> str:
    close_NN = _closeness(atoms)
    in_slab_N = ~is_adsorbate_N
    slab_SS = close_NN[np.ix_(in_slab_N, in_slab_N)]
    lowest = (
        ("slab atoms", float(slab_SS.min()), limits.nearest_slab),
        ("adsorbate and others", float(close_NN[is_adsorbate_N].min()), limits.nearest_adsorbate),
    )
    for what, found, limit in lowest:
        if not found >= limit:
            return f"{what} come as near as {found:.2f} (r_i + r_j), the limit is {limit:g}"
    pieces, _ = connected_components(slab_SS <= limits.loose_slab, directed=False)
    if pieces > 1:
        return f"the slab is {pieces} pieces, {limits.loose_slab:g} (r_i + r_j) apart or more"
    return ""


def _closeness(atoms: Atoms) -> NDArray[np.float64]:
    """Return (N, N) nearest distances over r_i + r_j, each atom's own images included."""
    _, nearest_NN = get_distances(atoms.positions, cell=atoms.cell, pbc=True)
    # An atom's own nearest image is one shortest lattice vector away.
    reduced_33, _ = minkowski_reduce(atoms.cell)
    np.fill_diagonal(nearest_NN, np.linalg.norm(reduced_33, axis=1).min())
    radii_N = covalent_radii[atoms.numbers]
    return np.asarray(nearest_NN / (radii_N[:, None] + radii_N[None]))


def _volume_fault(atoms: Atoms, is_adsorbate_N: NDArray[np.bool_], limits: DesignLimits) -> str:
    """Return whether the slab's atoms take the room of a solid and vacuum is left above."""
    framed = _framed(atoms, is_adsorbate_N)
    in_slab_N = framed.get_tags() != 2
    z_S = framed.positions[in_slab_N, 2]
    area = float(np.linalg.norm(np.cross(*framed.cell.array[:2])))
    # The top layer closes the slab: the layers below it fill the height from bottom to top.
    below = int((z_S < z_S.max() - _LAYER_ANG).sum())
    if below == 0:
        return "the slab is one layer of atoms, its volume is not known"
    spheres = float((4 / 3 * np.pi * covalent_radii[framed.numbers[in_slab_N]] ** 3).mean())
    volume = float(np.ptp(z_S)) * area / below / spheres
    low, high = limits.volume
    if not low <= volume <= high:
        return f"a slab atom takes {volume:.2f} of its sphere, the limits are {low:g} and {high:g}"
    height = abs(float(np.linalg.det(atoms.cell.array))) / area
    vacuum = height - float(np.ptp(framed.positions[:, 2]))
    if not vacuum >= limits.vacuum_ang:
        return f"vacuum is {vacuum:.1f} Å, at least {limits.vacuum_ang:g} Å are needed"
    return ""


def _adsorbate_fault(atoms: Atoms, requirements: DesignRequirements) -> str:
    """Return how the adsorbate found in the structure differs from the requested species."""
    formula = str(Formula.from_dict(requirements.formula).convert("hill"))
    try:
        chosen = list(find_adsorbate(atoms, formula))
        found = bond_graph(
            atoms.numbers[chosen], atoms.positions[chosen], atoms.cell.array
        ).skeleton
    except SabatierError as error:
        return str(error)
    if not any(found.is_same(skeleton) for skeleton in requirements.skeletons):
        return f"the bonds are {found.to_text()}, {requirements.adsorbate} has others"
    return ""


def _surface_fault(framed: Atoms, limits: DesignLimits) -> str:
    is_adsorbate_N = framed.get_tags() == 2
    close_AS = _closeness(framed)[np.ix_(is_adsorbate_N, ~is_adsorbate_N)]
    ratio, most = float(close_AS.min()), limits.surface.desorbed_ratio
    if not ratio <= most:
        return f"the adsorbate's nearest is at {ratio:.2f} (r_i + r_j), over {most:g}"
    depth = depth_below_surface(framed)
    if not depth <= limits.surface.depth_ang:
        return f"the adsorbate is {depth:.1f} Å below the surface around it"
    return ""
