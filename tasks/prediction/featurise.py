"""Write an adslab as a model reads it: configuration text and atoms, and check that they agree.

The site a text names follows from bonds, not from where the adsorbate was aimed: an atom put over
a bridge that also bonds to a third atom is named, reported and predicted as hollow. The recipe
keeps the site that was asked for. ``check_site`` counts the bonds again, by brute force.

Shapes  N slab atoms, A adsorbate atoms, M atoms of the landscape, I images.
Units   Å.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from model.contract import Configuration
from model.text.configuration_text import ConfigurationText, SiteText, parse_text, site_kind
from tasks.enumeration import Adslab, Slab, SurfaceSites
from tasks.enumeration.landscape import Landscape, landscape, to_cell
from tasks.errors import Refusal, UserError
from tasks.structures.contacts import Neighbours, cutoffs, neighbours

# The nearest image in the plane and its eight neighbours; along c the vacuum lies between.
_AROUND_I3 = np.array([[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)


class SiteMismatchError(UserError):
    """The text and the atoms of one adslab name different sites."""


def featurise(
    adslab: Adslab, slab: Slab, level: str, sites: SurfaceSites | None = None
) -> Configuration:
    """Return the configuration of ``adslab`` that a model reads.

    Args:
        adslab: Slab atoms first, tags 0, 1 and 2, positions in Å.
        slab: The clean slab under it.
        level: The level of theory to predict at.
        sites: Brings the neighbour lists of the slab; without it they are found again.

    Returns:
        The text and the atoms of the adslab.

    Raises:
        SiteMismatchError: text and atoms name different sites.
    """
    known = neighbours(slab.atoms) if sites is None else sites.neighbours
    ground = landscape(slab) if sites is None else sites.landscape
    text = adslab_text(adslab, slab, known, ground).format()
    mismatch = check_site(adslab, text)
    if mismatch:
        raise SiteMismatchError(mismatch)
    return Configuration.from_atoms(
        adslab.atoms, candidate_id=adslab.candidate_id, level=level, text=text
    )


def featurise_all(
    adslabs: Sequence[Adslab], slab: Slab, level: str, sites: SurfaceSites
) -> tuple[list[Configuration], list[Refusal]]:
    """Return the configurations of one slab's adslabs in order, and those refused by the check."""
    configurations: list[Configuration] = []
    refused: list[Refusal] = []
    for adslab in adslabs:
        try:
            configurations.append(featurise(adslab, slab, level, sites))
        except SiteMismatchError as error:
            refused.append(Refusal(adslab.candidate_id, "placement", str(error)))
    return configurations, refused


def configuration_text(
    atoms: Atoms, adsorbate_formula: str, bulk_formula: str, miller: tuple[int, int, int]
) -> str:
    """Return the text of any adslab with tag 2 on its adsorbate, from one neighbour search.

    Example:
        >>> from ase.build import add_adsorbate, fcc111
        >>> adslab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
        >>> add_adsorbate(adslab, "O", 1.8, "ontop")
        >>> adslab.set_tags([0] * 8 + [1] * 4 + [2])
        >>> configuration_text(adslab, "O", "Cu", (1, 1, 1))
        'O</s>Cu (1 1 1)</s>[O Cu atop [Cu Cu Cu Cu Cu Cu Cu Cu Cu Cu O]]'
    """
    tags_N = atoms.get_tags()
    is_adsorbate = tags_N == 2
    if not is_adsorbate.any() or is_adsorbate.all() or tags_N.min() < 0 or tags_N.max() > 2:
        raise UserError(
            "tags are 0 bulk, 1 surface and 2 adsorbate, with at least one slab and one adsorbate "
            f"atom; got {sorted(set(tags_N.tolist()))} (ASE's slab builders number layers instead)"
        )
    bonded = neighbours(atoms)
    symbols = atoms.get_chemical_symbols()
    found = []
    for index in np.flatnonzero(is_adsorbate).tolist():
        contacts = [j for j in bonded[index].tolist() if not is_adsorbate[j]]
        if contacts:
            groups = [[symbols[j], *(symbols[k] for k in bonded[j].tolist())] for j in contacts]
            found.append(_site_text(symbols[index], [symbols[j] for j in contacts], groups))
    return ConfigurationText(adsorbate_formula, bulk_formula, miller, tuple(found)).format()


