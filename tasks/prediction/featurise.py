"""Write an adslab as a model reads it: configuration text and atoms, and check that they agree.

The site a text names follows from bonds, not from where the adsorbate was aimed: an atom put over
a bridge that also bonds to a third atom is named, reported and predicted as hollow. The recipe
keeps the site that was asked for. ``check_site`` counts the bonds again, by brute force.

By the rule ``scaled`` sites, contacts and neighbours are in alphabetical order, so that the order
of atoms in a file plays no part; by ``radii`` they are in the order of the atoms.

Shapes  N slab atoms, A adsorbate atoms, M atoms of the landscape, I images.
Units   Å.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from model.contract import BondRule, Configuration
from model.text.configuration_text import ConfigurationText, SiteText, parse_text, site_kind
from tasks.enumeration import Adslab, Slab, SurfaceSites
from tasks.enumeration.landscape import Landscape, landscape, to_cell
from tasks.errors import Refusal, UserError
from tasks.structures.bond_rules import FARTHEST_CONTACT_ANG, slab_neighbours, touching
from tasks.structures.contacts import Neighbours

# The nearest image in the plane and its eight neighbours; along c the vacuum lies between.
_AROUND_I3 = np.array([[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)


class SiteMismatchError(UserError):
    """The text and the atoms of one adslab name different sites."""


def featurise(
    adslab: Adslab, slab: Slab, level: str, rule: BondRule, sites: SurfaceSites | None = None
) -> Configuration:
    """Return the configuration of ``adslab`` that a model reads.

    Args:
        adslab: Slab atoms first, tags 0, 1 and 2, positions in Å.
        slab: The clean slab under it.
        level: The level of theory to predict at.
        rule: The bond rule of the predictor that will read the text.
        sites: Brings the neighbour lists of the slab; without it they are found again.

    Returns:
        The text and the atoms of the adslab.

    Raises:
        SiteMismatchError: text and atoms name different sites.
    """
    neighbours = slab_neighbours(slab.atoms, rule) if sites is None else sites.neighbours[rule]
    ground = landscape(slab) if sites is None else sites.landscape
    text = adslab_text(adslab, slab, neighbours, ground, rule).format()
    mismatch = check_site(adslab, text, rule)
    if mismatch:
        raise SiteMismatchError(mismatch)
    return Configuration.from_atoms(
        adslab.atoms, candidate_id=adslab.candidate_id, level=level, text=text
    )


def featurise_all(
    adslabs: Sequence[Adslab], slab: Slab, level: str, rule: BondRule, sites: SurfaceSites
) -> tuple[list[Configuration], list[Refusal]]:
    """Return the configurations of one slab's adslabs in order, and those refused by the check."""
    configurations: list[Configuration] = []
    refused: list[Refusal] = []
    for adslab in adslabs:
        try:
            configurations.append(featurise(adslab, slab, level, rule, sites))
        except SiteMismatchError as error:
            refused.append(Refusal(adslab.candidate_id, "placement", str(error)))
    return configurations, refused


def configuration_text(
    atoms: Atoms,
    adsorbate_formula: str,
    bulk_formula: str,
    miller: tuple[int, int, int],
    rule: BondRule,
) -> str:
    """Return the text of any adslab with tag 2 on its adsorbate, the surface facing along a x b.

    Args:
        atoms: Positions in Å, tags 0 bulk, 1 surface and 2 adsorbate.
        adsorbate_formula: The adsorbate as the text names it.
        bulk_formula: The bulk as the text names it.
        miller: The Miller index of the surface.
        rule: The bond rule of the text.

    Returns:
        The text: adsorbate, surface, and a site for each adsorbate atom bonded to the slab.

    Raises:
        UserError: the tags are others, or one of slab and adsorbate has no atoms.

    Example:
        >>> from ase.build import add_adsorbate, fcc111
        >>> adslab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
        >>> add_adsorbate(adslab, "O", 1.8, "ontop")
        >>> adslab.set_tags([0] * 8 + [1] * 4 + [2])
        >>> configuration_text(adslab, "O", "Cu", (1, 1, 1), "scaled")
        'O</s>Cu (1 1 1)</s>[O Cu atop [Cu Cu Cu Cu Cu Cu Cu Cu Cu Cu O]]'
    """
    tags_N = atoms.get_tags()
    in_slab_N = tags_N != 2
    if in_slab_N.all() or not in_slab_N.any() or tags_N.min() < 0 or tags_N.max() > 2:
        raise UserError(
            "tags are 0 bulk, 1 surface and 2 adsorbate, with at least one slab and one adsorbate "
            f"atom; got {sorted(set(tags_N.tolist()))} (ASE's slab builders number layers instead)"
        )
    contacts_A = _contacts_by_brute_force(atoms, in_slab_N, rule)
    neighbours = slab_neighbours(atoms[in_slab_N], rule)
    sites = _site_texts(*_symbols(atoms, in_slab_N), contacts_A, neighbours, rule)
    return ConfigurationText(adsorbate_formula, bulk_formula, miller, sites).format()


