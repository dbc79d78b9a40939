"""A campaign file: its sections as pydantic models, and how it is read. Units: Å, degrees, eV.

The sections that say which slabs are screened stand in ``flows.config.surfaces``, ``triage`` in
``flows.config.triage``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from flows.addresses import shown_address
from flows.config.surfaces import Bulks, OwnSlabs, Surfaces
from flows.config.triage import Triage
from flows.config.yaml_model import (
    YamlFileKind,
    YamlModel,
    load_yaml_model,
    raise_as_value_error,
)
from tasks.acquisition.rank import Window
from tasks.enumeration import (
    BulkSpec,
    OwnSlabSpec,
    PlacementSpec,
)
from tasks.structures.symmetrise import SYMMETRY_TOLERANCE_ANG


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
        return "a file" if isinstance(value, FileAdsorbate) else "a SMILES"
    if isinstance(value, dict):
        return "a SMILES" if "smiles" in value else "a file"
    return "a name"


# With tags pydantic reports only the form that was meant. No tag may equal a key of a file:
# ``_path_in_file`` drops tags by that.
AnyAdsorbate = Annotated[
    Annotated[str, Tag("a name")]
    | Annotated[FileAdsorbate, Tag("a file")]
    | Annotated[SmilesAdsorbate, Tag("a SMILES")],
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


class Relaxing(YamlModel):
    """The stage that relaxes the best placements of the most promising pairs by a potential.

    ``difference`` is the checkpoint that turns energies of ``level`` into the campaign's level; by
    default it is the campaign's model, whose base then predicts what is not relaxed.
    Placements whose adsorbate leaves or breaks are dropped, with the reason in the funnel.
    """

    level: str
    difference: str | None = None
    per_pair: int = Field(default=3, ge=1, le=50)
    top: int = Field(default=500, ge=1)


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
    refuses to run without one. ``ca``, ``certificate`` and ``key`` are PEM files for a scheduler at
    a tls:// address; ``insecure: true`` consents to one without certificates.
    """

    workers: int | None = Field(default=None, ge=1)
    address: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    cuda: Literal["auto"] | bool = "auto"
    chunk_placements: int = Field(default=1000, ge=1)

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("tcp://", "tls://", "ucx://")):
            raise ValueError(
                "a scheduler's address starts with tls://, tcp:// or ucx://, got "
                f"{shown_address(value)!r}; leave it out to start workers on this machine"
            )
        return value


class Campaign(YamlModel):
    """One screening campaign, as its file states it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    bulks: Bulks | None = None
    slabs: list[str | OwnSlabs] = Field(default=[])
    surfaces: Surfaces = Surfaces()
    adsorbates: list[AnyAdsorbate] = Field(min_length=1)
    placements: Placements = Placements()
    target: dict[str, Target] = Field(min_length=1)
    level: str
    model: str = "mini"
    relax: Relaxing | None = None
    triage: Triage = Triage()
    verification: Verification = Verification()
    learning: Learning = Learning()
    cluster: Cluster = Cluster()
    database: str | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_surfaces(self) -> "Campaign":
        if self.bulks is None and not self.slabs:
            raise ValueError(
                "a campaign needs bulks or slabs, got neither; write bulks: {elements: [Cu]}, or "
                "slabs: [my-slab.cif]"
            )
        return self

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

    def bulk_specs(self, folder: Path) -> list[BulkSpec]:
        """Return the requested bulks; paths are relative to ``folder``."""
        return [] if self.bulks is None else self.bulks.specs(folder)

    def symmetry_tolerance(self) -> float:
        """Return how far (Å) symmetrisation may move the atoms of bulks from files."""
        return SYMMETRY_TOLERANCE_ANG if self.bulks is None else self.bulks.symmetry_tolerance

    def own_slab_specs(self, folder: Path) -> list[OwnSlabSpec]:
        """Return the files of one's own slabs; paths are relative to ``folder``."""
        stated = [OwnSlabs(file=s) if isinstance(s, str) else s for s in self.slabs]
        return [each.spec(folder) for each in stated]

    def stored_per_pair(self) -> int:
        """Return how many placements of each pair are stored with their structures."""
        relaxed = self.relax.per_pair if self.relax else 0
        return max(self.triage.keep_per_pair, relaxed)

    def windows(self) -> dict[str, Window]:
        """Return the target window of each adsorbate that has one."""
        return {name: target.as_window() for name, target in self.target.items()}


def load_campaign(path: Path) -> Campaign:
    """Return the campaign that the file at ``path`` states."""
    return load_yaml_model(path, CAMPAIGN_FILE)


CAMPAIGN_FILE = YamlFileKind(Campaign, "campaign", "examples/laptop-emt.yaml")
