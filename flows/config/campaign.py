"""A campaign file: its sections as pydantic models, and how it is read. Units: Å, degrees, eV.

The section ``triage`` stands in ``flows.config.triage``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    StrictInt,
    Tag,
    field_validator,
    model_validator,
)

from flows.config.triage import Triage
from flows.config.yaml_model import (
    KeyPath,
    YamlFileKind,
    YamlModel,
    load_yaml_model,
    raise_as_value_error,
)
from tasks.acquisition.rank import Window
from tasks.enumeration import (
    BulkSpec,
    FileSpec,
    FormulaSpec,
    MaterialsProjectSpec,
    MillerAxes,
    PlacementSpec,
    RandomAlloySpec,
    SlabEdits,
    SlabSpec,
    alloy_specs,
    cells_of,
)
from tasks.structures.symmetrise import SYMMETRY_TOLERANCE_ANG

Prototype = Literal["fcc", "bcc", "hcp", "L1_2", "B2", "L1_0"]
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
    cells: Annotated[list[int], Field(min_length=3, max_length=3)] | None = None
    atoms: int | None = Field(default=None, ge=2)
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
    each slab, beside it or, with ``only_edited``, in its place. Strain is biaxial in the plane, of
    slabs that are cut from bulks; heights are kept, or follow ``poisson_ratio``.
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


class FileAdsorbate(YamlModel):
    """Your own adsorbate from a structure file; ``binding`` counts its atoms from 0."""

    file: str
    binding: list[int] = Field(min_length=1)
    name: str | None = None


class SmilesAdsorbate(YamlModel):
    """Your own adsorbate from a SMILES string; ``binding`` counts its atoms from 0."""

    smiles: str
    binding: list[int] = Field(min_length=1)
    name: str | None = None


def _kind_of_adsorbate(value: Any) -> str:
    if isinstance(value, FileAdsorbate | SmilesAdsorbate):
        return "file" if isinstance(value, FileAdsorbate) else "smiles"
    if isinstance(value, dict):
        return "smiles" if "smiles" in value else "file"
    return "name"


# The tags keep an error to the one form that was meant.
AnyAdsorbate = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[FileAdsorbate, Tag("file")]
    | Annotated[SmilesAdsorbate, Tag("smiles")],
    Discriminator(_kind_of_adsorbate),
]


def _adsorbate_name(adsorbate: AnyAdsorbate) -> str:
    if isinstance(adsorbate, str):
        return adsorbate
    if adsorbate.name is not None:
        return adsorbate.name
    return Path(adsorbate.file).stem if isinstance(adsorbate, FileAdsorbate) else adsorbate.smiles


class Placements(YamlModel):
    """Where and how each adsorbate is put on a slab."""

    kinds: list[Literal["atop", "bridge", "hollow"]] = Field(default=["atop", "bridge", "hollow"])
    rotations: int = 3
    random: int = 0

    def spec(self, seed: int) -> PlacementSpec:
        """Return these values as the placement enumerator reads them."""
        return PlacementSpec(
            kinds=tuple(self.kinds), rotations=self.rotations, random=self.random, seed=seed
        )

    @model_validator(mode="after")
    def _is_possible(self) -> "Placements":
        raise_as_value_error(lambda: self.spec(seed=0))
        return self


class Target(YamlModel):
    """The target energies of one adsorbate: a window, or an optimum and a width either side."""

    window: tuple[float, float] | None = None
    optimum: float | None = None
    width: float | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> "Target":
        given = (self.window is not None, self.optimum is not None, self.width is not None)
        if given not in {(True, False, False), (False, True, True)}:
            raise ValueError(
                "a target is either a window or an optimum with a width, got "
                f"{self.model_dump(exclude_none=True)}; write window: [low, high], "
                "or optimum: x and width: w (eV)"
            )
        self.as_window()
        return self

    def as_window(self) -> Window:
        """Return the window of energies, whichever way it was written."""
        if self.window is not None:
            return Window(*self.window)
        return Window.around(self.optimum or 0.0, self.width or 0.0)


class Verification(YamlModel):
    """The level of theory of labels (by default the campaign's own) and its engine."""

    level: str | None = None
    engine: str | None = None


class Learning(YamlModel):
    """How the loop fine-tunes after each round, and when it gives up.

    ``method: auto`` chooses by the number of labels; ``replay`` is the share of an epoch that
    repeats rows of earlier training. A loop stops after ``patience`` rounds in a row that found no
    better candidate and changed no checkpoint.
    """

    method: Literal["auto", "heads", "lora", "all"] = "auto"
    replay: float = Field(default=0.5, ge=0, lt=1)
    patience: int = Field(default=2, ge=1)


class Cluster(YamlModel):
    """Where predictions are computed.

    ``cuda: auto`` takes one worker for each GPU where there are any, ``false`` never, and ``true``
    refuses to run without one.
    """

    workers: int | None = Field(default=None, ge=1)
    address: str | None = None
    cuda: Literal["auto"] | bool = "auto"
    chunk_placements: int = Field(default=1000, ge=1)

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("tcp://", "tls://", "ucx://")):
            raise ValueError(
                f"a scheduler's address starts with tcp://, tls:// or ucx://, got {value!r}; "
                "leave it out to start workers on this machine"
            )
        return value


class Campaign(YamlModel):
    """One screening campaign, as its file states it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    bulks: Bulks
    surfaces: Surfaces = Surfaces()
    adsorbates: list[AnyAdsorbate] = Field(min_length=1)
    placements: Placements = Placements()
    target: dict[str, Target] = Field(min_length=1)
    level: str
    model: str = "mini"
    triage: Triage = Triage()
    verification: Verification = Verification()
    learning: Learning = Learning()
    cluster: Cluster = Cluster()
    database: str | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _targets_are_screened(self) -> "Campaign":
        names = self.adsorbate_names()
        if len(names) != len(set(names)):
            raise ValueError(f"adsorbates must differ in name, got {names}; give each one once")
        for name in self.target:
            if name not in names:
                raise ValueError(
                    f"a target needs an adsorbate of the campaign, got {name!r}; "
                    f"add it to adsorbates or choose from {', '.join(names)}"
                )
        return self

    def adsorbate_names(self) -> list[str]:
        """Return the adsorbates' names in the order of the file."""
        return [_adsorbate_name(a) for a in self.adsorbates]

    def windows(self) -> dict[str, Window]:
        """Return the target window of each adsorbate that has one."""
        return {name: target.as_window() for name, target in self.target.items()}


def load_campaign(path: Path) -> Campaign:
    """Return the campaign that the file at ``path`` states."""
    return load_yaml_model(path, CAMPAIGN_FILE)


def _without_tag(path: KeyPath) -> KeyPath:
    """Return ``path`` without the tag that pydantic adds for the kind of an adsorbate."""
    return path[:2] + path[3:] if path[:1] == ("adsorbates",) else path


CAMPAIGN_FILE = YamlFileKind(Campaign, "campaign", "examples/laptop-emt.yaml", _without_tag)
