"""Extend a trained network by adsorbates and elements that its first labels did not hold.

Shapes  R rows, Z = 95 atomic numbers, X elements that a level had not seen. Units: eV.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import Tensor

from model.data.rows import Row
from model.elements import MAX_ATOMIC_NUMBER, composition
from model.network.qe_catalytic import QECatalytic
from model.network.scale import LevelScale, shrunk_mean
from model.text.configuration_text import parse_text

_BY_ADSORBATE = {"facts.adsorbate.weight": 0, "scale.adsorbate_offset_LS": 1}  # name -> axis


def with_new_adsorbates(network: QECatalytic, rows: Sequence[Row]) -> QECatalytic:
    """Return the network with an index for every adsorbate of the rows; old indices stay.

    A new one begins like an adsorbate that was not seen: it adds nothing.
    """
    old = network.config.adsorbates
    new = sorted({parse_text(row.text).adsorbate for row in rows} - set(old))
    if not new:
        return network
    config = replace(network.config, adsorbates=(*old, *new))
    larger = QECatalytic(
        config,
        graph_token=network.graph_token,
        encoder=network.encoder,
        language=network.language,
    )
    state = network.state_dict()
    for name, axis in _BY_ADSORBATE.items():
        state[name] = _padded(state[name], axis, len(new))
    larger.load_state_dict(state)
    return larger


def fit_new_offsets(network: QECatalytic, new: Sequence[Row], old: Sequence[Row]) -> None:
    """Fit what elements and adsorbates that a level had not seen add to its energies.

    Offsets that old rows determine stay: old labels were learnt relative to them.
    """
    for index, level in enumerate(network.config.levels):
        here = list({row.pair: row for row in new if row.level == level}.values())
        seen = {parse_text(row.text).adsorbate for row in old if row.level == level}
        if here:
            _fit_atoms(network.scale, index, here, _named(seen))
            _fit_names(network, index, here, seen)


def _fit_atoms(
    scale: LevelScale, level: int, rows: Sequence[Row], seen_Z: NDArray[np.bool_]
) -> None:
    counts_RZ = _counts([parse_text(row.text).adsorbate for row in rows])
    new_Z = (counts_RZ > 0).any(axis=0) & ~seen_Z & (scale.atom_offset_LZ[level].numpy() == 0)
    if not new_Z.any():
        return
    new_RX = counts_RZ[:, new_Z]
    gram_XX = new_RX.T @ new_RX + np.eye(new_RX.shape[1])
    found_X = np.linalg.solve(gram_XX, new_RX.T @ _rest(scale, level, rows))
    scale.atom_offset_LZ[level, torch.from_numpy(new_Z)] = torch.from_numpy(found_X).float()


def _fit_names(network: QECatalytic, level: int, rows: Sequence[Row], seen: set[str]) -> None:
    names = [parse_text(row.text).adsorbate for row in rows]
    rest_R = _rest(network.scale, level, rows)
    for index, name in enumerate(network.config.adsorbates, start=1):
        mine_R = np.array([each == name for each in names])
        is_new = name not in seen and network.scale.adsorbate_offset_LS[level, index] == 0
        if is_new and mine_R.any():
            network.scale.adsorbate_offset_LS[level, index] = shrunk_mean(rest_R[mine_R])


def _rest(scale: LevelScale, level: int, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return (R,) labels less the level's offsets, in eV."""
    counts_RZ = _counts([parse_text(row.text).adsorbate for row in rows])
    energy_R = np.array([row.energy_ev for row in rows])
    atom_Z = scale.atom_offset_LZ[level].double().numpy()
    return np.asarray(energy_R - float(scale.offset_L[level]) - counts_RZ @ atom_Z)


def _named(adsorbates: set[str]) -> NDArray[np.bool_]:
    """Return (Z,) which elements some of the adsorbates hold."""
    return np.asarray((_counts(sorted(adsorbates)) > 0).any(axis=0))


def _counts(adsorbates: Sequence[str]) -> NDArray[np.float64]:
    counts_RZ = np.zeros((len(adsorbates), MAX_ATOMIC_NUMBER + 1))
    for row, name in enumerate(adsorbates):
        for symbol, count in composition(name).items():
            counts_RZ[row, atomic_numbers[symbol]] = count
    return counts_RZ


def _padded(values: Tensor, axis: int, more: int) -> Tensor:
    shape = list(values.shape)
    shape[axis] = more
    return torch.cat([values, values.new_zeros(shape)], dim=axis)
