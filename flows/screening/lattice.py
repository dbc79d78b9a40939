"""Bulk crystals at the lattice constants of a level of theory: what ``sabatier lattice`` runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import load_campaign
from flows.config.engines import read_engine_locations
from flows.config.settings import read_settings
from flows.display.progress import progress_bar
from flows.display.tables import new_table, print_table
from flows.errors import CampaignError
from tasks.enumeration.bulks import Bulk, resolve_bulks
from tasks.errors import Refusal, UserError
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.verification.engines import Engine, engine_for
from tasks.verification.lattice import (
    crystal_file,
    equilibrium,
    kept_stretch,
    require_crystals,
    write_crystal,
)


@dataclass(frozen=True)
class StretchedBulk:
    """A bulk of the campaign, and its file at ``stretch`` times its lengths."""

    bulk: Bulk
    file: Path
    stretch: float


def start_lattice(file: Path, level: str, out: Path) -> None:
    """Write the bulks of a campaign file at a level's lattice constants, and print the strain.

    What is in ``out`` already is not computed again; a bulk that fails is told, the others go on.

    Raises:
        UserError: the level's engine computes no crystals or is not here, a file of ``out`` is of
            another level, or no bulk is left.
    """
    at, locations = named_level(level), read_engine_locations()
    engine = engine_for(at, locations=locations)
    require_crystals(engine)
    specs = load_campaign(file).bulks.specs(file.parent)
    bulks, refused = resolve_bulks(specs, materials_project_key=read_settings().mp_api_key)
    kept = {b.bulk_id: kept_stretch(crystal_file(b, out), b, at) for b in bulks}
    done = sum(stretch is not None for stretch in kept.values())
    with progress_bar(f"lattice constants at {at.name}", len(bulks), done, "bulks") as advance:
        for bulk in bulks:
            if kept[bulk.bulk_id] is None:
                try:
                    kept[bulk.bulk_id] = _computed(bulk, at, engine, out)
                except UserError as fault:
                    refused.append(Refusal(bulk.formula, "bulk", str(fault)))
                advance(1)
    sized = [
        StretchedBulk(b, crystal_file(b, out), s)
        for b in bulks
        if (s := kept[b.bulk_id]) is not None
    ]
    _show(at.name, sized, refused)
    if not sized:
        raise CampaignError(f"no bulk of {file} has a lattice constant at {at.name}; see above why")
    print(f"in the campaign file   bulks: {{structures: [{_structures(sized, file, out)}]}}")


def _computed(bulk: Bulk, level: LevelOfTheory, engine: Engine, out: Path) -> float:
    found = equilibrium(bulk.atoms, level, engine)
    write_crystal(crystal_file(bulk, out), bulk, level, engine, found)
    return found.stretch


def _show(level: str, sized: Sequence[StretchedBulk], refused: Sequence[Refusal]) -> None:
    """Print lattice constants of the conventional cells, and how far they were stretched before."""
    table = new_table(
        f"lattice constants at {level}",
        ("bulk", "a before (Å)", "a (Å)", "strain before (%)", "file"),
        right={"a before (Å)", "a (Å)", "strain before (%)"},
    )
    for crystal in sized:
        a_ang = float(crystal.bulk.atoms.cell.lengths()[0])
        table.add_row(
            crystal.bulk.formula,
            f"{a_ang:.3f}",
            f"{a_ang * crystal.stretch:.3f}",
            f"{100 * (1 / crystal.stretch - 1):+.2f}",
            str(crystal.file),
        )
    print_table(table)
    for item in refused:
        print(f"  refused {item.stage} {item.item}: {item.reason}")


def _structures(sized: Sequence[StretchedBulk], file: Path, out: Path) -> str:
    """Return what names the files from the campaign file: a glob where it finds no others."""
    folder = Path(os.path.relpath(out.resolve(), file.parent.resolve()))
    mine = sorted(crystal.file.name for crystal in sized)
    others = {path.name for path in out.glob("*.extxyz")} - set(mine)
    return ", ".join(str(folder / name) for name in (mine if others else ["*.extxyz"]))
