"""Random alloys: elements in stated shares on the sites of fcc, bcc, hcp or diamond.

A special quasirandom structure is the arrangement in a small cell whose pairs come nearest to those
of the endless random alloy (Zunger, Wei, Ferreira & Bernard, PRL 65, 353 (1990)). It is searched by
simulated annealing on the Warren-Cowley parameters of the first shells; a seeded arrangement is
drawn once. Python's own generator draws the same numbers on every machine and release.

Shapes  N sites of the cell, E elements, S shells of neighbours.
Units   Å.
"""

import math
import random
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from tasks.enumeration.prototypes import ELEMENT_PROTOTYPES, sized_element, volume_per_atom
from tasks.errors import UserError
from tasks.structures.identity import seed_from

RandomMethod = Literal["sqs", "seeded"]
MOST_ALLOY_ATOMS = 256
_ATOMS_IN_CELL = {"fcc": 4, "bcc": 2, "hcp": 2, "diamond": 8}
_SHELL_WEIGHTS = (1.0, 0.5, 0.25)  # near pairs decide on energies more than far ones
_SAME_SHELL_ANG = 0.05
_STEPS_PER_ATOM = 400  # 32 atoms end at their best arrangement within a fifth of it
_HOTTEST, _COLDEST = 0.1, 1e-4  # of the sum of squared Warren-Cowley parameters
_SHARE_TOLERANCE = 0.005  # of a stated share: 0.333 means a third


@dataclass(frozen=True)
class RandomAlloySpec:
    """One arrangement of a random alloy; ``number`` tells arrangements of one seed apart.

    ``cells`` counts conventional cells along each vector. Shares are in order of the symbols, so
    that the order in a file plays no part.
    """

    shares: tuple[tuple[str, float], ...]
    prototype: str
    cells: tuple[int, int, int]
    method: RandomMethod = "sqs"
    seed: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        for symbol, share in self.shares:
            if not 0 < share <= 1:
                raise UserError(
                    f"a share of a random alloy is above 0 and at most 1, got {symbol}: {share:g}"
                )
        total = sum(share for _, share in self.shares)
        if abs(total - 1.0) > _SHARE_TOLERANCE or len(self.shares) < 2:
            raise UserError(
                "a random alloy's composition names two elements or more with shares that sum to "
                f"1, got {dict(self.shares)}"
            )
        if list(self.shares) != sorted(self.shares) or min(self.cells) < 1:
            raise UserError(
                "a random alloy has its elements in order and 1 cell or more along each vector, "
                f"got {dict(self.shares)} and {self.cells}"
            )
        check_alloy_size(math.prod(self.cells) * _ATOMS_IN_CELL.get(self.prototype, 1))

    @property
    def name(self) -> str:
        """Return the name of the arrangement in reports."""
        shares = " ".join(f"{symbol} {share:g}" for symbol, share in self.shares)
        size = "x".join(str(count) for count in self.cells)
        return (
            f"random alloy {shares} {self.prototype} {size} {self.method} {self.seed}.{self.number}"
        )


def random_alloy(spec: RandomAlloySpec) -> tuple[Atoms, str]:
    """Return a random alloy in its supercell, and the source of its size and arrangement.

    The lattice constant follows Vegard's rule on the volume per atom.

    Args:
        spec: Shares of the elements, parent lattice, size, method and seed.

    Returns:
        The atoms, positions in Å, and a line on size and arrangement.

    Raises:
        UserError: the shares are not whole numbers of the cell's atoms, or an element has no
            volume per atom.

    Example:
        >>> spec = RandomAlloySpec((("Ni", 0.25), ("Pt", 0.75)), "fcc", (2, 2, 2))
        >>> atoms, source = random_alloy(spec)
        >>> atoms.get_chemical_formula(), [round(a, 3) for a in warren_cowley(atoms)[:, 0, 1]]
        ('Ni8Pt24', [0.0, 0.0, 0.0])
    """
    parent = parent_crystal(spec)
    atoms = parent.repeat(spec.cells)
    kinds_N = _drawn(site_counts(spec.shares, len(atoms)), _generator(spec))
    if spec.method == "sqs":
        kinds_N = _annealed(atoms, kinds_N, _generator(spec))
    atoms.numbers = np.array([atomic_numbers[spec.shares[kind][0]] for kind in kinds_N.tolist()])
    a = float(parent.cell.lengths()[0])
    how = "special quasirandom structure" if spec.method == "sqs" else "drawn at random"
    return atoms, f"{spec.name}: {how}, a = {a:.3f} Å by Vegard's rule"