def adslab_text(
    adslab: Adslab, slab: Slab, neighbours: Neighbours, ground: Landscape, rule: BondRule
) -> ConfigurationText:
    """Return the parts of the text of an adslab from neighbour lists of its clean slab.

    Args:
        adslab: Slab atoms first, positions in Å.
        slab: The clean slab under it.
        neighbours: Bonded neighbours of each of its N atoms, by the same rule.
        ground: Its atoms that can be met, with their images.
        rule: The bond rule of the text.

    Returns:
        The adsorbate, the surface, and a site for each adsorbate atom that is bonded to the slab.
    """
    n_slab = len(slab.atoms)
    symbols: list[str] = adslab.atoms.get_chemical_symbols()
    contacts_A = slab_contacts(adslab.atoms, n_slab, ground, rule)
    sites = _site_texts(symbols[:n_slab], symbols[n_slab:], contacts_A, neighbours, rule)
    return ConfigurationText(adslab.adsorbate, slab.bulk_formula, slab.miller, sites)


def check_site(adslab: Adslab, text: str, rule: BondRule) -> str:
    """Return how ``text`` and the atoms disagree on who touches whom; empty where they agree."""
    named = [(site.atom, site.contacts, site.kind) for site in parse_text(text).sites]
    in_slab_N = adslab.atoms.get_tags() < 2
    contacts_A = _contacts_by_brute_force(adslab.atoms, in_slab_N, rule)
    sites = _site_texts(*_symbols(adslab.atoms, in_slab_N), contacts_A, None, rule)
    placed = [(site.atom, site.contacts, site.kind) for site in sites]
    # Equal atoms are sorted by their contacts' neighbours, which are left out here.
    if named == placed or (rule == "scaled" and sorted(named) == sorted(placed)):
        return ""
    return (
        f"sites differ: the text of {adslab.adsorbate} names {_listed(named)}, its atoms make "
        f"{_listed(placed)}"
    )


def site_name(adslab: Adslab, slab: Slab, ground: Landscape) -> str:
    """Return the name of an adslab's site by the rule ``scaled``, whichever its text follows."""
    n_slab = len(slab.atoms)
    symbols: list[str] = adslab.atoms.get_chemical_symbols()
    contacts_A = slab_contacts(adslab.atoms, n_slab, ground, "scaled")
    return site_label(_site_texts(symbols[:n_slab], symbols[n_slab:], contacts_A, None, "scaled"))


def site_label(sites: Sequence[SiteText]) -> str:
    """Return the sites of a text in short: ``bridge Cu-Pt``, or ``C atop Cu + O atop Cu``."""
    if not sites:
        return "no contact"
    ordered = sorted(sites, key=lambda site: (site.atom, site.contacts))
    labels = [f"{site.kind} {'-'.join(site.contacts)}" for site in ordered]
    if len(labels) == 1:
        return labels[0]
    return " + ".join(f"{s.atom} {label}" for s, label in zip(ordered, labels, strict=True))


