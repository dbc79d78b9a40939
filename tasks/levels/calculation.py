"""Settings that a level of theory states for its calculations. Units: eV, Å, eV/Å, s.

Plain frozen dataclasses; pydantic reads files into them and refuses keys it does not know.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from ase.data import chemical_symbols
from pydantic import ConfigDict, Field

from tasks.errors import UserError

Setting = str | int | float | bool
Positive = Annotated[float, Field(gt=0)]
Optimiser = Literal["BFGS", "LBFGS", "FIRE", "BFGS+FIRE"]
OPTIMISERS: tuple[Optimiser, ...] = ("BFGS", "LBFGS", "FIRE", "BFGS+FIRE")
EnergyKeyName = Literal["energy", "free_energy"]
CalculationMode = Literal["relaxation", "single_point"]
_ELEMENTS = frozenset(chemical_symbols[1:])
ONE_FILE = frozenset(("model", "table"))  # what one file for all elements is listed under


class StrictSettings:
    """Base of settings: pydantic refuses unknown keys, infinities and not-a-numbers."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)


def _require_elements(setting: str, keys: Iterable[str]) -> None:
    """Refuse keys that are no element: they would be read without error and do nothing."""
    unknown = sorted(set(keys) - _ELEMENTS)
    if unknown:
        raise UserError(
            f"the keys of {setting} are elements as in the periodic table, got "
            f"{', '.join(map(repr, unknown))}; correct the spelling, as in Ni"
        )


@dataclass(frozen=True)
class Basis(StrictSettings):
    """Basis of the orbitals: plane waves up to a cut-off, or a named Gaussian set.

    ``grid_ang`` is GPAW's real-space grid: unstated, CO in the gas relaxes on the grid's own
    ripples.
    """

    cutoff_ev: Positive
    density_cutoff_ev: Positive | None = None
    grid_ang: Positive | None = None
    name: str | None = None


@dataclass(frozen=True)
class KPoints(StrictSettings):
    """How many k-points a cell gets, so that cells of every size are sampled alike.

    An axis gets ``length_ang`` times the length of its reciprocal vector (1/Å, without 2 pi), or
    ``length_ang`` over the length of its lattice vector; the vacuum and a molecule get one.
    """

    length_ang: Positive
    along: Literal["reciprocal", "lattice"] = "reciprocal"
    rounding: Literal["up", "nearest"] = "up"
    gamma: Literal["always", "hexagonal"] = "always"  # else the mesh is shifted where it is even


@dataclass(frozen=True)
class Smearing(StrictSettings):
    """How occupations fall around the Fermi level; ``methfessel-paxton`` is of first order."""

    kind: Literal["fermi-dirac", "methfessel-paxton", "gaussian", "marzari-vanderbilt"]
    width_ev: Positive


@dataclass(frozen=True)
class Spin(StrictSettings):
    """Whether spins are free, and the moments (Bohr magnetons) that magnetic elements start with.

    Without a start the electrons of nickel find no magnetism and the energy is 0.3 eV too high.
    One moment for each element starts ferromagnetic. Metals and alloys are computed so; oxides and
    their like, many of which are antiferromagnets, only where ``order`` says what is meant:
    ``antiferromagnetic`` with the ``planes`` of the bulk's conventional cell whose moments
    alternate, such as [1, 1, 1] in NiO.
    """

    policy: Literal["none", "magnetic-elements"] = "none"
    moments: dict[str, float] = field(default_factory=dict)
    order: Literal["", "ferromagnetic", "antiferromagnetic"] = ""
    planes: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        _require_elements("spin.moments", self.moments)
        if self.policy == "magnetic-elements" and not any(self.moments.values()):
            raise UserError(
                "spin.policy magnetic-elements needs the elements that start magnetised, "
                "spin.moments names none; add such as moments: {Fe: 3.0, Co: 2.0, Ni: 1.0}, or "
                "write policy: none"
            )
        if self.order and self.policy == "none":
            raise UserError(
                f"spin.order {self.order} needs free spins, and spin.policy is none; write policy: "
                "magnetic-elements with moments, or leave order out"
            )
        if (self.order == "antiferromagnetic") != (self.planes is not None and any(self.planes)):
            raise UserError(
                "spin.order antiferromagnetic and spin.planes belong together, got order "
                f"{self.order or 'none'} and planes {self.planes}; write such as "
                "order: antiferromagnetic, planes: [1, 1, 1]"
            )


