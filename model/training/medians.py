"""Take the medians of training rows and calibrate them: the least that a model has to beat.

Units: eV.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from model.checkpoint import ADSORBATE_MEDIAN, LEVEL_MEDIAN, Checkpoint, seal, write_json
from model.contract import Domain
from model.data.domain import domain_to_json
from model.data.rows import Row
from model.errors import ModelError
from model.prediction.medians import MEDIANS_FILE, LevelMedians, median_energies, median_signal
from model.uncertainty.calibration_fit import fit_calibration


def train_medians(
    train: Sequence[Row],
    held_out: Sequence[Row],
    domain: Domain,
    folder: Path,
    *,
    by_adsorbate: bool,
    seed: int,
) -> Checkpoint:
    """Take the medians of ``train``, calibrate them on ``held_out`` and write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = {
        level: level_medians([row for row in train if row.level == level], by_adsorbate)
        for level in sorted(domain.levels)
    }
    names = [row.level for row in held_out]
    adsorbates = [row.adsorbate for row in held_out]
    energy_R = median_energies(levels, names, adsorbates)
    calibration = fit_calibration(
        names,
        adsorbates,
        energy_R - np.array([row.energy_ev for row in held_out]),
        median_signal(levels, names, adsorbates),
        seed=seed,
        groups=[row.group or row.pair for row in held_out],
    )
    values = {
        "domain": domain_to_json(domain),
        "levels": {level: asdict(medians) for level, medians in levels.items()},
        "calibration": calibration.to_json(),
    }
    write_json(folder / MEDIANS_FILE, values)
    return seal(folder, ADSORBATE_MEDIAN if by_adsorbate else LEVEL_MEDIAN)


def level_medians(rows: Sequence[Row], by_adsorbate: bool) -> LevelMedians:
    """Return the medians of one level's rows; rows of one pair count once.

    Raises:
        ModelError: there is no row.
    """
    if not rows:
        raise ModelError("a median is taken of at least one row, got none to train on")
    energies = {row.pair: (row.adsorbate, row.energy_ev) for row in rows}
    labels: dict[str, list[float]] = defaultdict(list)
    for adsorbate, energy_ev in energies.values():
        labels[adsorbate].append(energy_ev)
    every_R = np.array([energy_ev for _, energy_ev in energies.values()])
    median = float(np.median(every_R))
    medians = {name: float(np.median(values)) for name, values in labels.items()}
    return LevelMedians(
        energy_ev=median,
        spread_ev=float(np.abs(every_R - median).mean()),
        adsorbates=medians if by_adsorbate else {},
        spreads={n: float(np.abs(np.array(v) - medians[n]).mean()) for n, v in labels.items()}
        if by_adsorbate
        else {},
    )
