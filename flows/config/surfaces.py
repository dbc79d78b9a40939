"""The sections of a campaign file that say which slabs are screened. Units: Å.

Bulks come from formulas, random alloys, files and the Materials Project, and are cut; slabs of
one's own come from files.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from flows.config.yaml_model import YamlModel, raise_as_value_error
from tasks.enumeration import (
    BulkSpec,
    FileSpec,
    FormulaSpec,
    MaterialsProjectSpec,
    MillerAxes,
    OwnSlabSpec,
    RandomAlloySpec,
    SlabEdits,
    SlabSpec,
    alloy_specs,
    cells_of,
    checked_miller,
)
from tasks.enumeration.custom.random_alloys import MOST_ALLOY_ATOMS
from tasks.structures.symmetrise import SYMMETRY_TOLERANCE_ANG

Prototype = Literal["fcc", "bcc", "hcp", "L1_2", "B2", "L1_0"]
AlloySize = Annotated[int, Field(ge=1, le=MOST_ALLOY_ATOMS)]
MillerIndices = Annotated[list[StrictInt], Field(min_length=3, max_length=4)]


class Alloy(YamlModel):
    """One alloy: its formula, and the crystal structure it is built in."""

    formula: str
    prototype: Prototype


class Combination(YamlModel):
    """Every ordered choice of two elements, in each of the prototypes."""

    elements: list[str] = Field(min_length=2)
    prototypes: list[Prototype] = Field(min_length=1)


class RandomAlloys(YamlModel):
    """Arrangements of a random alloy: shares of elements on the sites of a prototype.

    Its size is given by ``cells``, conventional cells along each vector, or by ``atoms``. The
    lattice constant follows Vegard's rule. Miller indices are those of the prototype's cell.
    """

    composition: dict[str, float] = Field(min_length=2)
    prototype: Literal["fcc", "bcc", "hcp", "diamond"]
    cells: Annotated[list[AlloySize], Field(min_length=3, max_length=3)] | None = None
    atoms: AlloySize | None = None
    method: Literal["sqs", "seeded"] = "sqs"
    seed: int = Field(default=0, ge=0)
    number: int = Field(default=1, ge=1, le=100)

    def specs(self) -> list[RandomAlloySpec]:
        """Return a specification of each arrangement."""
        shares = tuple(sorted(self.composition.items()))
        a, b, c = self.cells or cells_of(self.prototype, self.atoms or 0)
        return [
            RandomAlloySpec(shares, self.prototype, (a, b, c), self.method, self.seed, number)
            for number in range(self.number)
        ]

    @model_validator(mode="after")
    def _is_possible(self) -> "RandomAlloys":
        if (self.cells is None) == (self.atoms is None):
            raise ValueError(
                "a random alloy's size is given by cells or by atoms, got "
                f"{'neither' if self.cells is None else 'both'}; write cells: [2, 2, 2]"
            )
        raise_as_value_error(self.specs)
        return self


class Bulks(YamlModel):
    """Where bulk crystals come from. Paths are relative to the campaign file.

    ``symmetry_tolerance`` (Å) is how far atoms of a relaxed or rounded file may be off the
    positions of its space group. Smaller distortions are not seen; those beyond it are kept.
    """

    elements: list[str] = Field(default=[])
    alloys: list[Alloy] = Field(default=[])
    combine: list[Combination] = Field(default=[])
    random_alloys: list[RandomAlloys] = Field(default=[])
    structures: list[str] = Field(default=[])
    materials_project: list[str] = Field(default=[])
    symmetry_tolerance: float = Field(default=SYMMETRY_TOLERANCE_ANG, ge=0.01, le=0.2)

    def specs(self, folder: Path) -> list[BulkSpec]:
        """Return the requested bulks in the order of the file; paths are relative to ``folder``."""
        found: list[BulkSpec] = [FormulaSpec(symbol) for symbol in self.elements]
        found += [FormulaSpec(alloy.formula, alloy.prototype) for alloy in self.alloys]
        for choice in self.combine:
            found += alloy_specs(choice.elements, choice.prototypes)
        found += [spec for alloy in self.random_alloys for spec in alloy.specs()]
        found += [FileSpec(str(folder / path)) for path in self.structures]
        found += [MaterialsProjectSpec(name) for name in self.materials_project]
        return found

    @model_validator(mode="after")
    def _not_empty(self) -> "Bulks":
        if not self.specs(Path()):
            raise ValueError(
                "a campaign needs at least one bulk, got none; "
                "give elements, alloys, combine, random_alloys, structures or materials_project"
            )
        return self


class OwnSlabs(YamlModel):
    """Your own slabs: a file, folder or glob, relative to the campaign file.

    ``miller`` and ``bulk`` are what texts name: without them the plane is found from the slab, and
    the bulk is the slab's own composition. ``side`` is where adsorbates go.
    """

    file: str
    miller: MillerIndices | None = None
    bulk: str = ""
    side: Literal["top", "bottom", "both"] = "top"

    def spec(self, folder: Path) -> OwnSlabSpec:
        """Return the files as they are read."""
        miller = None if self.miller is None else tuple(self.miller)
        return OwnSlabSpec(str(folder / self.file), miller, self.bulk, self.side)

    @model_validator(mode="after")
    def _is_possible(self) -> "OwnSlabs":
        if self.miller is not None:
            miller = self.miller
            raise_as_value_error(lambda: checked_miller(miller))
        return self


class Exchange(YamlModel):
    """Elements that take the place of others; each of them makes slabs of its own."""

    elements: list[str] = Field(min_length=1)


class Skin(Exchange):
    """Elements that replace the outermost layers."""

    layers: int = 1


class Surfaces(YamlModel):
    """Which surfaces are cut, and how thick and wide the slabs are.

    ``max_miller`` bounds the indices in the conventional cell, ``millers`` names planes
    instead, in the axes of the cell in a structure file or in those of its conventional cell.
    Without ``fixed_layers`` the lower half of each slab is fixed. A plane is cut in every gap
    between atoms' heights that is wider than ``cut_tolerance`` (Å); of one plane the first
    ``max_cuts`` are kept.

    ``skin``, ``subsurface`` (the second layer), ``single_atom`` and ``strain`` make variants of
    each slab, beside it or, with ``only_edited``, in its place. Strain is biaxial in the plane and
    counts from the slab as it is cut or read; heights are kept, or follow ``poisson_ratio``.
    """

    max_miller: int = Field(default=1, ge=1, le=4)
    millers: list[MillerIndices] | None = None
    miller_axes: MillerAxes = "file"
    min_thickness: float = 7.0
    vacuum: float = 15.0
    min_in_plane: float = 8.0
    fixed_layers: int | None = None
    cut_tolerance: float = 0.05
    max_atoms: int = 250
    max_cuts: int | None = None
    skin: Skin | None = None
    subsurface: Exchange | None = None
    single_atom: Exchange | None = None
    strain: list[float] = Field(default=[])
    poisson_ratio: float = 0.0
    only_edited: bool = False

    def edits(self) -> SlabEdits:
        """Return the variants of slabs as they are made."""

        def elements(exchange: Exchange | None) -> tuple[str, ...]:
            return () if exchange is None else tuple(exchange.elements)

        return SlabEdits(
            skin=elements(self.skin),
            skin_layers=1 if self.skin is None else self.skin.layers,
            subsurface=elements(self.subsurface),
            single_atom=elements(self.single_atom),
            strain=tuple(self.strain),
            poisson_ratio=self.poisson_ratio,
            only_edited=self.only_edited,
        )

    def spec(self) -> SlabSpec:
        """Return these values as the slab enumerator reads them."""
        millers = None if self.millers is None else tuple(tuple(m) for m in self.millers)
        return SlabSpec(
            max_miller=self.max_miller,
            millers=millers,
            miller_axes=self.miller_axes,
            min_thickness_ang=self.min_thickness,
            vacuum_ang=self.vacuum,
            min_in_plane_ang=self.min_in_plane,
            fixed_layers=self.fixed_layers,
            cut_tolerance_ang=self.cut_tolerance,
            max_atoms=self.max_atoms,
            max_cuts=self.max_cuts,
        )

    @model_validator(mode="after")
    def _is_possible(self) -> "Surfaces":
        raise_as_value_error(self.spec)
        raise_as_value_error(self.edits)
        return self
