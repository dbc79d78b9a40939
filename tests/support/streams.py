"""Adslabs to write as streams: metal slabs of ASE with a molecule turned and moved at will."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bcc110, fcc100, fcc111, fcc211, hcp0001, molecule
from numpy.typing import NDArray

from model.generation.stream_grammar import decode_stream
from model.generation.structure_stream import Structure, encode_stream

SLABS: dict[str, tuple[Callable[[], Atoms], tuple[int, int, int]]] = {
    "Cu (1 1 1)": (lambda: fcc111("Cu", (3, 3, 4), vacuum=7.5), (1, 1, 1)),
    "Pt (1 0 0)": (lambda: fcc100("Pt", (2, 2, 3), vacuum=7.5), (1, 0, 0)),
    "Rh (2 1 1)": (lambda: fcc211("Rh", (3, 3, 4), vacuum=7.5), (2, 1, 1)),
    "Fe (1 1 0)": (lambda: bcc110("Fe", (2, 3, 3), orthogonal=False, vacuum=7.5), (1, 1, 0)),
    "Ru (0 0 1)": (lambda: hcp0001("Ru", (3, 2, 4), vacuum=7.5), (0, 0, 1)),
}
MOLECULES = ("CO", "H2", "H2O", "NH3", "CH4", "CH3OH", "CH3CHO", "C2H6", "C6H6", "C4H4S", "HCOOH")


def adslab(
    slab: str = "Cu (1 1 1)",
    name: str = "CH3OH",
    *,
    height: float = 2.2,
    across: tuple[float, float] = (0.0, 0.0),
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Structure:
    """Return a slab and a molecule whose lowest atom is ``height`` above its topmost atom."""
    make, miller = SLABS[slab]
    base = make()
    cell = base.cell.array.copy()
    cell[2] = [0.0, 0.0, np.ptp(base.positions[:, 2]) + 15.0]
    top = base.positions[:, 2].max()
    species = molecule(name)
    species.euler_rotate(*turn)
    species.positions -= species.positions[np.argmin(species.positions[:, 2])]
    species.positions += np.append(np.array(across) @ cell[:2, :2], top + height)
    tags = np.where(base.positions[:, 2] > top - 0.3, 1, 0)
    return Structure(
        np.concatenate([base.numbers, species.numbers]).astype(np.int64),
        np.concatenate([base.positions, species.positions]),
        cell,
        np.concatenate([tags, np.full(len(species), 2)]).astype(np.int64),
        miller,
    )


def reread(structure: Structure) -> Structure:
    """Return what a stream keeps of a structure."""
    return decode_stream(encode_stream(structure))


def distances(structure: Structure) -> NDArray[np.float64]:
    """Return (N, N) shortest distances under in-plane periodicity."""
    apart = structure.positions_N3[:, None] - structure.positions_N3[None]
    scaled = apart @ np.linalg.inv(structure.cell_33)
    home = (scaled - np.rint(scaled)) @ structure.cell_33
    shifts = [
        i * structure.cell_33[0] + j * structure.cell_33[1] for i in (-1, 0, 1) for j in (-1, 0, 1)
    ]
    apart_9NN = np.array([np.linalg.norm(home + shift, axis=-1) for shift in shifts])
    nearest_NN: NDArray[np.float64] = apart_9NN.min(axis=0)
    return nearest_NN
