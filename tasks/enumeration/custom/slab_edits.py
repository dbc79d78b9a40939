"""Edited slabs: a skin, another second layer, one foreign surface atom, strain in the plane.

An edited slab keeps the cell, tags and fixed atoms of its host, but for strain, which stretches
cell and positions together. Where atoms are exchanged, its formula in texts is its own composition,
as in published sets of such slabs: the host's would name a crystal without the new element. Strain
changes no composition and no neighbours, so a text says nothing of it: the atoms do.

Shapes  N slab atoms, L layers.
Units   Å; strain as a fraction.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from tasks.enumeration.slabs import Slab
from tasks.errors import Refusal, UserError
from tasks.structures.contacts import cutoffs
from tasks.structures.identity import slab_id
from tasks.structures.standard_frame import bulk_formula

LARGEST_STRAIN = 0.1
_SAME_KIND_ANG = 0.05  # atoms of one kind lie on each other within this, after an operation


@dataclass(frozen=True)
class SlabEdits:
    """Which variants of each slab are made; every element and strain is a variant of its own.

    ``skin`` replaces the outermost ``skin_layers``, ``subsurface`` the second layer,
    ``single_atom`` one surface atom of each symmetry-distinct kind, and ``strain`` stretches a slab
    along both in-plane vectors, from its own lattice. Heights then change by -2 v / (1 - v) times
    the strain, as those of a free isotropic film with ``poisson_ratio`` v; 0 keeps them. With
    ``only_edited`` the slab itself is left out.
    """

    skin: tuple[str, ...] = ()
    skin_layers: int = 1
    subsurface: tuple[str, ...] = ()
    single_atom: tuple[str, ...] = ()
    strain: tuple[float, ...] = ()
    poisson_ratio: float = 0.0
    only_edited: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(self.elements - set(chemical_symbols[1:]))
        if unknown:
            raise UserError(f"an edit names elements by symbol, got {', '.join(unknown)}")
        if self.skin_layers < 1:
            raise UserError(f"a skin has 1 layer or more, got {self.skin_layers}")
        for strain in self.strain:
            if not 0 < abs(strain) <= LARGEST_STRAIN:
                raise UserError(
                    f"strain is a fraction between -{LARGEST_STRAIN:g} and {LARGEST_STRAIN:g}, not "
                    f"0, got {strain:g}: 0.02 is 2 %"
                )
        if not 0 <= self.poisson_ratio <= 0.5:
            raise UserError(f"poisson_ratio is 0 to 0.5, got {self.poisson_ratio:g}")
        if self.only_edited and not (self.elements or self.strain):
            raise UserError("only_edited needs an edit: skin, subsurface, single_atom or strain")

    @property
    def elements(self) -> frozenset[str]:
        """Return the elements that edits bring in."""
        return frozenset((*self.skin, *self.subsurface, *self.single_atom))


def edited_slabs(
    slab: Slab, edits: SlabEdits, layer_tolerance_ang: float
) -> tuple[list[Slab], list[Refusal]]:
    """Return a slab, unless only edited ones are meant, and its variants.

    Args:
        slab: A slab with its surface up and tags 0 and 1.
        edits: The variants.
        layer_tolerance_ang: Atoms nearer than this in height are one layer.

    Returns:
        The slabs, each with an id of its own, and a refusal for each edit that is impossible or
        changes nothing.

    Example:
        >>> from tasks.enumeration.bulks import FormulaSpec, resolve_bulks
        >>> from tasks.enumeration.slabs import SlabSpec, enumerate_slabs
        >>> (nickel,), _ = resolve_bulks([FormulaSpec("Ni")])
        >>> (slab,), _ = enumerate_slabs(nickel, SlabSpec(millers=((1, 1, 1),)))
        >>> slabs, _ = edited_slabs(slab, SlabEdits(skin=("Pt",), strain=(0.02,)), 0.3)
        >>> [(each.edit, each.bulk_formula) for each in slabs]
        [('', 'Ni'), ('skin Pt', 'Ni3Pt'), ('strain +2 %', 'Ni')]
    """
    slabs = {} if edits.only_edited else {slab.slab_id: slab}
    refused: list[Refusal] = []
    for edit, made in _variants(slab, edits, layers_from_top(slab.atoms, layer_tolerance_ang)):
        if isinstance(made, str):
            surface = f"{slab.bulk_formula} {slab.miller} shift {slab.shift:.3f} {slab.side}"
            refused.append(Refusal(f"{surface} {edit}", "slab", made))
            continue
        formula = slab.bulk_formula if edit.startswith("strain") else bulk_formula(made)
        variant = replace(slab, slab_id=slab_id(made), bulk_formula=formula, atoms=made, edit=edit)
        slabs.setdefault(variant.slab_id, variant)
    return list(slabs.values()), refused


def _variants(
    slab: Slab, edits: SlabEdits, layer_N: NDArray[np.int64]
) -> Iterator[tuple[str, Atoms | str]]:
    """Yield the name of each edit with the atoms it makes, or with the reason why it makes none."""
    for symbol in dict.fromkeys(edits.skin):
        depth = edits.skin_layers
        name = f"skin {symbol}" if depth == 1 else f"skin {symbol}, {depth} layers"
        yield name, _replaced(slab.atoms, layer_N < depth, symbol, layer_N, depth)
    for symbol in dict.fromkeys(edits.subsurface):
        yield f"{symbol} in layer 2", _replaced(slab.atoms, layer_N == 1, symbol, layer_N, 2)
    for symbol in dict.fromkeys(edits.single_atom):
        yield from _single_atoms(slab.atoms, symbol)
    for strain in dict.fromkeys(edits.strain):
        heights = -2.0 * edits.poisson_ratio / (1.0 - edits.poisson_ratio) * strain
        name = f"strain {100 * strain:+g} %"
        if heights:
            name += f", heights {100 * heights:+.2g} %"
        yield name, _strained(slab.atoms, strain, heights)


def layers_from_top(atoms: Atoms, tolerance_ang: float) -> NDArray[np.int64]:
    """Return the layer of each atom, counted from the top: 0 is the outermost."""
    depth_N = atoms.positions[:, 2].max() - atoms.positions[:, 2]
    order = np.argsort(depth_N, kind="stable")
    layer_N = np.empty(len(atoms), dtype=np.int64)
    layer_N[order] = np.cumsum(np.diff(depth_N[order], prepend=0.0) > tolerance_ang)
    return layer_N


def _replaced(
    atoms: Atoms,
    chosen_N: NDArray[np.bool_],
    symbol: str,
    layer_N: NDArray[np.int64],
    deepest: int,
) -> Atoms | str:
    count = int(layer_N.max()) + 1
    if count <= deepest:
        return f"too few layers for the edit: {count}, more than {deepest} needed"
    if (atoms.numbers[chosen_N] == atomic_numbers[symbol]).all():
        return f"the edit changes nothing: the layer is {symbol} already"
    return _with_element(atoms, chosen_N, symbol)


def _with_element(
    atoms: Atoms, chosen_N: NDArray[np.bool_] | NDArray[np.int64], symbol: str
) -> Atoms:
    edited: Atoms = atoms.copy()
    edited.numbers[chosen_N] = atomic_numbers[symbol]
    return edited


def _single_atoms(atoms: Atoms, symbol: str) -> Iterator[tuple[str, Atoms | str]]:
    """Yield a slab for each kind of surface atom that the element can stand for, highest first."""
    number = atomic_numbers[symbol]
    apart = _shortest_repeat(atoms)
    bonded = 2.0 * float(cutoffs(np.array([number]))[0])
    if apart <= bonded:
        yield (
            f"1 {symbol}",
            f"the foreign atom touches its own images: {apart:.2f} Å apart, more than "
            f"{bonded:.2f} needed; raise min_in_plane",
        )
        return
    kinds = [kind for kind in _surface_kinds(atoms) if atoms.numbers[kind] != number]
    if not kinds:
        yield f"1 {symbol}", f"the edit changes nothing: the surface is {symbol} already"
    hosts = [atoms.symbols[kind] for kind in kinds]
    for index, kind in enumerate(kinds):
        name = f"1 {symbol} for {hosts[index]}"
        if hosts.count(hosts[index]) > 1:
            name += f" {hosts[: index + 1].count(hosts[index])}"
        yield name, _with_element(atoms, np.array([kind]), symbol)


def _surface_kinds(atoms: Atoms) -> list[int]:
    """Return the first surface atom of each kind that symmetry tells apart, the highest first."""
    found = spglib.get_symmetry_dataset(
        (
            atoms.cell.array.tolist(),
            atoms.get_scaled_positions().tolist(),
            atoms.numbers.tolist(),
        ),
        symprec=_SAME_KIND_ANG,
    )
    surface = np.flatnonzero(atoms.get_tags() == 1)
    # Only the upper surface is tagged, so no operation that turns the slab over joins two of it.
    kind_N = np.arange(len(atoms)) if found is None else found.equivalent_atoms
    first = [int(surface[kind_N[surface] == kind][0]) for kind in np.unique(kind_N[surface])]
    return sorted(first, key=lambda atom: (-round(float(atoms.positions[atom, 2]), 2), atom))


def _shortest_repeat(atoms: Atoms) -> float:
    """Return the shortest in-plane vector of the cell, Å."""
    a, b = atoms.cell.array[0], atoms.cell.array[1]
    return float(min(np.linalg.norm(vector) for vector in (a, b, a + b, a - b)))


def _strained(atoms: Atoms, strain: float, heights: float) -> Atoms:
    """Return a slab stretched in the plane, and along c above its lowest atom."""
    edited: Atoms = atoms.copy()
    cell_33 = atoms.cell.array.copy()
    cell_33[:2] *= 1.0 + strain
    z_N = atoms.positions[:, 2]
    cell_33[2, 2] += heights * float(np.ptp(z_N))  # the vacuum stays as wide
    edited.set_cell(cell_33, scale_atoms=False)
    edited.positions[:, :2] *= 1.0 + strain
    edited.positions[:, 2] = z_N.min() + (z_N - z_N.min()) * (1.0 + heights)
    return edited
