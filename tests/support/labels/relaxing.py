"""A relaxing stage for the tiny campaign: a coarse EMT level, and the difference from it to emt."""

from dataclasses import dataclass, replace
from pathlib import Path

from model.contract import LevelEnergy
from model.prediction.difference import Potential
from model.training.difference import train_difference
from support.invented import BINDING, METALS, SITES, invented_row
from support.labels.differences import fewer_trees
from tasks.levels import level

COARSE = """\
name: emt-coarse
engine: emt
functional: EMT
calculation:
  relaxation: {optimiser: BFGS, fmax_ev_ang: 0.2, max_steps: 100}
  checks: {initial_fmax_ev_ang: 60.0}
reference: {kind: reactions, molecules: [CO, H2O, H2, N2]}
source: EMT, followed less far
licence: MIT
"""
OFF_BY_EV = -0.8  # brings oxygen into the tiny campaign's window


@dataclass(frozen=True)
class RelaxingStage:
    """The section of a campaign file, and the files that it names."""

    level: Path
    difference: Path

    def section(self, **others: int) -> str:
        """Return the line of the campaign file."""
        named = {"level": self.level, "difference": self.difference} | others
        return f"relax: {{{', '.join(f'{name}: {value}' for name, value in named.items())}}}\n"


def relaxing_stage(folder: Path, base: Path) -> RelaxingStage:
    """Write the coarse level, and learn the difference from it; ``base`` answers for the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "emt-coarse.yaml"
    file.write_text(COARSE)
    coarse = level(str(file))
    cases = [(a, m, k) for a in BINDING["emt"] for m in METALS for k in SITES]
    rows = []
    for number, case in enumerate(cases):
        row = invented_row(number, "emt", *case)
        start = LevelEnergy(coarse.name, coarse.level_hash, row.energy_ev - OFF_BY_EV)
        rows.append(replace(row, energies=(start,)))
    with fewer_trees():
        made = train_difference(
            rows,
            rows[::3],
            folder / "difference",
            on=[Potential(coarse.name, coarse.level_hash)],
            base=base,
            seed=0,
        )
    return RelaxingStage(file, made.folder)
