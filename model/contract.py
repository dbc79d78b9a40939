"""Inputs and outputs of a model: configurations in, predictions out.

Units   positions and cells in Å, energies in eV.
Shapes  N atoms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

SURFACE_TAG, ADSORBATE_TAG = 1, 2  # of atoms; 0 is the bulk below the surface

# How the texts that a model learnt from were written: who touches whom, and in which order.
BondRule = Literal["radii", "scaled"]
BOND_RULES: tuple[BondRule, ...] = get_args(BondRule)


@dataclass(frozen=True)
class LevelEnergy:
    """A relaxed adsorption energy at another level of theory, as a universal potential gives it.

    ``level_hash`` is that of the level's settings: a name may come to stand for other settings.
    """

    level: str
    level_hash: str
    energy_ev: float


@dataclass(frozen=True)
class Configuration:
    """One adslab as a model reads it: its text, its atoms and the level to predict at.

    ``text`` is the configuration text without the level tag; ``numbers_N`` is empty where there is
    only a text. ``tags_N`` is 0 for bulk, 1 for surface and 2 for adsorbate atoms; rows of
    ``cell_33`` are the lattice vectors. ``energies_ev`` are relaxed adsorption energies of this
    very configuration at other levels of theory, by level name, where they were computed; whoever
    fills them has compared the hashes of these levels with those that the checkpoint states.
    """

    candidate_id: str
    level: str
    text: str
    numbers_N: NDArray[np.int64]
    positions_N3: NDArray[np.float64]
    cell_33: NDArray[np.float64]
    tags_N: NDArray[np.int64]
    pbc: tuple[bool, bool, bool] = (True, True, True)
    energies_ev: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_atoms(
        cls,
        atoms: "Atoms",
        *,
        candidate_id: str,
        level: str,
        text: str,
        energies_ev: Mapping[str, float] | None = None,
    ) -> "Configuration":
        """Return the configuration of tagged atoms in a periodic cell; arrays are copied."""
        return cls(
            candidate_id=candidate_id,
            level=level,
            text=text,
            numbers_N=atoms.numbers.astype(np.int64),
            positions_N3=atoms.positions.copy(),
            cell_33=atoms.cell.array.copy(),
            tags_N=atoms.get_tags().astype(np.int64),
            energies_ev=dict(energies_ev or {}),
        )

    @classmethod
    def from_text(cls, text: str, *, candidate_id: str, level: str) -> "Configuration":
        """Return a configuration without atoms: only its text is left."""
        none = np.zeros(0, dtype=np.int64)
        return cls(candidate_id, level, text, none, np.zeros((0, 3)), np.zeros((3, 3)), none)


@dataclass(frozen=True)
class Prediction:
    """The relaxed adsorption energy of one candidate, as one checkpoint sees it.

    ``energy_ev`` is the weighted mean of the two heads, ``sigma_ev`` one calibrated standard
    deviation. ``reason`` says why a candidate is out of domain and is empty inside it. ``basis``
    names the levels of theory whose energies the answer starts from, joined by ``+``; it is empty
    where the model answers from text and structure alone. Energies of two bases do not share an
    ordering unless it says so.
    """

    candidate_id: str
    level: str
    checkpoint_sha256: str
    energy_ev: float
    sigma_ev: float
    regression_ev: float
    token_ev: float
    in_domain: bool
    reason: str = ""
    basis: str = ""


Facet = tuple[int, int, int]  # Miller index of the standard cell


@dataclass(frozen=True)
class LevelDomain:
    """The training data of a checkpoint at one level of theory, part by part.

    An element of the slab is apart from the same element in an adsorbate. ``kinds`` are those of
    :func:`model.elements.material_kind`. ``facets`` are empty where none were recorded.
    """

    slab_elements: frozenset[str] = frozenset()
    adsorbate_elements: frozenset[str] = frozenset()
    adsorbates: frozenset[str] = frozenset()  # names, as texts write them
    kinds: frozenset[str] = frozenset()
    facets: frozenset[Facet] = frozenset()


@dataclass(frozen=True)
class Domain:
    """The training data of a checkpoint, by level of theory and part."""

    levels: Mapping[str, LevelDomain]


class Predictor(Protocol):
    """Configurations in, predictions out, in the same order."""

    checkpoint_sha256: str
    domain: Domain
    bond_rule: BondRule  # texts that it reads are written by this rule

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration."""
        ...
