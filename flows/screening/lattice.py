"""Bulk crystals at the lattice constants of a level of theory: what ``sabatier lattice`` runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import load_campaign
from flows.config.engines import read_engine_locations
from flows.config.settings import read_settings
from flows.display.plans import show_lattice_constants
from flows.display.progress import progress_bar
from flows.display.tables import show_lines
from flows.errors import CampaignError
from tasks.enumeration import Bulk, resolve_bulks
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

    A crystal that lies in ``out`` already is not computed again; where a bulk fails, the reason is
    printed and the others go on.

    Args:
        file: The campaign file.
        level: The level of theory, by name or file.
        out: The folder of the crystals' files.

    Raises:
        UserError: the level's engine computes no crystals or is not here, a file of ``out`` is of
            another level, or no bulk is left.
    """
    at, locations = named_level(level), read_engine_locations()
    engine = engine_for(at, locations=locations)
    require_crystals(engine)
    campaign = load_campaign(file)
    bulks, refused = resolve_bulks(
        campaign.bulk_specs(file.parent),
        materials_project_key=read_settings().mp_api_key,
        symmetry_tolerance_ang=campaign.symmetry_tolerance(),
    )
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
    lengths = [(s.bulk.formula, _a_ang(s.bulk), s.stretch, s.file) for s in sized]
    show_lattice_constants(at.name, lengths, refused)
    if not sized:
        raise CampaignError(
            f"no bulk of {file} has a lattice constant at {at.name}; the reasons are above"
        )
    show_lines(f"in the campaign file   bulks: {{structures: [{_structures(sized, file, out)}]}}")


def _computed(bulk: Bulk, level: LevelOfTheory, engine: Engine, out: Path) -> float:
    found = equilibrium(bulk.atoms, level, engine)
    write_crystal(crystal_file(bulk, out), bulk, level, engine, found)
    return found.stretch


def _a_ang(bulk: Bulk) -> float:
    """Return the first lattice constant of a bulk before it is stretched, Å."""
    return float(bulk.atoms.cell.lengths()[0])


def _structures(sized: Sequence[StretchedBulk], file: Path, out: Path) -> str:
    """Return the files as the campaign file names them: a glob where it finds no others."""
    folder = Path(os.path.relpath(out.resolve(), file.parent.resolve()))
    mine = sorted(crystal.file.name for crystal in sized)
    others = {path.name for path in out.glob("*.extxyz")} - set(mine)
    return ", ".join(str(folder / name) for name in (mine if others else ["*.extxyz"]))
