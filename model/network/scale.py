"""Levels of theory as offsets and scales, so that one network serves them all.

Shapes  B systems, L levels of theory, Z = 95 atomic numbers (row 0 unused), S adsorbates by name
        (0: one that was not seen in training), R rows.
Units   energies in eV; standardised energies have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.elements import MAX_ATOMIC_NUMBER
from model.network.batches import Batch

_SHRINK = 5.0  # labels at what composition suggests that stand beside an adsorbate's own


class LevelScale(nn.Module):
    """Offset and scale of each level of theory, with offsets for adsorbates and their atoms.

    A label is an energy of formation from references, so its mean is linear in the adsorbate's
    composition; the network learns what is left. Isomers, and all that is not linear, have an
    offset beside it.
    """

    def __init__(self, levels: int, adsorbates: int):
        super().__init__()
        self.register_buffer("offset_L", torch.zeros(levels))
        self.register_buffer("scale_L", torch.ones(levels))
        self.register_buffer("atom_offset_LZ", torch.zeros(levels, MAX_ATOMIC_NUMBER + 1))
        self.register_buffer("adsorbate_offset_LS", torch.zeros(levels, adsorbates + 1))

    offset_L: Tensor
    scale_L: Tensor
    atom_offset_LZ: Tensor
    adsorbate_offset_LS: Tensor

    def reference(self, batch: Batch) -> Tensor:
        """Return (B,) the energy in eV that the adsorbate's composition alone suggests."""
        atoms_B = (self.atom_offset_LZ[batch.level_B] * batch.adsorbate_BZ).sum(-1)
        return self.offset_L[batch.level_B] + atoms_B

    def adsorbate_offset(self, batch: Batch) -> Tensor:
        """Return (B,) the standardised offsets of the adsorbates' names, beside their composition.

        Who has only the text needs it; a graph shows the isomer, and learns worse from labels
        that their own mean was taken from.
        """
        named_B = self.adsorbate_offset_LS[batch.level_B, batch.named.adsorbate_B]
        return named_B / self.scale_L[batch.level_B]

    def to_ev(self, standard_B: Tensor, batch: Batch) -> Tensor:
        """Return (B,) energies in eV from standardised ones."""
        return standard_B * self.scale_L[batch.level_B] + self.reference(batch)

    def to_standard(self, energy_B: Tensor, batch: Batch) -> Tensor:
        """Return (B,) standardised energies from those in eV."""
        return (energy_B - self.reference(batch)) / self.scale_L[batch.level_B]

    def fit(
        self,
        level: int,
        counts_RZ: NDArray[np.float64],
        adsorbate_R: Sequence[int],
        energy_R: NDArray[np.float64],
    ) -> None:
        """Set one level's offsets and scale from its labels; ``adsorbate_R`` are indices in S."""
        fitted = fit_scale(counts_RZ, adsorbate_R, energy_R)
        self.offset_L[level] = fitted.offset_ev
        self.scale_L[level] = fitted.scale_ev
        self.atom_offset_LZ[level] = torch.from_numpy(fitted.atom_offset_Z).float()
        for adsorbate, offset_ev in fitted.adsorbate_offset.items():
            self.adsorbate_offset_LS[level, adsorbate] = offset_ev


@dataclass(frozen=True)
class FittedScale:
    """Offsets and scale of one level, fitted to its labels, in eV."""

    offset_ev: float
    scale_ev: float
    atom_offset_Z: NDArray[np.float64]
    adsorbate_offset: dict[int, float]


def fit_scale(
    counts_RZ: NDArray[np.float64], adsorbate_R: Sequence[int], energy_R: NDArray[np.float64]
) -> FittedScale:
    """Fit the energies linearly to the composition (ridge 1), and the spread of the residuals.

    An adsorbate's offset is the mean of its residuals, shrunk to 0 where it has few labels.
    """
    centre_Z, mean = counts_RZ.mean(axis=0), energy_R.mean()
    centred_RZ = counts_RZ - centre_Z
    gram_ZZ = centred_RZ.T @ centred_RZ + np.eye(len(centre_Z))
    atom_offset_Z = np.linalg.solve(gram_ZZ, centred_RZ.T @ (energy_R - mean))
    residual_R = energy_R - mean - centred_RZ @ atom_offset_Z
    index_R = np.asarray(adsorbate_R)
    offsets: dict[int, float] = {}
    for index in np.unique(index_R):
        mine_R = index_R == index
        offsets[int(index)] = shrunk_mean(residual_R[mine_R])
    # One label, or labels that composition explains whole, would leave nothing to divide by.
    scale = max(float(residual_R.std()), 1e-3)
    return FittedScale(float(mean - centre_Z @ atom_offset_Z), scale, atom_offset_Z, offsets)


def shrunk_mean(residual_R: NDArray[np.float64]) -> float:
    """Return the mean of residuals in eV, pulled to 0 where there are few."""
    return float(residual_R.sum() / (len(residual_R) + _SHRINK))