def _symbols(atoms: Atoms, in_slab_N: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
    """Return the symbols of the slab and of the adsorbate."""
    parts: tuple[list[str], list[str]] = ([], [])
    for symbol, in_slab in zip(atoms.get_chemical_symbols(), in_slab_N.tolist(), strict=True):
        parts[0 if in_slab else 1].append(symbol)
    return parts


def slab_contacts(atoms: Atoms, n_slab: int, ground: Landscape, rule: BondRule) -> list[list[int]]:
    """Return the slab atoms that each adsorbate atom is bonded to, in index order."""
    positions_A3 = atoms.positions[n_slab:]
    home_A2 = to_cell(positions_A3[:, :2], atoms.cell.array[:2, :2])
    radii_AM = covalent_radii[atoms.numbers[n_slab:]][:, None] + ground.radii_M
    drop_AM = positions_A3[:, 2, None] - ground.points_M3[:, 2]
    distance_AM = np.sqrt(
        (home_A2[:, 0, None] - ground.points_M3[:, 0]) ** 2
        + (home_A2[:, 1, None] - ground.points_M3[:, 1]) ** 2
        + drop_AM**2
    )
    bonded_AM = touching(distance_AM, radii_AM, drop_AM, rule)
    return [sorted(ground.index_M[row].tolist()) for row in bonded_AM]


def _contacts_by_brute_force(
    atoms: Atoms, in_slab_N: NDArray[np.bool_], rule: BondRule
) -> list[list[int]]:
    """Return the slab atoms (counted among themselves) that each adsorbate atom is bonded to.

    Each is listed once for each image. ``ase.geometry.get_distances`` sees one image only and takes
    3 to 5 times longer on 6 + 70 atoms; this runs for each placement.
    """
    cell_33 = atoms.cell.array
    radii_N = covalent_radii[atoms.numbers]
    (ax, ay, az), (bx, by, bz) = cell_33[:2].tolist()
    normal_3 = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    height_N = atoms.positions @ (normal_3 / np.sqrt(normal_3 @ normal_3))
    # Images in the plane are as high as the atom itself; deeper ones cannot be reached.
    low = height_N[~in_slab_N].min() - 2.0 * radii_N.max() - FARTHEST_CONTACT_ANG
    slab_K = np.flatnonzero(in_slab_N & (height_N > low))
    apart_AK3 = atoms.positions[slab_K] - atoms.positions[~in_slab_N][:, None]
    scaled_AK3 = apart_AK3 @ np.linalg.inv(cell_33)
    nearest_AK3 = (scaled_AK3 - np.rint(scaled_AK3)) @ cell_33
    distance_AIK = np.sqrt(
        ((nearest_AK3[:, None] + (_AROUND_I3 @ cell_33)[:, None]) ** 2).sum(axis=3)
    )
    bonded_AM = touching(
        distance_AIK.reshape(len(apart_AK3), -1),
        np.tile(radii_N[~in_slab_N][:, None] + radii_N[slab_K], len(_AROUND_I3)),
        np.tile(height_N[~in_slab_N][:, None] - height_N[slab_K], len(_AROUND_I3)),
        rule,
    )
    index_M = np.tile((np.cumsum(in_slab_N) - 1)[slab_K], len(_AROUND_I3))
    return [sorted(index_M[row].tolist()) for row in bonded_AM]


def _site_texts(
    slab_symbols: Sequence[str],
    adsorbate_symbols: Sequence[str],
    contacts_A: Sequence[Sequence[int]],
    neighbours: Sequence[NDArray[np.int64]] | None,
    rule: BondRule,
) -> tuple[SiteText, ...]:
    """Return a site for each adsorbate atom that touches the slab, in the order of the rule.

    Without ``neighbours`` the brackets hold the contacts and the adsorbate's atoms alone.
    """
    in_order = sorted if rule == "scaled" else list
    adsorbed: dict[int, list[str]] = {}
    for symbol, contacts in zip(adsorbate_symbols, contacts_A, strict=True):
        for j in contacts:
            adsorbed.setdefault(j, []).append(symbol)
    brackets = {
        j: (
            slab_symbols[j],
            *in_order([slab_symbols[k] for k in neighbours[j].tolist()] if neighbours else []),
            *in_order(there),
        )
        for j, there in adsorbed.items()
    }
    sites = []
    for symbol, contacts in zip(adsorbate_symbols, contacts_A, strict=True):
        if contacts:
            groups = tuple(in_order([brackets[j] for j in contacts]))
            touched = tuple(group[0] for group in groups)
            sites.append(SiteText(symbol, touched, site_kind(len(touched)), groups))
    if rule == "scaled":
        sites.sort(key=lambda site: (site.atom, site.neighbours))
    return tuple(sites)


def _listed(sites: Sequence[tuple[str, tuple[str, ...], str]]) -> str:
    return ", ".join(f"{a} {kind} {'-'.join(c)}" for a, c, kind in sites) or "no contact"