@dataclass(frozen=True)
class Potentials(StrictSettings):
    """Pseudopotentials or setups: the family, and files, kinds and checksums of elements.

    ``files`` name Quantum ESPRESSO's files, ``kinds`` what follows the symbol in VASP's folders.
    ``checksums`` are the first 16 or more hex digits of the SHA-256 of a file's content (unpacked),
    ``model`` or ``table`` that of one file for all elements. ``trained_on`` names the data of a
    model.
    """

    family: str
    files: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]] = field(
        default_factory=dict
    )
    trained_on: str = ""

    def __post_init__(self) -> None:
        _require_elements("potentials.files", self.files)
        _require_elements("potentials.kinds", self.kinds)
        _require_elements("potentials.checksums", set(self.checksums) - ONE_FILE)


@dataclass(frozen=True)
class Scf(StrictSettings):
    """When the electrons are converged: change of the total energy (eV), and steps at most."""

    energy_ev: Positive
    max_steps: Annotated[int, Field(ge=1)] = 100


@dataclass(frozen=True)
class RelaxSettings(StrictSettings):
    """How far and how long to relax; ``wall_limit_s`` ends it between two steps."""

    optimiser: Optimiser
    fmax_ev_ang: float
    max_steps: int
    wall_limit_s: Positive | None = None  # changes no energy, so it is no part of the hash

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UserError(
                f"optimiser must be one of {', '.join(OPTIMISERS)}, got {self.optimiser}"
            )
        if self.fmax_ev_ang <= 0 or self.max_steps < 1:
            raise UserError(
                "a relaxation needs fmax above 0 eV/Å and at least 1 step, got "
                f"{self.fmax_ev_ang} and {self.max_steps}"
            )


@dataclass(frozen=True)
class CheckLimits(StrictSettings):
    """Limits beyond which a structure is refused before, or flagged after, its calculation."""

    desorbed_ratio: float = 1.5  # nearest adsorbate-slab distance over r_i + r_j
    bond_ratio: float = 1.25  # two adsorbate atoms closer than this times r_i + r_j are bonded
    depth_ang: float = 0.5  # adsorbate atom below the surface around it
    slab_move_ang: float = 1.0  # a slab atom that moved further has reconstructed
    energy_ev: float = 10.0  # adsorption energies beyond +- this are not physical
    initial_fmax_ev_ang: float = 20.0  # a start with larger forces overlaps
    overlap_ratio: float = 0.5  # two atoms closer than this times r_i + r_j are not computed
    min_vacuum_ang: float = 5.0  # a slab nearer to its image is not computed
    two_start_share: Annotated[float, Field(ge=0, le=1)] = 0.0  # of adslabs, relaxed twice
    two_start_ang: Positive = 0.1  # how far each adsorbate atom is moved for the second start
    two_start_ev: Positive = 0.05  # two energies further apart than this are not reproducible


@dataclass(frozen=True)
class Calculation(StrictSettings):
    """All settings of a calculation; a setting that is left out does not exist for the engine.

    ``energy_key`` says which energy all parts of an adsorption energy are taken from: ``energy`` is
    extrapolated to zero smearing, ``free_energy`` is not. ``geometry`` names the level that relaxed
    what single points are of. ``keywords`` are the program's own.
    """

    relaxation: RelaxSettings
    energy_key: EnergyKeyName = "energy"
    engine_version: str = "any"  # or bounds, such as ">=26.7,<27"
    mode: CalculationMode = "relaxation"
    geometry: str = ""
    basis: Basis | None = None
    kpoints: KPoints | None = None
    smearing: Smearing | None = None
    dispersion: Literal["none", "D2", "D3", "D3BJ"] = "none"
    spin: Spin = Spin()
    dipole: Literal["none", "asymmetric"] = "none"
    potentials: Potentials | None = None
    scf: Scf | None = None
    gas_vacuum_ang: Positive | None = None  # on each side of a molecule; None: no cell at all
    checks: CheckLimits = CheckLimits()
    keywords: dict[str, Setting] = field(default_factory=dict)
