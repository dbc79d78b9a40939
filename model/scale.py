"""Levels of theory as offsets and scales, so that one network serves them all.

Shapes  B systems, L levels of theory, Z = 95 atomic numbers (row 0 unused), R rows.
Units   energies in eV; standardised energies have none.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.elements import MAX_ATOMIC_NUMBER


class LevelScale(nn.Module):
    """Offset and scale of each level of theory, with an offset for each adsorbate atom.

    A label is an energy of formation from references, so its mean is linear in the adsorbate's
    composition; the network learns what is left.
    """

    def __init__(self, levels: int):
        super().__init__()
        self.register_buffer("offset_L", torch.zeros(levels))
        self.register_buffer("scale_L", torch.ones(levels))
        self.register_buffer("atom_offset_LZ", torch.zeros(levels, MAX_ATOMIC_NUMBER + 1))

    offset_L: Tensor
    scale_L: Tensor
    atom_offset_LZ: Tensor

    def reference(self, level_B: Tensor, adsorbate_BZ: Tensor) -> Tensor:
        """Return (B,) the energy in eV that the adsorbate's composition alone suggests."""
        atoms_B = (self.atom_offset_LZ[level_B] * adsorbate_BZ).sum(-1)
        return self.offset_L[level_B] + atoms_B

    def to_ev(self, standard_B: Tensor, level_B: Tensor, adsorbate_BZ: Tensor) -> Tensor:
        """Return (B,) energies in eV from standardised ones."""
        return standard_B * self.scale_L[level_B] + self.reference(level_B, adsorbate_BZ)

    def to_standard(self, energy_B: Tensor, level_B: Tensor, adsorbate_BZ: Tensor) -> Tensor:
        """Return (B,) standardised energies from those in eV."""
        return (energy_B - self.reference(level_B, adsorbate_BZ)) / self.scale_L[level_B]

    def fit(
        self, level: int, counts_RZ: NDArray[np.float64], energy_R: NDArray[np.float64]
    ) -> None:
        """Set one level's offsets and scale by ridge regression of its labels on composition."""
        offset, scale, atom_offset_Z = fit_scale(counts_RZ, energy_R)
        self.offset_L[level] = offset
        self.scale_L[level] = scale
        self.atom_offset_LZ[level] = torch.from_numpy(atom_offset_Z).float()


def fit_scale(
    counts_RZ: NDArray[np.float64], energy_R: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Return offset, scale and per-atom offsets (eV) that composition explains, with ridge 1."""
    centre_Z, mean = counts_RZ.mean(axis=0), energy_R.mean()
    centred_RZ = counts_RZ - centre_Z
    gram_ZZ = centred_RZ.T @ centred_RZ + np.eye(len(centre_Z))
    atom_offset_Z = np.linalg.solve(gram_ZZ, centred_RZ.T @ (energy_R - mean))
    residual_R = energy_R - mean - centred_RZ @ atom_offset_Z
    # One label, or labels that composition explains whole, would leave nothing to divide by.
    scale = max(float(residual_R.std()), 1e-3)
    return float(mean - centre_Z @ atom_offset_Z), scale, atom_offset_Z
