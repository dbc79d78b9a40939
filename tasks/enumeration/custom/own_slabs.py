"""Slabs of one's own, from structure files, in the form of slabs that are cut from bulks.

Vacuum is found along any cell vector. A slab keeps the tags 0 and 1 and the fixed atoms of its file
where it has them; tags that count layers, as ASE's builders write them, are found again. Its Miller
index is checked against its plane, or found from it; where neither can be, texts say (0 0 0), which
is no plane, and the funnel says so.

Shapes  N slab atoms, P atoms of the smallest in-plane cell.
Units   Å.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from tasks.enumeration.bulk_files import FileCrystal, read_bulk_files
from tasks.enumeration.custom.clean_slab import (
    foreign_elements,
    require_no_overlap,
    tags_are_layers,
)
from tasks.enumeration.custom.slab_edits import layers_from_top
from tasks.enumeration.custom.slab_form import SLAB_TOLERANCE_ANG, SlabForm, slab_form
from tasks.enumeration.lattice_planes import SlabSide
from tasks.enumeration.miller import Miller, checked_miller, miller_word
from tasks.enumeration.plane_of_slab import plane_fits
from tasks.enumeration.slabs import LOOSE_FACTOR, Slab, SlabSpec, fixed_atoms
from tasks.errors import Refusal, UserError, first_line
from tasks.structures.contacts import coordination, cutoffs
from tasks.structures.distances import check_distances
from tasks.structures.formulas import formula_counts
from tasks.structures.identity import fixed_mask, slab_id
from tasks.structures.standard_frame import bulk_formula
from tasks.structures.vacuum import vacuum_along_c

NO_MILLER: Miller = (0, 0, 0)  # of a slab whose plane nobody knows
_MOST_FOREIGN_WORDS = 5


@dataclass(frozen=True)
class OwnSlabSpec:
    """Files with slabs, and the facts that they lack: Miller index, bulk, and the side to place on.

    Without ``bulk`` texts name the slab's own composition.
    """

    path: str
    miller: tuple[int, ...] | None = None
    bulk: str = ""
    side: Literal["top", "bottom", "both"] = "top"


@dataclass(frozen=True)
class OwnSlab:
    """A slab from a file, the file, and notes on its tags and an unchecked Miller index."""

    slab: Slab
    source: str
    note: str = ""


def read_own_slabs(
    specs: Sequence[OwnSlabSpec], slab_spec: SlabSpec
) -> tuple[list[OwnSlab], list[Refusal]]:
    """Return the slabs of files, and a refusal for each structure that is none.

    A slab that comes twice, in whichever writing, is kept once and refused the second time.

    Args:
        specs: The files.
        slab_spec: How wide and empty the slabs are made, and which atoms are fixed where a file
            does not say.

    Returns:
        The slabs in the order of files, and the refusals.
    """
    kept: list[OwnSlab] = []
    refused: list[Refusal] = []
    for spec in specs:
        sides: list[SlabSide] = ["top", "bottom"] if spec.side == "both" else [spec.side]
        for found in read_bulk_files(spec.path):
            if isinstance(found, Refusal):
                refused.append(replace(found, stage="slab"))
                continue
            for side in sides:
                source = f"{found.source} {side}" if len(sides) > 1 else found.source
                try:
                    made = _own_slab(replace(found, source=source), spec, side, slab_spec)
                except UserError as error:
                    refused.append(Refusal(source, "slab", first_line(error)))
                    continue
                same = next((each for each in kept if _is_same(each.slab, made.slab)), None)
                if same is None:
                    kept.append(made)
                else:
                    refused.append(Refusal(source, "slab", f"the same slab as: {same.source}"))
    return kept, refused


def _own_slab(
    found: FileCrystal, spec: OwnSlabSpec, side: SlabSide, slab_spec: SlabSpec
) -> OwnSlab:
    check_distances(found.atoms)
    atoms = vacuum_along_c(found.atoms)
    tags_N = _stated_tags(atoms)
    held_N = fixed_mask(atoms)
    labels_N = held_N * 10 + (0 if tags_N is None else tags_N + 1)
    form = slab_form(atoms, labels_N, turned=side == "bottom")
    slab = _repeated(form, slab_spec)
    source_N = slab.arrays.pop("source")
    require_no_overlap(slab)
    _require_clean(slab, found.atoms)
    slab.set_tags(_found_tags(slab, slab_spec) if tags_N is None else tags_N[source_N])
    fixed = np.flatnonzero(held_N[source_N]) if held_N.any() else _chosen_fixed(slab, slab_spec)
    if len(fixed):
        slab.set_constraint(FixAtoms(indices=fixed))
    _require_surface(slab, side)
    miller, note = _plane(slab, spec)
    layers = int(layers_from_top(slab, slab_spec.layer_tolerance_ang).max()) + 1
    note = "; ".join(filter(None, [note, _tags_note(found.atoms, layers)]))
    formula = bulk_of_slab(slab, spec.bulk)
    return OwnSlab(Slab(slab_id(slab), "", formula, miller, 0.0, side, slab), found.source, note)


def _stated_tags(atoms: Atoms) -> NDArray[np.int64] | None:
    """Return the tags 0 and 1 of a file; None where it has none, or where they count layers."""
    tags_N: NDArray[np.int64] = atoms.get_tags()
    values = set(tags_N.tolist())
    if len(values) == 1 and values <= {0, 1}:
        return None
    if values == {0, 1}:
        return tags_N
    if tags_are_layers(atoms):
        return None
    raise UserError(
        "tags of a slab are 0 below and 1 at the surface, or all 0 to have them found; got: "
        f"{sorted(values)[:6]}" + (", and 2 is an adsorbate" if 2 in values else "")
    )


def _tags_note(written: Atoms, layers: int) -> str:
    """Return a note where tags from 1 up, which are not believed, do not number the layers."""
    tags = sorted(set(written.get_tags().tolist()))
    if len(tags) in (1, layers) or tags == [0, 1]:
        return ""
    return (
        f"tags {tags[0]} to {tags[-1]} of the file are not believed: they follow the height, as "
        "layer numbers do, so 0 below and 1 at the surface were found"
    )


def _repeated(form: SlabForm, spec: SlabSpec) -> Atoms:
    """Return a slab as wide and empty as a campaign makes them, in its standard frame."""
    lengths = np.linalg.norm(form.plane_22, axis=1)
    across = [max(1, int(np.ceil(spec.min_in_plane_ang / length - 1e-6))) for length in lengths]
    size = len(form.numbers_P) * across[0] * across[1]
    if size > spec.max_atoms:
        raise UserError(f"too many atoms: {size}, at most max_atoms = {spec.max_atoms} allowed")
    thickness = float(np.ptp(form.positions_P3[:, 2]))
    cell_33 = np.zeros((3, 3))
    cell_33[:2, :2] = form.plane_22
    cell_33[2, 2] = thickness + spec.vacuum_ang
    atoms = Atoms(form.numbers_P, form.positions_P3, cell=cell_33, pbc=True)
    atoms.positions[:, 2] += 0.5 * spec.vacuum_ang
    atoms.new_array("source", form.source_P)
    wide: Atoms = atoms.repeat((across[0], across[1], 1))
    depth_N = np.floor((wide.positions[:, 2].max() - wide.positions[:, 2]) * 1e3 + 0.37)
    first = list(dict.fromkeys(form.numbers_P.tolist()))
    rank_N = np.array([first.index(number) for number in wide.numbers.tolist()])
    return wide[np.lexsort((depth_N, rank_N))]


def _require_clean(slab: Atoms, written: Atoms) -> None:
    """Refuse a slab with an adsorbate, which is counted as the file writes it."""
    foreign = foreign_elements(slab)
    if foreign:
        counts = written.symbols.formula.count()
        others = ", ".join(f"{counts[symbol]} {symbol}" for symbol in foreign[:_MOST_FOREIGN_WORDS])
        raise UserError(
            f"a slab is clean, its other side too: {others} in {written.get_chemical_formula()} "
            "lie outside only, as an adsorbate does; remove them, adsorbates are placed by the "
            "campaign"
        )


def _found_tags(slab: Atoms, spec: SlabSpec) -> NDArray[np.int64]:
    """Return 1 for the top layer and for upper atoms with fewer bonds than others of their kind."""
    for radii_N in (cutoffs(slab.numbers), covalent_radii[slab.numbers] * LOOSE_FACTOR):
        bonds_N = coordination(slab.numbers, slab.positions, slab.cell.array, radii_N)
        if bonds_N.min() > 0:
            break
    most_N = np.array([bonds_N[slab.numbers == number].max() for number in slab.numbers])
    z_N = slab.positions[:, 2]
    upper_N = z_N > 0.5 * (z_N.min() + z_N.max()) + SLAB_TOLERANCE_ANG
    surface_N = (upper_N & (bonds_N < most_N)) | (z_N > z_N.max() - spec.layer_tolerance_ang)
    return np.asarray(surface_N, dtype=np.int64)


def _chosen_fixed(slab: Atoms, spec: SlabSpec) -> NDArray[np.int64]:
    """Return the atoms that a campaign fixes: whole layers, also where a file is noisy."""
    if spec.fixed_layers is not None:
        return fixed_atoms(slab, spec)
    layer_N = layers_from_top(slab, spec.layer_tolerance_ang)
    z_N = slab.positions[:, 2]
    mean_N = np.array([z_N[layer_N == layer].mean() for layer in layer_N])
    limit = mean_N.min() + spec.fixed_fraction * float(np.ptp(mean_N)) + SLAB_TOLERANCE_ANG
    return np.flatnonzero((mean_N <= limit) & (spec.fixed_fraction > 0))


def _require_surface(slab: Atoms, side: SlabSide) -> None:
    """Refuse tags and fixed atoms that are not those of the working side."""
    tags_N, z_N = slab.get_tags(), slab.positions[:, 2]
    if tags_N[int(np.argmax(z_N))] != 1:
        raise UserError(
            f"atoms of tag 1 are on the working side: the outermost atom of the {side} "
            "has tag 0; set side, or all tags to 0 to have them found"
        )
    if fixed_mask(slab)[tags_N == 1].all():
        raise UserError(
            f"surface atoms are free: all atoms of tag 1 at the {side} are fixed in the file; set "
            "side, or leave fixed atoms out to have them chosen"
        )


def _plane(slab: Atoms, spec: OwnSlabSpec) -> tuple[Miller, str]:
    """Return the Miller index that texts name, and a note where it was not checked.

    Raises:
        UserError: the slab shows another plane than the one that is stated.
    """
    fits = plane_fits(slab)
    found = list(dict.fromkeys(fit.preferred() for fit in fits))
    if spec.miller is None:
        if len(found) == 1:
            return found[0], ""
        reason = "it can be " + " or ".join(map(miller_word, found)) if found else "it is not told"
        return NO_MILLER, (
            f"no Miller index, so texts say (0 0 0): {reason} by the slab; give miller in slabs"
        )
    stated = checked_miller(
        spec.miller, hexagonal=not fits or any(fit.is_hexagonal for fit in fits)
    )
    if not fits:
        return stated, f"Miller index taken as given: {miller_word(stated)} cannot be checked"
    for fit in fits:
        if fit.holds(stated):
            return fit.preferred(), ""
    raise UserError(
        f"the Miller index is that of the slab's plane: this slab is {miller_word(found[0])} of "
        f"{fits[0].crystal}, got {miller_word(stated)}; leave miller out, or give the slab's own"
    )


def bulk_of_slab(slab: Atoms, stated: str) -> str:
    """Return the formula that texts name: the stated bulk's, or the slab's own composition.

    Raises:
        UserError: it is no formula, or of elements that the slab lacks.
    """
    if not stated:
        return bulk_formula(slab)
    missing = sorted(set(formula_counts(stated)) - set(slab.get_chemical_symbols()))
    if missing:
        raise UserError(
            f"the bulk of a slab holds elements of the slab: {stated} has {', '.join(missing)}, "
            f"which {slab.get_chemical_formula()} lacks; leave bulk out or correct it"
        )
    return str(Composition(stated).reduced_formula)


def _is_same(one: Slab, other: Slab) -> bool:
    """Return whether two slabs are one within the tolerance, whichever is turned or shifted.

    Tags and fixed atoms count. Mirror images count as one: no adsorption energy tells them apart.
    """
    if one.slab_id == other.slab_id:
        return True
    if not np.allclose(
        one.atoms.cell.lengths(), other.atoms.cell.lengths(), atol=SLAB_TOLERANCE_ANG
    ):
        return False
    (kinds_N, depth_N), (other_N, other_depth_N) = _columns(one.atoms), _columns(other.atoms)
    if len(kinds_N) != len(other_N) or (kinds_N != other_N).any():
        return False
    if np.abs(depth_N - other_depth_N).max() > 2.0 * SLAB_TOLERANCE_ANG:
        return False
    kinds = list(dict.fromkeys(kinds_N.tolist()))
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.02, angle_tol=1)
    away = matcher.get_rms_dist(  # type: ignore[no-untyped-call]
        _by_kind(one.atoms, kinds), _by_kind(other.atoms, kinds)
    )
    # The matcher counts in the cube root of the volume per atom.
    unit_ang = float((one.atoms.cell.volume / len(one.atoms)) ** (1 / 3))
    return away is not None and bool(away[1] * unit_ang < SLAB_TOLERANCE_ANG)


def _kinds(atoms: Atoms) -> NDArray[np.int64]:
    """Return a number for the element, tag and fixing of each atom."""
    return np.asarray(atoms.numbers * 4 + atoms.get_tags() * 2 + fixed_mask(atoms))


def _columns(atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the kinds of atoms and their depths, sorted by both."""
    kinds_N = _kinds(atoms)
    depth_N = atoms.positions[:, 2].max() - atoms.positions[:, 2]
    order = np.lexsort((depth_N, kinds_N))
    return kinds_N[order], depth_N[order]


def _by_kind(atoms: Atoms, kinds: list[int]) -> Structure:
    """Return a structure in which each kind of atom is an element of its own."""
    stand_ins = [Element.from_Z(kinds.index(kind) + 1) for kind in _kinds(atoms).tolist()]
    return Structure(atoms.cell.array, stand_ins, atoms.get_scaled_positions())