def check_alloy_size(atoms: int) -> None:
    """Refuse a random alloy of more atoms than slabs can be cut from, before it is built.

    Raises:
        UserError: there are more.
    """
    if atoms > MOST_ALLOY_ATOMS:
        raise UserError(
            f"a random alloy has at most {MOST_ALLOY_ATOMS} atoms, got {atoms:,}; give fewer cells "
            "or atoms"
        )


def parent_crystal(spec: RandomAlloySpec) -> Atoms:
    """Return the conventional cell whose sites a random alloy fills, sized by Vegard's rule."""
    if spec.prototype not in ELEMENT_PROTOTYPES:
        raise UserError(
            f"a random alloy's prototype is one of {', '.join(ELEMENT_PROTOTYPES)}, got "
            f"{spec.prototype}"
        )
    volume = sum(share * volume_per_atom(symbol) for symbol, share in spec.shares)
    return sized_element(spec.shares[0][0], spec.prototype, volume)


def cells_of(prototype: str, atoms: int) -> tuple[int, int, int]:
    """Return the most cube-like numbers of conventional cells that hold ``atoms`` atoms."""
    check_alloy_size(atoms)
    in_cell = _ATOMS_IN_CELL.get(prototype, 1)
    count = atoms // in_cell
    fitting = [
        (count // (j * k), j, k)
        for j, k in product(range(1, count + 1), repeat=2)
        if atoms % in_cell == 0 and count % (j * k) == 0 and count // (j * k) >= j >= k
    ]
    if not fitting:
        raise UserError(
            f"a random alloy fills whole cells of {prototype}, {in_cell} atoms each, got {atoms} "
            f"atoms; give a multiple of {in_cell}"
        )
    return min(fitting, key=lambda cells: cells[0] - cells[2])


def site_counts(shares: tuple[tuple[str, float], ...], sites: int) -> list[int]:
    """Return how many of the sites each element takes.

    Raises:
        UserError: a share is further than half a percent from a whole number of sites.
    """
    counts = [math.floor(share * sites + 0.5) for _, share in shares]
    order = sorted(range(len(shares)), key=lambda e: counts[e] - shares[e][1] * sites)
    missing = sites - sum(counts)
    for element in order[:missing] if missing > 0 else order[missing:] if missing else []:
        counts[element] += 1 if missing > 0 else -1
    off = [abs(n / sites - share) for n, (_, share) in zip(counts, shares, strict=True)]
    if max(off) > _SHARE_TOLERANCE or min(counts) < 1:
        nearest = ", ".join(
            f"{symbol}: {n / sites:g}" for n, (symbol, _) in zip(counts, shares, strict=True)
        )
        stated = ", ".join(f"{symbol}: {share:g}" for symbol, share in shares)
        raise UserError(
            f"shares are whole numbers of the {sites} atoms of the cell, got {stated}; the nearest "
            f"are {nearest}: write these, or change cells"
        )
    return counts


def warren_cowley(atoms: Atoms) -> NDArray[np.float64]:
    """Return the parameters (S, E, E) of the first shells: 0 where pairs are as random.

    Elements are in order of atomic number. Of a pair i, j the parameter is 1 - p(i, j) / (x_i x_j)
    (Cowley, Phys. Rev. 77, 669 (1950)).
    """
    _, kinds_N = np.unique(atoms.numbers, return_inverse=True)
    return _parameters(_shells(atoms), np.eye(int(kinds_N.max()) + 1)[kinds_N])


def _generator(spec: RandomAlloySpec) -> random.Random:
    shares = (part for symbol, share in spec.shares for part in (symbol, f"{share:.6f}"))
    return random.Random(  # noqa: S311  no secret: the same seed has to give the same alloy
        seed_from("random alloy", *shares, spec.prototype, *spec.cells, spec.seed, spec.number)
    )


def _drawn(counts: list[int], generator: random.Random) -> NDArray[np.int64]:
    """Return the element of each site, shuffled (Fisher & Yates)."""
    kinds = [element for element, count in enumerate(counts) for _ in range(count)]
    for last in range(len(kinds) - 1, 0, -1):
        other = int(generator.random() * (last + 1))  # of all methods this one is kept as it is
        kinds[last], kinds[other] = kinds[other], kinds[last]
    return np.array(kinds)


def _shells(atoms: Atoms) -> NDArray[np.float64]:
    """Return (S, N, N): how often site j, with its images, is in a shell of site i."""
    cell_33 = atoms.cell.array
    nearest = np.sort(atoms.get_all_distances(mic=True), axis=None)
    reach = 2.3 * float(nearest[nearest > _SAME_SHELL_ANG][0])  # beyond three shells of each
    heights_3 = 1.0 / np.linalg.norm(np.linalg.inv(cell_33), axis=0)
    spans = [range(-math.ceil(reach / h) - 1, math.ceil(reach / h) + 2) for h in heights_3]
    shifts_I3 = np.array(list(product(*spans))) @ cell_33
    apart_NN3 = atoms.positions[None] - atoms.positions[:, None]
    lengths_INN = np.linalg.norm(apart_NN3[None] + shifts_I3[:, None, None], axis=3)
    found = np.sort(lengths_INN[(lengths_INN > _SAME_SHELL_ANG) & (lengths_INN < reach)])
    starts = found[np.diff(found, prepend=0.0) > _SAME_SHELL_ANG]
    return np.stack(
        [
            (np.abs(lengths_INN - start) < _SAME_SHELL_ANG).sum(axis=0).astype(np.float64)
            for start in starts[: len(_SHELL_WEIGHTS)]
        ]
    )


def _parameters(
    shells_SNN: NDArray[np.float64], chosen_NE: NDArray[np.float64]
) -> NDArray[np.float64]:
    pairs_SEE = chosen_NE.T @ shells_SNN @ chosen_NE
    shares_E = chosen_NE.mean(axis=0)
    bonds_S = shells_SNN.sum(axis=(1, 2))
    expected_SEE = bonds_S[:, None, None] * np.outer(shares_E, shares_E)
    return np.asarray(1.0 - pairs_SEE / expected_SEE)


def _annealed(
    atoms: Atoms, kinds_N: NDArray[np.int64], generator: random.Random
) -> NDArray[np.int64]:
    """Return the best arrangement that swaps of unlike atoms reach under falling temperature."""
    shells_SNN = _shells(atoms)
    weights_S = np.array(_SHELL_WEIGHTS[: len(shells_SNN)])
    chosen_NE = np.eye(int(kinds_N.max()) + 1)[kinds_N]

    def objective() -> float:
        squares_SEE = _parameters(shells_SNN, chosen_NE) ** 2
        # Rounded, so that the last bits of a sum decide nothing on any machine.
        return round(float(weights_S @ squares_SEE.sum(axis=(1, 2))), 9)

    size, steps = len(kinds_N), _STEPS_PER_ATOM * len(kinds_N)
    current = lowest = objective()
    best_NE = chosen_NE.copy()
    for step in range(steps):
        if lowest == 0.0:
            break
        one, other = int(generator.random() * size), int(generator.random() * size)
        chance = generator.random()
        if (chosen_NE[one] == chosen_NE[other]).all():
            continue
        chosen_NE[[one, other]] = chosen_NE[[other, one]]
        tried = objective()
        temperature = _HOTTEST * (_COLDEST / _HOTTEST) ** (step / steps)
        if tried <= current or chance < math.exp((current - tried) / temperature):
            current = tried
            if tried < lowest:
                lowest, best_NE = tried, chosen_NE.copy()
        else:
            chosen_NE[[one, other]] = chosen_NE[[other, one]]
    return np.asarray(best_NE.argmax(axis=1))