def adslab_text(
    adslab: Adslab, slab: Slab, slab_neighbours: Neighbours, ground: Landscape
) -> ConfigurationText:
    """Return the parts of the text of an adslab from neighbour lists of its clean slab.

    Args:
        adslab: Slab atoms first, positions in Å.
        slab: The clean slab under it.
        slab_neighbours: Bonded neighbours of each of its N atoms.
        ground: Its atoms that can be met, with their images.

    Returns:
        The adsorbate, the surface, and a site for each adsorbate atom that is bonded to the slab.
    """
    symbols = adslab.atoms.get_chemical_symbols()
    n_slab = len(slab.atoms)
    contacts_A = _contacts(adslab.atoms, n_slab, ground)
    touching: dict[int, list[str]] = {}
    for a, contacts in enumerate(contacts_A):
        for j in contacts:
            touching.setdefault(j, []).append(symbols[n_slab + a])
    brackets = {
        j: [symbols[j], *(symbols[k] for k in slab_neighbours[j].tolist()), *adsorbed]
        for j, adsorbed in touching.items()
    }
    found = [
        _site_text(
            symbols[n_slab + a], [symbols[j] for j in contacts], [brackets[j] for j in contacts]
        )
        for a, contacts in enumerate(contacts_A)
        if contacts
    ]
    return ConfigurationText(adslab.adsorbate, slab.bulk_formula, slab.miller, tuple(found))


def check_site(adslab: Adslab, text: str) -> str:
    """Return how ``text`` and the atoms disagree on who touches whom; empty where they agree."""
    named = [(site.atom, site.contacts, site.kind) for site in parse_text(text).sites]
    symbols = adslab.atoms.get_chemical_symbols()
    placed = []
    for index, touched in _bonds_by_brute_force(adslab.atoms).items():
        contacts = tuple(symbols[j] for j in touched)
        placed.append((symbols[index], contacts, site_kind(len(contacts))))
    if named == placed:
        return ""
    return (
        f"sites differ: the text of {adslab.adsorbate} names {_listed(named)}, its atoms make "
        f"{_listed(placed)}"
    )


def site_label(text: ConfigurationText) -> str:
    """Return the sites of a text in short: ``bridge Cu-Pt``, or ``C atop Cu + O atop Cu``."""
    if not text.sites:
        return "no contact"
    labels = [f"{site.kind} {'-'.join(site.contacts)}" for site in text.sites]
    if len(labels) == 1:
        return labels[0]
    return " + ".join(f"{s.atom} {label}" for s, label in zip(text.sites, labels, strict=True))


def _contacts(atoms: Atoms, n_slab: int, ground: Landscape) -> list[list[int]]:
    """Return the slab atoms that each adsorbate atom is bonded to, in index order."""
    positions_A3 = atoms.positions[n_slab:]
    home_A2 = to_cell(positions_A3[:, :2], atoms.cell.array[:2, :2])
    radii_N = cutoffs(atoms.numbers)
    limit_AM = radii_N[n_slab:, None] + radii_N[ground.index_M][None]
    distance2_AM = (
        (home_A2[:, 0, None] - ground.points_M3[:, 0]) ** 2
        + (home_A2[:, 1, None] - ground.points_M3[:, 1]) ** 2
        + (positions_A3[:, 2, None] - ground.points_M3[:, 2]) ** 2
    )
    bonded_AM = distance2_AM < limit_AM**2
    return [sorted(ground.index_M[row].tolist()) for row in bonded_AM]


def _bonds_by_brute_force(atoms: Atoms) -> dict[int, list[int]]:
    """Return the slab atoms each adsorbate atom is bonded to, once for each image.

    ``ase.geometry.get_distances`` sees one image only and takes 3 to 5 times longer on 6 + 70
    atoms; this runs for each placement.
    """
    tags_N = atoms.get_tags()
    ads_A, slab_N = np.flatnonzero(tags_N == 2), np.flatnonzero(tags_N < 2)
    cell_33, radii_N = atoms.cell.array, cutoffs(atoms.numbers)
    apart_AN3 = atoms.positions[slab_N][None] - atoms.positions[ads_A][:, None]
    scaled_AN3 = apart_AN3 @ np.linalg.inv(cell_33)
    nearest_AN3 = (scaled_AN3 - np.rint(scaled_AN3)) @ cell_33
    limit2_AN = (radii_N[ads_A][:, None] + radii_N[slab_N][None]) ** 2
    found: list[tuple[int, int]] = []
    for shift_3 in _AROUND_I3 @ cell_33:
        met_AN = ((nearest_AN3 + shift_3) ** 2).sum(axis=2) < limit2_AN
        found += zip(*(end.tolist() for end in np.nonzero(met_AN)), strict=True)
    touched: dict[int, list[int]] = {}
    for a, j in sorted(found):
        touched.setdefault(int(ads_A[a]), []).append(int(slab_N[j]))
    return touched


def _site_text(atom: str, contacts: Sequence[str], groups: Iterable[Sequence[str]]) -> SiteText:
    return SiteText(
        atom, tuple(contacts), site_kind(len(contacts)), tuple(tuple(group) for group in groups)
    )


def _listed(sites: Sequence[tuple[str, tuple[str, ...], str]]) -> str:
    return ", ".join(f"{a} {kind} {'-'.join(c)}" for a, c, kind in sites) or "no contact"
